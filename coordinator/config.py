"""The coordinator's settings (interface section 5): flags over the file over the defaults.

Nothing here opens a database or a socket; a mistake is a `SettingsError` for people.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from protocol.endpoints import ENDPOINT_RULE, is_host, parse_endpoint
from protocol.logs import LogSettings
from protocol.names import check_name, check_pattern
from protocol.settings import SettingsError, read_toml, validate
from protocol.strategy import UnnamedStrategy

DEFAULT_DATA_DIR = Path("/var/lib/ferryman")
DEFAULT_LISTEN = "127.0.0.1:7420"
NO_STRATEGY = "none"


def _check_listen(text: str) -> str:
    parse_endpoint(text, lowest_port=0)
    return text


def _check_certificate_name(text: str) -> str:
    if not is_host(text.removeprefix("*.")):
        raise ValueError(f"{text!r} is neither a host name nor an IP address")
    return text


def _absolute(path: Path) -> Path:
    if path == Path():
        raise ValueError("must not be empty")
    return path.absolute()


def _sqlite_in(data_dir: Path) -> str:
    return f"sqlite+aiosqlite:///{data_dir}/coordinator.db"


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TlsSettings(_Section):
    """`[tls]`: the server's certificates."""

    names: tuple[Annotated[str, AfterValidator(_check_certificate_name)], ...] = Field(
        (),
        max_length=1000,
        description="host names and addresses that the certificate has besides the host's own",
    )
    certificate: Annotated[Path, AfterValidator(_absolute)] | None = Field(
        None,
        description="a PEM file with a company's own certificate and its chain, for people "
        "and programs; needs `key`",
    )
    key: Annotated[Path, AfterValidator(_absolute)] | None = Field(
        None, description="the PEM file with the private key of `certificate`, without passphrase"
    )

    @model_validator(mode="after")
    def _both_or_neither(self) -> TlsSettings:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key belong together: give both or neither")
        return self

    @property
    def company(self) -> tuple[Path, Path] | None:
        """The company's certificate and key, if it has its own."""
        if self.certificate is None or self.key is None:
            return None
        return self.certificate, self.key


class DiscoverySettings(_Section):
    """`[discovery]`: mDNS on the LAN."""

    enabled: bool = Field(True, description="true or false: whether to announce itself by mDNS")


class AuditSettings(_Section):
    """`[audit]`: the trail of what was asked and refused."""

    keep_days: int = Field(
        400, ge=0, le=36_500, description="days that its rows are kept, 0 to 36500; 0: for ever"
    )


StrategyName = Annotated[str, AfterValidator(check_name)]
Pattern = Annotated[str, AfterValidator(check_pattern)]


class Settings(_Section):
    """All settings of `ferryman-coordinator`."""

    data_dir: Annotated[Path, AfterValidator(_absolute)] = Field(
        DEFAULT_DATA_DIR,
        description="the folder for the database, the certificate authority and admin.token",
    )
    listen: Annotated[str, AfterValidator(_check_listen)] = Field(
        DEFAULT_LISTEN, description=f"{ENDPOINT_RULE}; port 0 takes a free one"
    )
    database_url: str = Field(
        default_factory=lambda known: _sqlite_in(known.get("data_dir", DEFAULT_DATA_DIR)),
        repr=False,
        min_length=1,
        description="an SQLAlchemy URL of an asynchronous driver; by default the SQLite file "
        "coordinator.db in `data_dir`",
    )
    heartbeat_interval: float = Field(
        10.0,
        ge=0.05,
        le=3600,
        allow_inf_nan=False,
        description="seconds between two heartbeats of an agent, 0.05 to 3600",
    )
    tls: TlsSettings = Field(TlsSettings(), description="the server's certificates")
    discovery: DiscoverySettings = Field(DiscoverySettings(), description="mDNS on the LAN")
    log: LogSettings = Field(LogSettings(), description="how events are written")
    audit: AuditSettings = Field(
        AuditSettings(), description="the trail of what was asked and refused"
    )

    strategy: dict[StrategyName, UnnamedStrategy] = Field(
        {}, max_length=1000, description="tables of strategies by their names"
    )
    default_strategy: dict[Pattern, str] = Field(
        {},
        max_length=1000,
        description="names of strategies by shell-style patterns of services; the first pattern "
        "that matches counts",
    )

    @model_validator(mode="after")
    def _defaults_are_there(self) -> Settings:
        if NO_STRATEGY in self.strategy:
            raise ValueError(f"strategy.{NO_STRATEGY}: is what `--strategy` calls no strategy")
        for pattern, name in self.default_strategy.items():
            if name not in self.strategy:
                known = ", ".join(self.strategy) or "none"
                raise ValueError(
                    f'default_strategy."{pattern}": no table [strategy.{name}]; there is {known}'
                )
        return self

    @property
    def host(self) -> str:
        """The host part of `listen`, an IPv6 address without brackets."""
        return parse_endpoint(self.listen, lowest_port=0)[0]

    @property
    def port(self) -> int:
        """The port part of `listen`; 0 for any free one."""
        return parse_endpoint(self.listen, lowest_port=0)[1]


def load_settings(
    config: Path | None = None, data_dir: Path | None = None, listen: str | None = None
) -> Settings:
    """Return the settings of the file, with the flags winning over it.

    Raises `SettingsError`. Without `config` no file is read.
    """
    raw = read_toml(config) if config else {}
    flags = {"data_dir": str(data_dir) if data_dir else None, "listen": listen}
    if listen is not None:
        _check_flag(listen)
    given = {key: value for key, value in flags.items() if value is not None}
    return validate(Settings, {**raw, **given}, str(config) if config else "settings")


def _check_flag(listen: str) -> None:
    try:
        _check_listen(listen)
    except ValueError as error:
        raise SettingsError(f"--listen: {error}") from None
