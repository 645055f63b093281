"""Why an assignment is where it is, in one sentence for people. Pure.

Every state that is not final says what it waits for, and until when.
"""

from __future__ import annotations

from datetime import datetime

from coordinator.core.task import Assignment, Moment, Task
from coordinator.core.waits import Waits, rfc3339, wall
from protocol.states import Phase


def why(
    task: Task,
    part: Assignment,
    now: Moment,
    rollout: Waits | None,
    *,
    away: bool,
    silent_since: datetime | None = None,
    step: str = "",
) -> str:
    """The reason to show; the arguments are those of `part_waits_for`.

    `step` is the agent's step of the attempt in hand, "" if it has not said.
    """
    if part.phase.ended:
        return part.reason
    held = rollout.text if rollout else ""
    if part.phase is Phase.QUEUED:
        other = part.blocked_by
        return f"waiting for {other} to end on this instance" if other else held or _ITS_TURN
    until = f"; until {rfc3339(wall(now, part.deadline))}" if part.deadline is not None else ""
    stands = f"; {held}" if task.paused_at is not None else ""
    if part.phase is Phase.RETRYING:
        return _between_attempts(task, part, now, held) + stands
    if away:
        since = rfc3339(silent_since) or "the start"
        return f"{_WHILE_AWAY[part.phase]}; agent silent since {since}{until}{stands}"
    if part.phase is Phase.PREPARED and held:
        return f"verified on disk, nothing is stopped yet; {held}"
    doing = _DOING[part.phase]
    if part.phase is Phase.ACTIVATING:
        doing = _SWITCHING.get(step, doing)
    stops = task.stopped and task.cancelled_at is None
    why = "the task has stopped" if stops else "a cancellation was asked for"
    asked = f"; {why}: it finishes or is put back" * part.cancel_asked
    earlier = f"; the attempt before failed: {part.error}" if part.error else ""
    return f"{doing}{asked}{until}{earlier}{stands}"


def _between_attempts(task: Task, part: Assignment, now: Moment, held: str) -> str:
    if part.waits_for_place:
        waits = "" if task.paused_at is not None else f"; {held or _ITS_TURN}"
        return f"to be prepared again: {part.error}{waits}"
    attempt, tries = part.attempt - part.discards, task.retry_count + 1
    due = rfc3339(wall(now, part.retry_at))
    return f"attempt {attempt} of {tries} failed: {part.error}; next at {due}"


_ITS_TURN = "waiting for its turn"

_DOING = {
    Phase.WAITING: "waiting for its agent to take the command",
    Phase.PREPARING: "fetching, verifying and unpacking; nothing is stopped yet",
    Phase.PREPARED: "verified on disk, waiting for the rollout; nothing is stopped yet",
    Phase.ACTIVATING: "switching",
}

_SWITCHING = {
    "stop": "stopping the old version",
    "switch": "switching the link to the new version",
    "start": "starting the new version",
    "check": "checking the health of the new version",
    "commit": "healthy; making it the version to go back to",
    "put_back": "the new version failed: putting the old one back",
}

_WHILE_AWAY = {
    Phase.WAITING: "waiting for its agent to return",
    Phase.PREPARING: "was fetching; goes on when its agent returns",
    Phase.PREPARED: "verified on disk, not told to switch; goes on when its agent returns",
    Phase.ACTIVATING: "told to switch: the agent finishes or puts back alone",
}
