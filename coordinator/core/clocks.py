"""Whose time stands: what waits for the rollout, not for its host, keeps what is left of it.

That is a prepared release that may not switch yet, one that its host lost meanwhile and, in a
pause, what would begin: an attempt that no host has taken yet, and the next one once it is due.
"""

from __future__ import annotations

from dataclasses import replace

from coordinator.core.commands import time_left
from coordinator.core.draft import Draft
from coordinator.core.task import Assignment
from protocol.states import Phase

_MAY_STAND = (Phase.PREPARED, Phase.RETRYING, Phase.WAITING)
_WITH_A_CLOCK = (*_MAY_STAND, Phase.PREPARING, Phase.ACTIVATING)


def stands(draft: Draft, part: Assignment) -> bool:
    """Whether the part's time does not count now."""
    match part.phase:
        case Phase.PREPARED:
            return True
        case Phase.WAITING:
            return draft.task.paused_at is not None
        case Phase.RETRYING if part.retry_at is not None:
            return draft.task.paused_at is not None and draft.now.steady >= part.retry_at
    return part.waits_for_place


def set_clocks(draft: Draft) -> None:
    """Stop the clocks of what waits for the rollout, and run all others."""
    task = draft.task
    if task.strategy is None and task.paused_at is None and not draft.everywhere:
        return
    parts = draft.by_phase()
    for part in [part for phase in _WITH_A_CLOCK for part in parts[phase]]:
        if not stands(draft, part):
            run_clock(draft, part)
        elif part.left is None:
            draft.put(replace(part, left=_left(draft, part), deadline=None))


def run_clock(draft: Draft, part: Assignment) -> Assignment:
    """Let the part's time run on with what is left of it, if it had stood."""
    if part.left is None:
        return part
    part = draft.put(replace(part, deadline=draft.now.steady + part.left, left=None))
    draft.wake(part, part.deadline)
    draft.wake(part, part.retry_at)
    return part


def _left(draft: Draft, part: Assignment) -> float:
    """Between two attempts it has stood since the next one was due."""
    if part.retry_at is not None and part.deadline is not None:
        return max(0.0, part.deadline - part.retry_at)
    return time_left(part, draft.now)
