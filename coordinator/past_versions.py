"""What an instance ran at a past moment, as far as its history says.

A version counts from the row of the task that brought it; a task that failed or was cancelled
put back what had run, unless it had succeeded and regressed later: until then its version ran.
The history knows neither hosts nor crashes, nor what was done by hand: a version's status is that
of its row, and the reason says what it rests on.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from coordinator.core.waits import rfc3339
from coordinator.ports import HistoryRow
from protocol.models import InstanceVersion
from protocol.states import InstanceStatus


def version_then(
    instance_id: str, service: str, rows: Sequence[HistoryRow], at: datetime
) -> InstanceVersion:
    """One row of reference 2.1 as it was at `at`.

    `rows` are the instance's last one up to then and the last that brought a version, the newest
    first.
    """
    last = next((row for row in rows if row.brought), None)
    own = last if last is not None and last.service == service else None
    if own is not None:
        basis = f"{_BROUGHT[own.action]} by {own.task_id} at {rfc3339(own.timestamp)}"
        if _had_regressed(own, at):
            basis += f"; {own.reason}"
    elif last is not None:
        basis = "was of another service then"
    else:
        basis = "nothing was deployed here before then"
    return InstanceVersion(
        instance_id=instance_id,
        version=own.version if own else "",
        status=_status(own, at),
        last_updated=own.timestamp if own else at,
        host_id="",
        connected=False,
        reason=basis + _since(service, rows),
    )


_BROUGHT = {"deploy": "deployed", "rollback": "brought back"}


def _status(brought: HistoryRow | None, at: datetime) -> InstanceStatus:
    if brought is None:
        return InstanceStatus.STOPPED
    return InstanceStatus.ERROR if _had_regressed(brought, at) else InstanceStatus.RUNNING


def _had_regressed(brought: HistoryRow, at: datetime) -> bool:
    return brought.regressed_at is not None and brought.regressed_at <= at


def _since(service: str, rows: Sequence[HistoryRow]) -> str:
    """What ended after that without bringing a version."""
    last = next(iter(rows), None)
    if last is None or last.brought or last.service != service:
        return ""
    told = f": {last.reason}" if last.reason else ""
    return f"; {last.task_id} {last.status} at {rfc3339(last.timestamp)}{told}"
