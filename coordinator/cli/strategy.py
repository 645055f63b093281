"""The flags of a strategy, one for each field, and the text of a window.

What is given becomes the body's `strategy`; its values are checked with it. `none` takes away
what a named strategy, or the service's default, has.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click

from coordinator.cli.options import span

F = TypeVar("F", bound=Callable[..., Any])

NONE = "none"

_WINDOW_RULE = (
    'a window is [DAYS] HH:MM-HH:MM [ZONE], such as "mon-fri 22:00-06:00 Europe/Berlin", '
    '"sat,sun 00:00-24:00" or "01:00-05:00"'
)
_CLOCK = "([0-9]{2}:[0-9]{2})"
_WINDOW = re.compile(rf"(?:([a-z,-]+) +)?{_CLOCK}-{_CLOCK}(?: +(\S+))?", re.ASCII)


def strategy_options(command: F) -> F:
    """`--strategy`, and a flag for every field of a strategy."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def strategy_of(given: Mapping[str, Any]) -> dict[str, Any] | None:
    """The body's `strategy` by the values of `strategy_options`; None if nothing was given.

    Raises a usage error for `--strategy none` with a field.
    """
    name = given["strategy"]
    body = {
        field: None if value == NONE else value
        for field, value in given.items()
        if field != "strategy" and value is not None
    }
    if name == NONE:
        if body:
            raise click.UsageError("--strategy none is no strategy at all: give no other field")
        return {}
    if name is not None:
        body["name"] = name
    return body or None


# ---- values ----------------------------------------------------------------


def _size(text: str) -> int | str:
    """A number, or what is checked as a percentage later."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else text


def _span(text: str) -> int:
    """Seconds; 0 takes away what a named strategy, or the service's default, has."""
    return 0 if text in ("0", "0s") else span(text)


def _windows(_: click.Context, __: click.Parameter, texts: tuple[str, ...]) -> Any:
    if texts == (NONE,):
        return NONE
    return [window_of(text) for text in texts] or None


def window_of(text: str) -> dict[str, Any]:
    """The window that `text` says; else a usage error."""
    found = _WINDOW.fullmatch(text.strip())
    if found is None:
        raise click.BadParameter(f"{text!r}: {_WINDOW_RULE}")
    days, begin, until, zone = found.groups()
    window: dict[str, Any] = {"begin": begin, "until": until}
    if days:
        window["days"] = _days_of(days, text)
    if zone:
        window["timezone"] = zone
    return window


def _days_of(days: str, text: str) -> list[str]:
    """The days of `mon-fri,sun`, each once; a range may go over the end of the week."""
    from protocol.strategy import DAYS  # noqa: PLC0415

    names: list[str] = list(DAYS)
    named: dict[str, None] = {}
    for part in days.split(","):
        first, dash, last = part.partition("-")
        last = last if dash else first
        if first not in names or last not in names:
            raise click.BadParameter(
                f"{text!r}: {part!r} is none of {', '.join(names)} and no range of them"
            )
        begin, count = names.index(first), (names.index(last) - names.index(first)) % len(names)
        named |= dict.fromkeys(names[(begin + at) % len(names)] for at in range(count + 1))
    return [day for day in names if day in named]


_SIZES: dict[str, Any] = {"type": _size, "metavar": "N|N%"}
_SPANS: dict[str, Any] = {"type": _span, "metavar": "DURATION"}

_OPTIONS = (
    click.option(
        "--strategy",
        metavar="NAME",
        help="A strategy of the coordinator's configuration, which the flags below change; left"
        " out, they change the service's default, if there is one; none: no strategy at all.",
    ),
    click.option("--max-parallel", **_SIZES, help="Instances at work at once."),
    click.option("--canary", **_SIZES, help="The size of a first batch."),
    click.option(
        "--promote", type=click.Choice(["auto", "manual"]), help="Who lets the others follow it."
    ),
    click.option("--bake", **_SPANS, help="For so long a batch must stay healthy before the next."),
    click.option("--max-failures", **_SIZES, help="More failed instances than this stop it."),
    click.option(
        "--max-unreachable", **_SIZES, help="The same for instances whose agent stays away."
    ),
    click.option(
        "--prepare",
        type=click.Choice(["each", "all"]),
        help="all: nothing is stopped before all have the release on disk.",
    ),
    click.option(
        "--on-failure",
        type=click.Choice(["stop", "rollback"]),
        help="rollback: when it is stopped by a limit, what was switched goes back.",
    ),
    click.option(
        "--spread", metavar="KEY", help="Batches take instances evenly over this metadata's values."
    ),
    click.option(
        "--guard", **_SPANS, help="For so long after its switch a regression takes one back."
    ),
    click.option("--not-before", metavar="TIME", help="Begin nothing before, RFC 3339."),
    click.option(
        "--window",
        "windows",
        metavar="WINDOW",
        multiple=True,
        callback=_windows,
        help='Begin nothing new outside: "mon-fri 22:00-06:00 Europe/Berlin". May be repeated.',
    ),
)
