"""A TOML file read into a pydantic model: every mistake is told with its file, key and remedy.

Types are strict (`"8080"` is no port) and unknown keys are refused by name. What a key
accepts is its field's `description`. Values never appear in a message: some are secret.
"""

from __future__ import annotations

import difflib
import json
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError

M = TypeVar("M", bound=BaseModel)
Loc = tuple[int | str, ...]

_MAX_TOLD = 10
_CONSEQUENCE = "default_factory_not_called"
"""Another key is wrong, so that a default could not be derived from it: told already."""


class SettingsError(ValueError):
    """A configuration can't be used; `message` is for people and names the file and the key."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


def load(model: type[M], path: Path) -> M:
    """Return the settings in the TOML file `path`, or raise `SettingsError`."""
    return validate(model, read_toml(path), str(path))


def read_toml(path: Path) -> dict[str, Any]:
    """Return the tables of a TOML file, or raise `SettingsError` naming file, line and column."""
    try:
        return tomllib.loads(path.read_bytes().decode("utf-8"))
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path}: not UTF-8 text (byte {error.start})") from None
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path}: not TOML: {error}") from None
    except RecursionError:
        raise SettingsError(f"{path}: not TOML that can be used: nested too deep") from None


def validate(model: type[M], raw: dict[str, Any], source: str) -> M:
    """Return `raw` as settings, or raise `SettingsError`; `source` is named in the message."""
    try:
        return model.model_validate_json(json.dumps(raw, default=_unusable), strict=True)
    except ValidationError as error:
        told = explain(model, error)
    more = f"\n(and {len(told) - _MAX_TOLD} more)" if len(told) > _MAX_TOLD else ""
    raise SettingsError("\n".join(f"{source}: {line}" for line in told[:_MAX_TOLD]) + more)


def explain(model: type[BaseModel], error: ValidationError) -> list[str]:
    """One line for each wrong key: its dotted path, what is wrong, what is accepted."""
    problems = error.errors(include_url=False, include_input=False, include_context=False)
    return [
        _line(model, problem["loc"], problem["type"], problem["msg"])
        for problem in problems
        if problem["type"] != _CONSEQUENCE
    ]


def dotted(loc: Loc) -> str:
    """`("instances", 1, "port")` as `instances[1].port`."""
    text = ""
    for part in loc:
        text += f"[{part}]" if isinstance(part, int) else f".{_key(part)}" if text else _key(part)
    return text


def _unusable(value: object) -> dict[str, str]:
    """TOML's dates and times: no setting takes one, so a table stands for them and is refused."""
    return {"date or time": str(value)}


def _key(part: str) -> str:
    return part if part.replace("_", "").replace("-", "").isalnum() else json.dumps(part)


def _line(model: type[BaseModel], loc: Loc, kind: str, text: str) -> str:
    if kind == "extra_forbidden":
        return _unknown(model, loc)
    loc = tuple(part for part in loc if part != "[key]")
    where = f"{dotted(loc)}: " if loc else ""
    if kind == "value_error":
        return where + text.removeprefix("Value error, ")
    said = "missing" if kind == "missing" else text.replace("Input should be", "must be", 1)
    accepts = _accepts(model, loc)
    return f"{where}{said}" + (f" (accepted: {accepts})" if accepts else "")


def _unknown(model: type[BaseModel], loc: Loc) -> str:
    owner = _model_at(model, loc[:-1])
    known = list(owner.model_fields) if owner else []
    close = difflib.get_close_matches(str(loc[-1]), known, n=1)
    guess = f"; did you mean {close[0]}?" if close else ""
    return f"{dotted(loc)}: not a known setting{guess} (known here: {', '.join(known)})"


def _accepts(model: type[BaseModel], loc: Loc) -> str:
    """The description of the innermost field on the way to `loc`."""
    found = ""
    for at in range(len(loc)):
        owner = _model_at(model, loc[:at])
        field = owner.model_fields.get(str(loc[at])) if owner else None
        if field:
            found = field.description or ""
    return found


def _model_at(model: type[BaseModel], loc: Loc) -> type[BaseModel] | None:
    """The model that stands at `loc`; None where there is a plain value, or tables by name."""
    here: type[BaseModel] | None = model
    by_name = False
    for part in loc:
        if isinstance(part, int):
            continue
        if by_name:
            by_name = False
            continue
        field = here.model_fields.get(part) if here else None
        here = next(_models_in(field.annotation), None) if field else None
        by_name = field is not None and get_origin(field.annotation) is dict
    return None if by_name else here


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models_in(inner)
