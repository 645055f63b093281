"""What a cancellation, or a stop, does to each assignment: at once before its switch, not after.

The receipt says how far it had come. Where nobody knows, because its agent is away in the
middle of a switch, that is what the receipt says, and a later report corrects it. Whoever was
told to switch may not have heard of it: its host gives up if it has stopped nothing yet.
"""

from __future__ import annotations

from dataclasses import replace

from coordinator.core.draft import Draft
from coordinator.core.happenings import CancelAsked
from coordinator.core.task import Assignment
from protocol.states import Phase, Receipt


def cancel(draft: Draft, event: CancelAsked) -> None:
    """Stop what can be stopped, of all parts or of those that are named."""
    if event.only is None and draft.task.cancelled_at is None:
        draft.task = replace(draft.task, cancelled_at=draft.now.wall)
    for instance_id in event.only if event.only is not None else list(draft.parts):
        part = draft.parts[instance_id]
        if part.phase is Phase.ACTIVATING and instance_id not in event.connected:
            lose_sight(draft, part)
        else:
            give_up(draft, part, event.why)


def lose_sight(draft: Draft, part: Assignment) -> None:
    """End a part that was to be given up and whose agent is away in the middle of its switch."""
    what = "stopped" if draft.task.stopped and draft.task.cancelled_at is None else "cancelled"
    reason = (
        f"{what} while its agent was away: whether it had switched is not known until it returns"
    )
    draft.withdraw(part, Receipt.UNKNOWN, reason)


def give_up(draft: Draft, part: Assignment, why: str) -> None:
    """Give the part up, if nothing was stopped for it yet; what was let go its host decides."""
    match part.phase:
        case Phase.QUEUED | Phase.WAITING:
            if part.phase is Phase.WAITING:
                draft.send_cancel(part)
            draft.withdraw(part, Receipt.NEVER_STARTED, why)
        case Phase.PREPARING | Phase.PREPARED | Phase.RETRYING:
            draft.send_cancel(part)
            draft.withdraw(part, Receipt.STOPPED_BEFORE_SWITCH, why)
        case Phase.ACTIVATING:
            draft.send_cancel(draft.put(replace(part, cancel_asked=True)))
