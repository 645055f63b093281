"""A client that asks a service all the time, and remembers every answer."""

from __future__ import annotations

import asyncio
import contextlib
import time
from types import TracebackType
from typing import Self

import aiohttp

FAILED = ""
"""What stands in `answers` for a request that got no answer."""

PAUSE = 0.005


class SteadyClient:
    """Asks `url` again `pause` seconds after the last answer, on a new connection each time."""

    def __init__(self, url: str, pause: float = PAUSE) -> None:
        self.answers: list[str] = []
        """The body of each answer in turn; `FAILED` where there was none."""
        self.longest_silence = 0.0
        """Seconds from a request that failed to the next one that was answered, at most."""
        self._url = url
        self._pause = pause
        self._work: asyncio.Task[None] | None = None

    @property
    def failed(self) -> int:
        """How many requests failed so far."""
        return self.answers.count(FAILED)

    async def __aenter__(self) -> Self:
        self._work = asyncio.create_task(self._ask_for_ever())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._work is not None
        self._work.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._work

    async def _ask_for_ever(self) -> None:
        connector = aiohttp.TCPConnector(force_close=True)
        async with aiohttp.ClientSession(connector=connector) as http:
            silent_since = 0.0
            while True:
                began = time.monotonic()
                self.answers.append(await self._ask(http))
                if self.answers[-1] == FAILED:
                    silent_since = silent_since or began
                elif silent_since:
                    silence, silent_since = time.monotonic() - silent_since, 0.0
                    self.longest_silence = max(self.longest_silence, silence)
                await asyncio.sleep(self._pause)

    async def _ask(self, http: aiohttp.ClientSession) -> str:
        try:
            async with http.get(self._url) as answer:
                return await answer.text() if answer.status == 200 else FAILED
        except (aiohttp.ClientError, OSError):
            return FAILED
