"""Why an assignment is where it is, in one sentence for people. Pure.

Every state that is not final says what it waits for, and until when.
"""

from __future__ import annotations

from coordinator.core.task import Assignment, Task
from protocol.states import Phase


def why(
    task: Task,
    part: Assignment,
    *,
    away_since: str | None,
    until: str,
    retry_at: str,
    step: str,
    rollout: str = "",
) -> str:
    """The reason to show.

    `away_since` is None while the agent is connected; the times are RFC 3339 texts; `step`
    is the agent's step of the attempt in hand, "" if it has not said; `rollout` is what the
    task itself waits for.
    """
    if part.phase.ended:
        return part.reason
    if part.phase is Phase.QUEUED:
        other = part.blocked_by
        return f"waiting for {other} to end on this instance" if other else rollout or _ITS_TURN
    until = f"; until {until}" if until else ""
    stands = f"; {rollout}" if task.paused_at is not None else ""
    if part.phase is Phase.RETRYING:
        return _between_attempts(task, part, retry_at, rollout) + stands
    if away_since is not None:
        return f"{_WHILE_AWAY[part.phase]}; agent silent since {away_since}{until}{stands}"
    if part.phase is Phase.PREPARED and rollout:
        return f"verified on disk, nothing is stopped yet; {rollout}"
    doing = _DOING[part.phase]
    if part.phase is Phase.ACTIVATING:
        doing = _SWITCHING.get(step, doing)
    asked = "; a cancellation was asked for: it finishes or is put back" * part.cancel_asked
    earlier = f"; the attempt before failed: {part.error}" if part.error else ""
    return f"{doing}{asked}{until}{earlier}{stands}"


def _between_attempts(task: Task, part: Assignment, retry_at: str, rollout: str) -> str:
    if part.waits_for_place:
        waits = "" if task.paused_at is not None else f"; {rollout or _ITS_TURN}"
        return f"to be prepared again: {part.error}{waits}"
    attempt, tries = part.attempt - part.discards, task.retry_count + 1
    return f"attempt {attempt} of {tries} failed: {part.error}; next at {retry_at}"


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
