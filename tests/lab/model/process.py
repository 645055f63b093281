"""A program that can be killed at any moment: its tasks end where they stand.

Tasks belong to the process that started them, and so do the tasks that these start. What a
dead process still does while its tasks unwind must not reach the world: whoever stands
between the two (disk, services, network) asks `here()` and stops it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from contextvars import ContextVar, copy_context
from typing import Any, TypeVar

T = TypeVar("T")

_OWNER: ContextVar[Process | None] = ContextVar("owner", default=None)


class KilledError(BaseException):
    """The process that wanted this is dead. No `Exception`: nobody can carry on after it."""


class Process:
    """Starts alive."""

    def __init__(self) -> None:
        self.alive = True
        self._tasks: set[asyncio.Task[Any]] = set()

    def spawn(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run `work` as a task of this process; a dead one does not begin."""
        self.call(lambda: asyncio.get_running_loop().create_task(_quiet(work)))

    def call(self, work: Callable[[], T]) -> T | None:
        """Do `work` as this process; a dead one does nothing."""
        if not self.alive:
            return None
        context = copy_context()
        context.run(_OWNER.set, self)
        try:
            return context.run(work)
        except KilledError:
            return None

    def kill(self) -> None:
        """End it now."""
        self.alive = False
        for task in self._tasks:
            task.cancel()

    def own(self, task: asyncio.Task[Any]) -> None:
        """Take a task that this process has started."""
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _quiet(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    with contextlib.suppress(KilledError):
        await work()


def here() -> None:
    """Stop the caller if its process is dead."""
    owner = _OWNER.get()
    if owner is not None and not owner.alive:
        raise KilledError


def keep_owners(loop: asyncio.AbstractEventLoop) -> None:
    """Let the loop's tasks belong to the process that starts them."""

    def make(loop: asyncio.AbstractEventLoop, work: Any, **options: Any) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = asyncio.Task(work, loop=loop, **options)
        if (owner := _OWNER.get()) is not None:
            owner.own(task)
        return task

    loop.set_task_factory(make)
