"""Where a client finds its coordinator: arguments, then the environment, then a file.

The file is `~/.config/ferryman/config.toml` with the keys `url`, `token` and `ca_file`.
Each value is looked up by itself, so that a flag can replace one and leave the others.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from protocol.errors import InvalidRequestError
from protocol.settings import SettingsError, load

DEFAULT_URL = "https://127.0.0.1:7420"
CONFIG_FILE = "~/.config/ferryman/config.toml"
KEYS = ("url", "token", "ca_file")


class ConfigFile(BaseModel):
    """The keys of the configuration file; each may be left out."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str | None = Field(None, description="the coordinator's URL, https://HOST:PORT")
    token: str | None = Field(None, repr=False, description="an access token")
    ca_file: str | None = Field(None, description="the path of the coordinator's ca.pem")


@dataclass(frozen=True, slots=True)
class ClientSettings:
    """What a client needs to know; `token` and `ca_file` are None where nothing names them."""

    url: str
    token: str | None = field(repr=False)
    ca_file: Path | None


def find_settings(
    url: str | None = None,
    token: str | None = None,
    ca_file: str | Path | None = None,
    *,
    environment: Mapping[str, str] | None = None,
) -> ClientSettings:
    """Fill what is not given from `FERRYMAN_URL`, `_TOKEN`, `_CA_FILE`, then from the file.

    Raises `InvalidRequestError` if the file is there and can't be used.
    """
    environment = os.environ if environment is None else environment
    given = {"url": url, "token": token, "ca_file": str(ca_file) if ca_file else None}
    missing = [k for k in KEYS if not given[k] and not environment.get(f"FERRYMAN_{k.upper()}")]
    file = _read_file(environment) if missing else {}
    found = {
        key: given[key] or environment.get(f"FERRYMAN_{key.upper()}") or file.get(key)
        for key in KEYS
    }
    return ClientSettings(
        url=found["url"] or DEFAULT_URL,
        token=(found["token"] or "").strip() or None,
        ca_file=_expanded(found["ca_file"], environment),
    )


def need_token(settings: ClientSettings) -> str:
    """The token, or `InvalidRequestError` saying where one is looked for."""
    if settings.token:
        return settings.token
    raise InvalidRequestError(
        f"no token: set FERRYMAN_TOKEN, give --token, or write token = '…' into {CONFIG_FILE}",
        [{"field": "token", "message": "required"}],
    )


def _read_file(environment: Mapping[str, str]) -> dict[str, str | None]:
    path = _expanded(CONFIG_FILE, environment)
    if path is None:
        return {}
    try:
        return load(ConfigFile, path).model_dump() if path.exists() else {}
    except SettingsError as error:
        raise InvalidRequestError(error.message.replace("\n", "; ")) from None
    except OSError as error:
        raise InvalidRequestError(f"{path}: cannot be read: {error.strerror}") from None


def _expanded(path: str | None, environment: Mapping[str, str]) -> Path | None:
    if not path:
        return None
    if not path.startswith("~/"):
        return Path(path)
    home = environment.get("HOME")
    return Path(home) / path[2:] if home else None
