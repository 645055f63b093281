"""A task told in a few lines: its counts, the causes of its failures, and what runs now."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, TextIO

from coordinator.cli.mixed import mixed_versions
from coordinator.cli.output import folded
from coordinator.cli.tasks import id_of, kind_of, rollout_of, version_of
from coordinator.cli.text import instances, safe, size, some
from protocol.states import Phase, TaskState

if TYPE_CHECKING:
    from coordinator.cli.tasks import Status
    from protocol.causes import FailureCause
    from protocol.models import AssignmentStatus

MOST_CAUSES = 20

_FAULTS = {"package": "the package's fault", "host": "the host's fault"}


def closing_lines(status: Status, stream: TextIO) -> Iterator[str]:
    """What is told of a task at the end, as it is to stand on this stream."""
    for line in summary(status):
        yield folded(line, stream)
    yield from mixed_versions(status)  # a command that is broken in two could not be pasted


def summary(status: Status) -> Iterator[str]:
    """A task's counts, what it waits for, causes and receipts."""
    counts = status.progress
    parts = [f"{counts.completed} of {counts.total} completed"]
    parts += [
        f"{n} {word}"
        for n, word in (
            (counts.failed, "failed"),
            (counts.cancelled, "cancelled"),
            (counts.pending, "pending"),
        )
        if n
    ]
    took = ""
    if status.completed_at is not None:
        took = f" in {(status.completed_at - status.started_at).total_seconds():.1f} s"
    yield safe(
        f"{kind_of(status)} {id_of(status)}: {status.service} {version_of(status)}"
        f" {status.status.value}{took}: {', '.join(parts)}"
    )
    yield from _rollout(status)
    for cause in status.causes[:MOST_CAUSES]:
        yield from _told(cause)
    if len(status.causes) > MOST_CAUSES:
        yield f"  and {len(status.causes) - MOST_CAUSES} more causes"
    for receipt, ids in _receipts(status):
        yield f"  {instances(len(ids))} cancelled, {receipt}: {some(ids)}"


def _rollout(status: Status) -> Iterator[str]:
    """What the task waits for or why it stopped, and what came of it."""
    if (rollout := rollout_of(status)) is None:
        return
    if rollout.reason:
        yield f"  {'stopped' if status.status.ended else 'waits'}: {safe(rollout.reason)}"
    for task_id in rollout.led_to:
        yield f"  led to {safe(task_id)}"


def _told(cause: FailureCause) -> Iterator[str]:
    names = some(cause.instances, count=cause.count)
    if cause.count > 1:
        yield f"  {instances(cause.count)}, one cause: {safe(cause.message)} ({names})"
    else:
        yield f"  {names}: {safe(cause.message)}"
    fault = _FAULTS.get(cause.fault, "whose fault it is, is not known")
    yield f"    {fault}: {safe(cause.why)}"


def why(row: AssignmentStatus) -> str:
    """Why an assignment waits or how it ended; the attempts before are in the reason."""
    if row.status.ended:
        return row.error_message or row.reason
    return row.reason or row.error_message


def detail(row: AssignmentStatus) -> str:
    """What there is to say of one assignment besides its phase: bytes, attempt, reason, receipt.

    The reason tells the step in words; the step's own name stands in only where it lacks.
    """
    parts = []
    if row.attempt > 1 and row.phase is not Phase.RETRYING:
        parts.append(f"attempt {row.attempt}")
    if row.step and not row.status.ended and not why(row):
        parts.append(row.step)
    if row.bytes_done and row.phase is Phase.PREPARING:
        parts.append(
            size(row.bytes_done) + (f" of {size(row.bytes_total)}" if row.bytes_total else "")
        )
    if row.receipt is not None:
        parts.append(row.receipt.value.replace("_", " "))
    if why(row):
        parts.append(why(row))
    return safe(" · ".join(parts))


def _receipts(status: Status) -> list[tuple[str, list[str]]]:
    groups: dict[str, list[str]] = {}
    for row in status.instances:
        if row.status is TaskState.CANCELLED:
            told = row.receipt.value.replace("_", " ") if row.receipt else "without a receipt"
            groups.setdefault(told, []).append(row.instance_id)
    return sorted(groups.items(), key=lambda group: -len(group[1]))
