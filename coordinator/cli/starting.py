"""What follows when a task was accepted: its id first, then the wait or nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from coordinator.cli.output import note, print_json, say
from coordinator.cli.text import safe
from coordinator.cli.waiting import Waiting

if TYPE_CHECKING:
    from pydantic import BaseModel

    from coordinator.cli.session import Session


def follow_up(
    session: Session, task_id: str, result: BaseModel, *, waits: bool, limit: float | None
) -> int:
    """Tell the id, wait if `waits` (at most `limit` seconds), and return the exit code.

    With `-o json` the id goes to stderr: stdout is for the final status, or for `result`
    if nobody waits.
    """
    tell = note if session.json else say
    tell(safe(task_id))
    if waits:
        return Waiting(session, task_id, limit).run()
    if session.json:
        print_json(result)
    return 0
