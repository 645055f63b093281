"""Progress without a terminal: one plain line on stderr for each change."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import TYPE_CHECKING, Self

from coordinator.cli.output import folded, note
from coordinator.cli.summary import detail
from coordinator.cli.tasks import id_of, rollout_of
from coordinator.cli.text import safe

if TYPE_CHECKING:
    from coordinator.cli.tasks import Status
    from protocol.models import AssignmentStatus


class PlainLines:
    """Remembers what it said and says only what is new; bytes or counts alone are no news."""

    def __init__(self) -> None:
        self._said: dict[str, tuple[object, ...]] = {}
        self._away = ""
        self._waited_for = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        return None

    def show(self, status: Status) -> None:
        """Say what has changed since the last status."""
        if self._away:
            note("the coordinator is back")
            self._away = ""
        for row in status.instances:
            if self._said.get(row.instance_id) != _news(row):
                self._said[row.instance_id] = _news(row)
                told = f"{safe(row.instance_id)}  {row.phase.value}  {detail(row)}".rstrip()
                note(folded(told, sys.stderr))
        if (rollout := rollout_of(status)) is not None:
            if rollout.waits_for and rollout.waits_for != self._waited_for:
                note(folded(f"{safe(id_of(status))}  {safe(rollout.reason)}", sys.stderr))
            self._waited_for = rollout.waits_for

    def outage(self, message: str) -> None:
        """Say once that the coordinator is away."""
        if self._away != message:
            self._away = message
            note(f"{safe(message)}; asking again")


def _news(row: AssignmentStatus) -> tuple[object, ...]:
    return (row.phase, row.step, row.attempt, row.reason, row.error_message, row.receipt)
