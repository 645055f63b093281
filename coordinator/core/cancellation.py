"""What a cancellation does to each assignment: at once before its switch, not any more after.

The receipt says how far it had come. Where nobody knows, because its agent is away in the
middle of a switch, that is what the receipt says, and a later report corrects it.
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
        _cancel_part(draft, draft.parts[instance_id], instance_id in event.connected, event.why)


def lose_sight(draft: Draft, part: Assignment) -> None:
    """End a part that was to be cancelled and whose agent is away in the middle of its switch."""
    reason = (
        "cancelled while its agent was away: whether it had switched is not known until it returns"
    )
    draft.withdraw(part, Receipt.UNKNOWN, reason)


def withdraw_unswitched(draft: Draft, part: Assignment, why: str) -> None:
    """Give the part up if nothing was stopped for it yet."""
    match part.phase:
        case Phase.QUEUED | Phase.WAITING:
            if part.phase is Phase.WAITING:
                draft.send_cancel(part)
            draft.withdraw(part, Receipt.NEVER_STARTED, why)
        case Phase.PREPARING | Phase.PREPARED | Phase.RETRYING:
            draft.send_cancel(part)
            draft.withdraw(part, Receipt.STOPPED_BEFORE_SWITCH, why)


def _cancel_part(draft: Draft, part: Assignment, connected: bool, why: str) -> None:
    if part.phase is not Phase.ACTIVATING:
        withdraw_unswitched(draft, part, why)
    elif not connected:
        lose_sight(draft, part)
    else:
        draft.send_cancel(draft.put(replace(part, cancel_asked=True)))
