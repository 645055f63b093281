"""A pause: nothing new begins, and the clocks of what waits stand still. What runs goes on.

A host keeps a prepared release only as long as it was told to: one that may come to hold one
during the pause is told anew, and again once it does (`core.reports`), had that word been lost.
"""

from __future__ import annotations

from dataclasses import replace

from coordinator.core.draft import Draft
from protocol.states import Phase


def pause(draft: Draft) -> None:
    """Pause the task; a paused one stays as it is."""
    if draft.task.paused_at is None:
        draft.task = replace(draft.task, paused_at=draft.now.wall)
        for part in list(draft.parts.values()):
            if part.phase in (Phase.WAITING, Phase.PREPARING, Phase.PREPARED):
                draft.send_prepare(part)


def resume(draft: Draft) -> None:
    """Go on. Agents that came back meanwhile were sent nothing."""
    if draft.task.paused_at is not None:
        draft.task = replace(draft.task, paused_at=None)
        draft.everywhere = True
        for part in list(draft.parts.values()):
            if part.phase is Phase.WAITING:
                draft.send_prepare(part)
