"""An event loop whose time passes only while nobody has anything to do.

It never waits: when all tasks sleep, its clock leaps to the moment at which the first one
wakes. Threads would bring real time back, so what is given to an executor runs in the loop
and its answer comes after `WORK` virtual seconds. There are no sockets here.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable
from typing import Any

WORK = 0.01


class DeadlockError(Exception):
    """Everybody waits for something that nobody will do."""


class _Leaping(selectors.SelectSelector):
    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise DeadlockError
        self.now += max(timeout, 0.0)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """Begins at 0 seconds."""

    def __init__(self) -> None:
        self._leaping = _Leaping()
        super().__init__(self._leaping)

    def time(self) -> float:
        return self._leaping.now

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        answer = self.create_future()

        def hand_over(result: Any, failure: Exception | None) -> None:
            if answer.done():
                return
            if failure is not None:
                answer.set_exception(failure)
            else:
                answer.set_result(result)

        try:
            self.call_later(WORK, hand_over, func(*args), None)
        except Exception as error:  # noqa: BLE001 - handed on, as an executor does
            self.call_later(WORK, hand_over, None, error)
        return answer
