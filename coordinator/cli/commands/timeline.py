"""`ferryman timeline`: how long a task spent in which phase on each instance, as bars."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, TypeAlias

import click

from coordinator.cli.bars import bar, how_it_ended, legend, runs, slowest_first
from coordinator.cli.output import STYLES, console, say
from coordinator.cli.session import Command, Session, pass_session
from coordinator.cli.tasks import find_timeline
from coordinator.cli.text import instances, safe, when
from protocol.states import Phase

if TYPE_CHECKING:
    from protocol.timeline import InstanceTimeline, TaskTimeline

WIDTH = 60
"""Cells of a bar where there is no terminal."""

LEAST = 24
"""Cells of a bar that stands beside its name; on a narrower terminal it has a line of its own."""

SHADES = {
    Phase.QUEUED: "dim",
    Phase.WAITING: "yellow",
    Phase.PREPARING: "cyan",
    Phase.PREPARED: "blue",
    Phase.ACTIVATING: "green",
    Phase.RETRYING: "red",
}

_GAP = "  "

Piece: TypeAlias = tuple[str, str]
"""A piece of a line, and how a terminal shows it."""


@click.command("timeline", cls=Command, short_help="Show how long a task took where, as bars.")
@click.argument("task_id", metavar="ID")
@click.option(
    "--slowest",
    type=click.IntRange(min=1),
    metavar="N",
    default=20,
    show_default=True,
    help="Show the N slowest instances.",
)
@pass_session
def timeline(session: Session, task_id: str, slowest: int) -> None:
    """Show how long a deployment or rollback spent in which phase on each instance.

    The slowest instances stand first. All bars have the same scale of time, from the start of
    the task to its end, or to now.
    """
    session.show(
        lambda client: find_timeline(client, task_id), lambda found: _print(found, slowest)
    )


def _print(found: TaskTimeline, slowest: int) -> None:
    kind = "deployment" if found.kind == "deploy" else "rollback"
    span = f"{when(found.started_at)} to {when(found.ended_at) or 'now'}, {found.seconds:.1f} s"
    say(f"{kind} {safe(found.task_id)}: {safe(found.service)} {safe(found.version)}")
    say(f"{found.status.value}: {span}")
    say()
    ordered = slowest_first(found)
    shown, hidden = ordered[:slowest], ordered[slowest:]
    if sys.stdout.isatty():
        _draw(found, shown)
    else:
        rows = [(safe(row.instance_id), row) for row in shown]
        for line in _lines(found, rows, WIDTH, apart=False):
            say("".join(text for text, _ in line).rstrip())
    if hidden:
        longest = f"the slowest of them {hidden[0].seconds:.1f} s"
        say(f"and {instances(len(hidden))} more, {longest}; all with --slowest {len(ordered)}")


def _draw(found: TaskTimeline, shown: Sequence[InstanceTimeline]) -> None:
    """On a terminal: as wide as that is, in colours, long names without their middle."""
    from rich.text import Text  # noqa: PLC0415

    from coordinator.cli.live import shortened  # noqa: PLC0415

    screen = console(stderr=False)
    said = len(_figures(0.0)) + len(_GAP) + max(len(how_it_ended(row)) for row in shown)
    widest = max(len(name) for name in ("instance", *(safe(row.instance_id) for row in shown)))
    widest = min(widest, screen.width // 4)
    room = screen.width - widest - said - len(f"{_GAP}||")
    apart = room < LEAST
    most = max(screen.width - said, len("instance")) if apart else widest
    rows = [(shortened(safe(row.instance_id), most), row) for row in shown]
    for line in _lines(found, rows, screen.width - 2 if apart else room, apart=apart):
        drawn = Text()
        for text, style in line:
            drawn.append(text, style)
        drawn.rstrip()
        screen.print(drawn, overflow="fold")


def _lines(
    found: TaskTimeline,
    rows: Sequence[tuple[str, InstanceTimeline]],
    width: int,
    *,
    apart: bool,
) -> Iterator[list[Piece]]:
    """The bars, each of `width` cells, and below them what the characters mean."""
    widest = max(len(name) for name in ("instance", *(name for name, _ in rows)))
    scale = "" if apart else " " * (width + len(f"{_GAP}||"))
    yield [(f"{'INSTANCE':<{widest}}{scale}{_GAP}SECONDS{_GAP}END", "bold")]
    for name, row in rows:
        cells = bar(row, found.started_at, found.seconds, width)
        drawn = [(text, SHADES[phase] if phase else "") for phase, text in runs(cells)]
        end = (f"{_GAP}{how_it_ended(row)}", STYLES.get(row.status.value, ""))
        head = (f"{name:<{widest}}", "")
        if apart:
            yield [head, (_figures(row.seconds), ""), end]
            yield [("|", ""), *drawn, ("|", "")]
        else:
            yield [head, (f"{_GAP}|", ""), *drawn, ("|", ""), (_figures(row.seconds), ""), end]
    yield []
    for phase, text in legend(found):
        yield [(text, SHADES[phase])]


def _figures(seconds: float) -> str:
    return f"{_GAP}{seconds:7.1f}"


COMMAND = timeline
