"""Waiting for a task: ask again and again, show what changed, end with the right exit code.

An outage of the coordinator is shown and outlasted. Ctrl-C ends the waiting, never the
task.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol

from coordinator.cli.output import folded, note, print_json
from coordinator.cli.summary import closing_lines
from coordinator.cli.tasks import exit_code_of, find_status
from coordinator.cli.text import safe
from protocol.errors import UnavailableError

if TYPE_CHECKING:
    from coordinator.cli.session import Session
    from coordinator.cli.tasks import Status

FIRST_PAUSE = 0.3
LONGEST_PAUSE = 1.0
WAITED_TOO_LONG = 9
INTERRUPTED = 130


class View(Protocol):
    """Shows the progress of one task."""

    def show(self, status: Status) -> None:
        """Show this status."""
        ...

    def outage(self, message: str) -> None:
        """Show that the coordinator is away."""
        ...


class Waiting:
    """Waits for one task with a session's settings."""

    def __init__(self, session: Session, task_id: str, limit: float | None) -> None:
        self._session = session
        self._task_id = task_id
        self._limit = limit
        self.last: Status | None = None

    def run(self, *, keep: bool = True, sums_up: bool = True) -> int:
        """Wait, tell the end, and return the exit code; `self.last` is the last status seen.

        `keep` leaves a live picture standing; without `sums_up` the closing lines are left out.
        """
        code = self._wait(keep=keep)
        if self._session.json and self.last is not None:
            print_json(self.last)
        if code in (WAITED_TOO_LONG, INTERRUPTED):
            ended = "Interrupted" if code == INTERRUPTED else f"Not ended within {self._limit:g} s"
            task_id = safe(self._task_id)
            goes_on = f"{ended}: {task_id} goes on. Look: ferryman status {task_id} --watch"
            note(folded(goes_on, sys.stderr))
            note(f"Stop it: ferryman cancel {task_id}")
        elif self.last is not None and sums_up:
            for line in closing_lines(self.last, sys.stderr):
                note(line)
        return code

    def _wait(self, *, keep: bool) -> int:
        try:
            with _view(keep=keep) as view:
                self._session.ask(
                    lambda client: self._until_ended(
                        lambda: find_status(client, self._task_id), view
                    )
                )
        except KeyboardInterrupt:
            return INTERRUPTED
        except TimeoutError:
            return WAITED_TOO_LONG
        return exit_code_of(self.last) if self.last is not None else 1

    async def _until_ended(self, ask: Callable[[], Awaitable[Status]], view: View) -> None:
        import asyncio  # noqa: PLC0415

        pause = FIRST_PAUSE
        async with asyncio.timeout(self._limit):
            while True:
                try:
                    self.last = await ask()
                except UnavailableError as error:
                    view.outage(error.message)
                else:
                    view.show(self.last)
                    if self.last.status.ended:
                        return
                await asyncio.sleep(pause)
                pause = min(pause * 1.2, LONGEST_PAUSE)


def _view(*, keep: bool) -> AbstractContextManager[View]:
    if sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
        from coordinator.cli.live import LiveView  # noqa: PLC0415

        return LiveView(keep=keep)
    from coordinator.cli.lines import PlainLines  # noqa: PLC0415

    return PlainLines()
