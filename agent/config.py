"""The agent's settings (interface section 5): one TOML file, checked as a whole before any work.

A mistake is a `SettingsError` that names the key. The join token's text stands in no
message and no `repr`; its file is read only when the agent joins.
"""

from __future__ import annotations

import re
import socket
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, model_validator

from agent.package_settings import PackageSettings
from protocol.endpoints import ENDPOINT_RULE, URL_RULE, check_url, is_host, parse_endpoint
from protocol.logs import LogSettings
from protocol.names import NAME_RULE, HostId, InstanceId, ServiceName, check_digest
from protocol.settings import SettingsError, load

DEFAULT_CONFIG = Path("/etc/ferryman/agent.toml")
DEFAULT_STATE_DIR = Path("/var/lib/ferryman-agent")
MAX_INSTANCES = 4096

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_UNIT = re.compile(r"(?!-)[A-Za-z0-9:_.\\@-]{1,247}\.service", re.ASCII)
_USER = re.compile(r"[a-z_][a-z0-9_-]{0,30}\$?", re.ASCII)
_SET_BY_AGENT = frozenset({"FERRYMAN_SERVICE", "FERRYMAN_INSTANCE_ID", "FERRYMAN_VERSION", "PORT"})


def _check_absolute(path: Path) -> Path:
    if not path.is_absolute() or ".." in path.parts:
        raise ValueError("must be an absolute path without '..'")
    return path


def _check_variable(name: str) -> str:
    if not _VARIABLE.fullmatch(name):
        raise ValueError("a variable's name is of A-Z a-z 0-9 _ and begins with no digit")
    if name in _SET_BY_AGENT:
        raise ValueError(f"{name} is set by the agent")
    return name


def _check_no_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError("must not hold a NUL character")
    return text


def _check_unit(name: str) -> str:
    if not _UNIT.fullmatch(name):
        raise ValueError("must be the name of a service unit, such as user-service.service")
    return name


def _check_user(name: str) -> str:
    if not _USER.fullmatch(name):
        raise ValueError("must be the name of a user of this host, such as user-service")
    return name


def _check_tcp(text: str) -> str:
    parse_endpoint(text)
    return text


def _check_http(text: str) -> str:
    problem = ValueError("must be an http:// or https:// URL without user info")
    if not text.isascii() or any(c.isspace() or not c.isprintable() for c in text):
        raise problem
    try:
        parts = urlsplit(text)
        sound = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        raise problem from None
    if not sound or "@" in parts.netloc:
        raise problem
    return text


def _check_sha256(text: str) -> str:
    return check_digest(text.replace(":", "").lower())


def _check_address(text: str) -> str:
    if not is_host(text):
        raise ValueError("must be a host name or an IP address")
    return text


AbsolutePath = Annotated[Path, AfterValidator(_check_absolute)]
PlainText = Annotated[str, AfterValidator(_check_no_nul)]
Command = Annotated[tuple[PlainText, ...], Field(min_length=1, max_length=1000)]
Seconds = Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class HealthCheckSettings(_Section):
    """`[instances.health_check]`: how to tell that a started service is well."""

    http: Annotated[str, AfterValidator(_check_http)] | None = Field(
        None, description="an http:// or https:// URL that answers 2xx when the service is well"
    )
    tcp: Annotated[str, AfterValidator(_check_tcp)] | None = Field(
        None, description=f"{ENDPOINT_RULE}, that accepts a connection when the service is well"
    )
    command: Command | None = Field(
        None, description="program and arguments, run inside `current`; exit code 0 is well"
    )
    interval: Seconds = Field(0.5, description="seconds between two tries, above 0 to 86400")
    timeout: Seconds = Field(30.0, description="seconds to become healthy, above 0 to 86400")
    stable: float = Field(
        2.0,
        ge=0,
        le=86_400,
        allow_inf_nan=False,
        description="seconds to stay healthy without a restart after that, 0 to 86400",
    )

    @model_validator(mode="after")
    def _one_kind(self) -> HealthCheckSettings:
        if sum(kind is not None for kind in (self.http, self.tcp, self.command)) != 1:
            raise ValueError("give exactly one of http, tcp, command")
        return self


