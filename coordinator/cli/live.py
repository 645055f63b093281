"""Progress on a terminal: a bar, and one live line for each instance, as many as fit.

Failed instances stand first and take at most half of the room while others run; then
the running, the waiting and the finished ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.console import Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from coordinator.cli.output import STYLES, console
from coordinator.cli.summary import detail
from coordinator.cli.tasks import rollout_of, version_of
from coordinator.cli.text import safe
from protocol.states import Phase, TaskState

if TYPE_CHECKING:
    from coordinator.cli.tasks import Status
    from protocol.models import AssignmentStatus

_FRAME = 4
"""Lines beside the instances: the bar, the "more" line, an outage, and one to spare."""

_MARGIN = 3
"""Columns left free, so that the `^C` which a terminal echoes does not break a line."""

_PHASE = max(len(phase.value) for phase in Phase)
_GAPS = 4

_RANK = {
    TaskState.IN_PROGRESS: 0,
    TaskState.PENDING: 1,
    TaskState.CANCELLED: 2,
    TaskState.COMPLETED: 3,
}


class LiveView:
    """Draws the newest status in place. `keep` leaves the last picture standing."""

    def __init__(self, *, keep: bool) -> None:
        self._console = console(stderr=True)
        self._live = Live(console=self._console, auto_refresh=False, transient=not keep)
        self._status: Status | None = None

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._live.stop()

    def show(self, status: Status) -> None:
        """Draw this status."""
        self._status = status
        self._draw("")

    def outage(self, message: str) -> None:
        """Draw the last known status and say that the coordinator is away."""
        self._draw(f"{safe(message)}; asking again")

    def _draw(self, warning: str) -> None:
        parts: list[RenderableType] = []
        if self._status is not None:
            width, height = self._console.size
            told = _waits(self._status)
            room = height - _FRAME - len(told)
            parts += [
                _bar(self._status),
                *told,
                *_lines(self._status, width - _MARGIN, room),
            ]
        if warning:
            parts.append(Text(warning, style="red", no_wrap=True, overflow="ellipsis"))
        self._live.update(Group(*parts), refresh=True)


def visible(rows: Sequence[AssignmentStatus], room: int) -> list[AssignmentStatus]:
    """The rows to show on `room` lines, those that need eyes first."""
    failed = [row for row in rows if row.status is TaskState.FAILED]
    others = sorted(
        (row for row in rows if row.status is not TaskState.FAILED),
        key=lambda row: _RANK[row.status],
    )
    moving = sum(not row.status.ended for row in others)
    for_failed = max(room - moving, (room + 1) // 2)
    shown = failed[:for_failed]
    return shown + others[: room - len(shown)]


def _waits(status: Status) -> list[RenderableType]:
    """What the task itself waits for, in one line."""
    rollout = rollout_of(status)
    if rollout is None or not rollout.reason:
        return []
    return [Text(safe(rollout.reason), style="yellow", no_wrap=True, overflow="ellipsis")]


def _lines(status: Status, width: int, room: int) -> list[RenderableType]:
    shown = visible(status.instances, max(room, 1))
    ids = [safe(row.instance_id) for row in shown]
    widest = min(max((len(name) for name in ids), default=0), (width - _PHASE - _GAPS) // 2)
    table = Table.grid(padding=(0, 2))
    for column in (widest, _PHASE, width - widest - _PHASE - _GAPS):
        table.add_column(no_wrap=True, overflow="ellipsis", width=max(column, 1))
    for name, row in zip(ids, shown, strict=True):
        table.add_row(
            Text(shortened(name, widest)),
            Text(row.phase.value, style=STYLES.get(row.status.value, "")),
            Text(detail(row)),
        )
    hidden = len(status.instances) - len(shown)
    return [table, Text(f"… and {hidden} more", style="dim")] if hidden else [table]


def shortened(name: str, most: int) -> str:
    """A name in at most so many columns, without its middle: ids tend to differ at the end."""
    if len(name) <= most or most < 3:
        return name
    tail = most // 2
    return f"{name[: most - tail - 1]}…{name[-tail:]}"


def _bar(status: Status) -> RenderableType:
    counts = status.progress
    told = f"{counts.total - counts.pending} of {counts.total} ended"
    for count, word in ((counts.failed, "failed"), (counts.cancelled, "cancelled")):
        told += f", {count} {word}" if count else ""
    grid = Table.grid(padding=(0, 2))
    for _ in range(3):
        grid.add_column(no_wrap=True, overflow="ellipsis")
    grid.add_row(
        Text(safe(f"{status.service} {version_of(status)}"), style="bold"),
        ProgressBar(total=counts.total, completed=counts.total - counts.pending, width=30),
        Text(told),
    )
    return grid
