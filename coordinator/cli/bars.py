"""A timeline as bars: one line of cells for each instance, all on the same scale of time.

A cell shows the phase that took most of its time; a bar that would be shorter than a cell
still gets one, so that no work is left out. Nothing here prints.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from protocol.states import Phase

if TYPE_CHECKING:
    from protocol.timeline import InstanceTimeline, TaskTimeline

NOTHING = " "
MARKS = {
    Phase.QUEUED: ".",
    Phase.WAITING: "-",
    Phase.PREPARING: "=",
    Phase.PREPARED: "+",
    Phase.ACTIVATING: "#",
    Phase.RETRYING: "~",
}
"""The character of each phase that takes time."""


class Span(NamedTuple):
    """A phase from one second of the task to another."""

    phase: Phase
    start: float
    end: float


def slowest_first(timeline: TaskTimeline) -> list[InstanceTimeline]:
    """The instances by how long they took from their turn on; equal ones as they were named."""
    return sorted(timeline.instances, key=lambda row: -row.seconds)


def bar(row: InstanceTimeline, start: datetime, seconds: float, width: int) -> str:
    """The instance's cells, for a scale of `width` cells that begins at `start`."""
    spans = _spans(row, start)
    cell = seconds / width
    if not spans or not cell:
        return NOTHING * width
    cells = [_mark(spans, at * cell, (at + 1) * cell) for at in range(width)]
    worked = [span for span in spans if span.phase is not Phase.QUEUED and span.end > span.start]
    if worked and all(mark in (NOTHING, MARKS[Phase.QUEUED]) for mark in cells):
        longest = max(worked, key=lambda span: span.end - span.start)
        cells[min(int(longest.start / cell), width - 1)] = MARKS[longest.phase]
    return "".join(cells)


def runs(cells: str) -> list[tuple[Phase | None, str]]:
    """A bar in pieces of one phase each; None where there is nothing."""
    phases = {mark: phase for phase, mark in MARKS.items()}
    return [(phases.get(mark), "".join(same)) for mark, same in groupby(cells)]


def legend(timeline: TaskTimeline) -> list[tuple[Phase, str]]:
    """Each phase that took time, with what to say of it: its mark, its seconds in all."""
    return [
        (phase, f"{MARKS[phase]} {phase.value} {timeline.phases[phase.value]:.1f} s")
        for phase in MARKS
        if phase.value in timeline.phases
    ]


def how_it_ended(row: InstanceTimeline) -> str:
    """Where the instance stands, and what its bar alone does not say."""
    if not row.steps:
        return f"{row.phase.value}, not recorded"
    said = row.phase.value
    if row.began_at is None:
        said += ", never began" if row.status.ended else ", has not begun"
    return said + (f", {row.attempts} attempts" if row.attempts > 1 else "")


def _spans(row: InstanceTimeline, start: datetime) -> list[Span]:
    found = []
    for step in row.steps:
        if step.seconds is not None:
            since = max((step.at - start).total_seconds(), 0.0)
            found.append(Span(step.phase, since, since + step.seconds))
    return found


def _mark(spans: Sequence[Span], start: float, end: float) -> str:
    """The mark of the phase that took most of the time from `start` to `end`."""
    took = {MARKS[phase]: 0.0 for phase in MARKS}
    for span in spans:
        took[MARKS[span.phase]] += max(min(span.end, end) - max(span.start, start), 0.0)
    mark, most = max(took.items(), key=lambda item: item[1])
    return mark if most else NOTHING