class InstanceSettings(_Section):
    """One `[[instances]]` table: one running copy of a service on this host."""

    id: InstanceId = Field(description=f"the instance's id, unique in the fleet: {NAME_RULE}")
    service: ServiceName = Field(description=f"the service's name: {NAME_RULE}")
    port: int = Field(0, ge=0, le=65535, description="the service's port, 1 to 65535; 0: none")
    address: Annotated[str, Field(max_length=255), AfterValidator(_check_address)] | None = Field(
        None,
        description="the address that others reach it at; by default the one that the agent "
        "connects from",
    )
    root: AbsolutePath | None = Field(
        None,
        description="absolute path of the folder that holds releases/ and the link `current`; "
        "by default STATE_DIR/instances/ID",
    )
    driver: Literal["systemd", "process"] = Field(
        description="systemd (needs `unit`) or process (needs `command`)"
    )
    unit: Annotated[str, AfterValidator(_check_unit)] | None = Field(
        None, description="driver systemd: the unit that is stopped and started"
    )
    command: Command | None = Field(
        None, description="driver process: program and arguments, run inside `current`"
    )
    user: Annotated[str, AfterValidator(_check_user)] | None = Field(
        None,
        description="driver process: the user of this host that the command, and a health check's "
        "command, run as; by default the agent's own",
    )
    environment: dict[Annotated[str, AfterValidator(_check_variable)], PlainText] = Field(
        {},
        max_length=1000,
        description="driver process: variables of the service as NAME = text; FERRYMAN_SERVICE, "
        "FERRYMAN_INSTANCE_ID, FERRYMAN_VERSION and PORT are set by the agent",
    )
    metadata: dict[
        Annotated[str, Field(min_length=1, max_length=128)], Annotated[str, Field(max_length=1024)]
    ] = Field({}, max_length=64, description="texts by name that are shown and can be selected by")
    health_check: HealthCheckSettings | None = Field(
        None, description="how to tell that the service is well"
    )

    @model_validator(mode="after")
    def _driver_has_its_parts(self) -> InstanceSettings:
        needs, other = ("unit", "command") if self.driver == "systemd" else ("command", "unit")
        if getattr(self, needs) is None:
            raise ValueError(f"driver {self.driver} needs {needs}")
        if getattr(self, other) is not None:
            raise ValueError(f"{other} is not for driver {self.driver}")
        for name in ("environment", "user"):
            if self.driver == "systemd" and getattr(self, name):
                raise ValueError(f"{name} is not for driver systemd: the unit says its own")
        return self

    def release_root(self, state_dir: Path) -> Path:
        """The folder that holds the instance's releases/ and the link `current`."""
        return self.root or state_dir / "instances" / self.id

    def owns(self, state_dir: Path) -> tuple[str, ...]:
        """What no second instance may have, in words: its root and its unit."""
        root = f"root {self.release_root(state_dir)}"
        return (root, f"unit {self.unit}") if self.unit else (root,)


def own_host_id() -> str:
    """This machine's host name, with what a host id can't hold replaced by `-`."""
    cleaned = re.sub(r"[^A-Za-z0-9._-]", "-", socket.gethostname())
    return re.sub(r"\.{2,}", ".", cleaned).lstrip("._-")[:128] or "host"


class AgentConfig(_Section):
    """All settings of `ferryman-agent`."""

    host_id: HostId = Field(
        default_factory=own_host_id,
        description=f"this host's id, unique in the fleet: {NAME_RULE}; by default the "
        "machine's host name",
    )
    state_dir: AbsolutePath = Field(
        DEFAULT_STATE_DIR,
        description="absolute path of the folder for the agent's identity, journal and releases",
    )
    coordinator: Annotated[str, AfterValidator(check_url)] | None = Field(
        None, description=f"{URL_RULE}; left out: found on the LAN by mDNS"
    )
    join_token: SecretStr | None = Field(
        None, description="the join token itself, for the first start only"
    )
    join_token_file: AbsolutePath | None = Field(
        None, description="absolute path of a file with the join token, read at the first start"
    )
    authority_sha256: Annotated[str, AfterValidator(_check_sha256)] | None = Field(
        None,
        description="the SHA-256 of the coordinator's authority, 64 hex digits with or without "
        "colons: without a join token only that one is asked",
    )
    package_ca_file: AbsolutePath | None = Field(
        None,
        description="absolute path of a PEM file with authorities trusted besides the "
        "system's, for package URLs",
    )
    keep_releases: int = Field(
        3, ge=0, le=100, description="releases kept besides the running one, 0 to 100"
    )
    log: LogSettings = Field(LogSettings(), description="how events are written")
    packages: PackageSettings = Field(
        PackageSettings.model_construct(),
        description="a table: what this host asks of every package",
    )
    instances: tuple[InstanceSettings, ...] = Field(
        (), max_length=MAX_INSTANCES, description="the instances that this agent serves"
    )

    @model_validator(mode="after")
    def _one_token(self) -> AgentConfig:
        if self.join_token is not None and self.join_token_file is not None:
            raise ValueError("give join_token or join_token_file, not both")
        return self

    @model_validator(mode="after")
    def _nothing_shared(self) -> AgentConfig:
        ids: set[str] = set()
        owners: dict[str, str] = {}
        for instance in self.instances:
            if instance.id in ids:
                raise ValueError(f"instances: the id {instance.id} stands there twice")
            ids.add(instance.id)
            for thing in instance.owns(self.state_dir):
                if (other := owners.setdefault(thing, instance.id)) != instance.id:
                    raise ValueError(f"instances: {other} and {instance.id} share the {thing}")
        return self

    def read_join_token(self) -> str | None:
        """Return the join token's text, or None if there is none.

        Raises `SettingsError` if `join_token_file` can't be read or is empty.
        """
        if self.join_token is not None:
            return self.join_token.get_secret_value().strip()
        if self.join_token_file is None:
            return None
        return _read_token_file(self.join_token_file)


def _read_token_file(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8").strip()
    except OSError as error:
        problem = f"cannot be read: {error.strerror or error}"
        raise SettingsError(f"join_token_file: {path} {problem}") from None
    except UnicodeDecodeError:
        raise SettingsError(f"join_token_file: {path} is not text") from None
    if not text:
        raise SettingsError(f"join_token_file: {path} is empty")
    return text


def load_config(path: Path = DEFAULT_CONFIG) -> AgentConfig:
    """Return the settings in `path`, or raise `SettingsError` naming the file and the key."""
    return load(AgentConfig, path)
