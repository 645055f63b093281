"""What a host tells of its own past, as rows of the history that the coordinator lost.

The host's wall clock is all that is left of the time: it is taken, but never from the future.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Literal

from coordinator.ports import HistoryRow
from protocol.messages import Ended, PastEntry, Report, Result, TaskTold
from protocol.states import TaskKind

MARK = "told by its host: "
"""What the reason of such a row begins with."""

_OUTCOMES: Mapping[Result, Literal["success", "failed", "cancelled"]] = {
    Result.SUCCEEDED: "success",
    Result.FAILED: "failed",
    Result.CANCELLED: "cancelled",
}


class KnownPast:
    """How much of one host's past is known, on one connection.

    Its reports may overtake each other: what is ahead counts once the gap is closed.
    """

    def __init__(self, number: int = 0) -> None:
        self.number = number
        self._ahead: set[int] = set()

    def told_until(self, number: int) -> None:
        """The host told what it has up to `number`; damaged entries are not missed."""
        self.number = number

    def reported(self, number: int) -> int:
        """Take one entry's number; return up to which all are known now."""
        if number > self.number:
            self._ahead.add(number)
        while self.number + 1 in self._ahead:
            self.number += 1
            self._ahead.discard(self.number)
        return self.number


def row_of_entry(entry: PastEntry, now: datetime) -> HistoryRow:
    """An entry as a row; the store leaves it out if the assignment has one already."""
    return _row(entry, entry.task, entry.ended, min(entry.at.astimezone(UTC), now))


def row_of_report(report: Report, now: datetime) -> HistoryRow | None:
    """What a report would leave in the history if the coordinator lost its task."""
    if report.task is None or not isinstance(report.event, Ended):
        return None
    return _row(report, report.task, report.event, now)


def _row(of: PastEntry | Report, task: TaskTold, ended: Ended, at: datetime) -> HistoryRow:
    return HistoryRow(
        instance_id=of.instance_id,
        service=task.service,
        version=task.version,
        action="deploy" if task.kind is TaskKind.DEPLOY else "rollback",
        task_id=of.task_id,
        timestamp=at,
        status=_OUTCOMES[ended.result],
        reason=MARK + ended.message,
        told_attempt=of.attempt,
    )
