"""Nothing that exists is missing from the reference pages, and nothing else stands there."""

from __future__ import annotations

import inspect
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import click
import pytest
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

import coordinator
from agent.config import AgentConfig
from coordinator.cli import main as cli
from coordinator.cli import tasks, waiting
from coordinator.client import Client
from coordinator.client.settings import ConfigFile
from coordinator.config import Settings
from coordinator.http.route import Route
from coordinator.http.routes import ROUTES
from coordinator.permissions import About, role_of_command
from protocol.errors import BY_TYPE, FerrymanError
from tests.docs.pages import ROOT, rows, section, text_of

# ---- settings --------------------------------------------------------------


def settings_of(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every setting by its dotted name, with its default; `...` where it is required or made."""
    for name, field in model.model_fields.items():
        inner = [part for part in _parts(field.annotation) if issubclass(part, BaseModel)]
        is_table = bool(inner) and type(None) not in get_args(field.annotation)
        if not (is_table and isinstance(field.default, BaseModel)):
            yield prefix + name, ... if field.default is PydanticUndefined else field.default
        for part in inner:
            yield from settings_of(part, f"{prefix}{name}.")


def _parts(annotation: Any) -> Iterator[type]:
    if isinstance(annotation, type):
        yield annotation
    for inner in get_args(annotation):
        yield from _parts(inner)


def written(default: Any) -> str:
    """A default as TOML writes it."""
    return json.dumps(str(default) if isinstance(default, Path) else default)


SETTINGS = [
    *(("docs/agent-configuration.md", *one) for one in settings_of(AgentConfig)),
    *(("docs/coordinator-configuration.md", *one) for one in settings_of(Settings)),
]


@pytest.mark.parametrize(("page", "name", "default"), SETTINGS)
def test_every_setting_is_documented_with_its_default(page: str, name: str, default: Any) -> None:
    cells = rows(page).get(name)
    assert cells, f"{page} has no row for `{name}`"
    assert len(cells) == 4, cells
    if default in (..., None, (), {}):
        assert cells[1], f"{name} needs a word on its default"
    else:
        assert cells[1] == f"`{written(default)}`"


def test_settings_are_really_found() -> None:
    names = {name for _, name, _ in SETTINGS}
    assert {"instances.health_check.stable", "tls.key", "discovery.enabled"} <= names


@pytest.mark.parametrize(
    "page", ["docs/agent-configuration.md", "docs/coordinator-configuration.md"]
)
def test_no_setting_is_documented_that_does_not_exist(page: str) -> None:
    known = {name for where, name, _ in SETTINGS if where == page}
    told = {name for name, cells in rows(page).items() if len(cells) == 4 and name != "setting"}
    assert told == known


def test_every_key_of_the_clients_file_is_documented() -> None:
    keys = {
        cells[2].strip("`") for cells in rows("docs/command-line.md").values() if len(cells) > 3
    }
    assert set(ConfigFile.model_fields) <= keys


# ---- HTTP ------------------------------------------------------------------


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_every_route_is_documented(route: Route) -> None:
    heading = f"`{route.method} {route.path}`"
    told = section("docs/http.md", heading)
    assert told, f"docs/http.md has no section {heading}"
    for field in route.other_fields:
        assert f"`{field}`" in told, f"{heading} does not tell of `{field}`"
    if route.role is not None:
        assert re.search(rf"Role\s`{route.role.value}`", told)
    if route.section:
        assert re.search(rf"Reference\s{re.escape(route.section)}\.", told)
    assert "$FERRYMAN_URL/" in told, f"{heading} has no example"


@pytest.mark.parametrize("about", About)
def test_what_a_restricted_token_gets_is_documented_for_every_route(about: About) -> None:
    told = rows("docs/http.md")[about.value][1]
    of_it = [route for route in ROUTES if route.permission.about is about and route.role]
    assert sorted(re.findall(r"`([^`]+)`", told)) == sorted(
        f"{route.method} {route.path}" for route in of_it
    )


def test_no_route_is_documented_that_does_not_exist() -> None:
    told = re.findall(r"^### `(.+)`$", text_of("docs/http.md"), re.MULTILINE)
    assert sorted(told) == sorted(f"{route.method} {route.path}" for route in ROUTES)


@pytest.mark.parametrize("error", list(BY_TYPE.values()), ids=lambda error: error.__name__)
def test_every_error_is_documented(error: type[FerrymanError]) -> None:
    assert rows("docs/http.md")[error.type][1:3] == [str(error.code), f"`{error.__name__}`"]
    assert rows("docs/python.md")[error.__name__][1] == str(error.code)
    if error is not FerrymanError:
        assert f"`{error.__name__}`" in rows("docs/command-line.md")[str(error.exit_code)][1]


# ---- the command line ------------------------------------------------------


def commands(group: click.Group = cli.ferryman, prefix: str = "ferryman") -> Iterator[Any]:
    """Every command with its full name; groups are not commands."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, f"{prefix} {name}")
        else:
            yield pytest.param(f"{prefix} {name}", command, id=name)


@pytest.mark.parametrize(("name", "command"), list(commands()))
def test_every_command_and_option_is_documented(name: str, command: click.Command) -> None:
    told = section("docs/command-line.md", f"`{name}`")
    assert told, f"docs/command-line.md has no section `{name}`"
    everywhere = section("docs/command-line.md", "Options of every command")
    for option in options_of(command):
        assert f"`{option}`" in told + everywhere, f"{name} does not tell of {option}"
    assert "```" in told, f"{name} has no example"
    role = role_of_command(name.removeprefix("ferryman "))
    needed = rf"Role\s`{role.value}`\." if role else r"Needs\sno\stoken\."
    assert re.search(needed, told), f"{name} does not tell which role it needs"


def test_every_global_option_is_documented() -> None:
    everywhere = section("docs/command-line.md", "Options of every command")
    where = section("docs/command-line.md", "Where it asks")
    for option in [*options_of(cli.ferryman), "-h", "--help"]:
        assert f"`{option}`" in everywhere + where


def options_of(command: click.Command) -> Iterator[str]:
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            yield from (*parameter.opts, *parameter.secondary_opts)


def test_every_exit_code_is_documented() -> None:
    codes = {0, cli.UNEXPECTED, cli.INTERRUPTED, waiting.WAITED_TOO_LONG}
    codes |= set(tasks.EXIT_CODES.values()) | {error.exit_code for error in BY_TYPE.values()}
    told = {int(cell) for cell in rows("docs/command-line.md") if cell.isdigit()}
    assert told == codes


@pytest.mark.parametrize(
    ("daemon", "module"),
    [
        ("ferryman-coordinator", "coordinator.daemon"),
        ("ferryman-coordinator backup", "coordinator.daemon"),
        ("ferryman-coordinator restore", "coordinator.daemon"),
        ("ferryman-coordinator check", "coordinator.daemon"),
        ("ferryman-agent", "agent.app"),
        ("ferryman-agent check", "agent.app"),
    ],
)
def test_every_flag_of_the_daemons_is_documented(daemon: str, module: str) -> None:
    code = f"from {module} import main; main({[*daemon.split()[1:], '--help']})"
    shown = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    flags = set(re.findall(r"--[a-z][a-z-]*", shown.stdout)) - {"--help"}
    assert flags
    told = section("docs/command-line.md", f"`{daemon}`")
    assert flags == set(re.findall(r"^\| `(--[a-z-]+)`", told, re.MULTILINE))


# ---- Python ----------------------------------------------------------------


def test_every_name_and_method_is_documented() -> None:
    page = text_of("docs/python.md")
    methods = [name for name, _ in inspect.getmembers(Client, callable) if name[0] != "_"]
    for name in [*methods, *(name for name in coordinator.__all__ if name[0] != "_")]:
        assert re.search(rf"\b{name}\b", page), f"docs/python.md does not tell of {name}"


def test_every_name_of_the_package_loads() -> None:
    assert {name for name in coordinator.__all__ if not hasattr(coordinator, name)} == set()


def test_what_the_page_imports_and_names_as_parameters_is_there() -> None:
    page = text_of("docs/python.md")
    imported = re.findall(r"^from coordinator import (.+)$", page, re.MULTILINE)
    named = {name for line in imported for name in line.split(", ")}
    named |= set(re.findall(r"\b[A-Z][A-Za-z]+Params\b", page)) | {"Strategy", "Window"}
    assert len(named) > 8
    assert named <= set(coordinator.__all__)
