"""Requests to every instance all the time, counted by the version that answered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self

from tests.parts.steady_client import SteadyClient

PAUSE = 0.02
"""Seconds between an answer and the next request, for each instance."""


class Traffic:
    """One client for each URL, for as long as the block runs."""

    def __init__(self, urls: Iterable[str]) -> None:
        self._clients = [SteadyClient(url, PAUSE) for url in urls]
        self._stack = AsyncExitStack()
        self._told: list[int] = [0] * len(self._clients)

    async def __aenter__(self) -> Self:
        for client in self._clients:
            await self._stack.enter_async_context(client)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stack.aclose()

    def since_last(self) -> Counter[str]:
        """The answers since the last call, by version; `FAILED` counts those without one."""
        counted: Counter[str] = Counter()
        for at, client in enumerate(self._clients):
            counted.update(client.answers[self._told[at] :])
            self._told[at] = len(client.answers)
        return counted

    def longest_silence(self) -> float:
        """The longest time since the last call, in seconds, in which an instance did not answer."""
        longest = max(client.longest_silence for client in self._clients)
        for client in self._clients:
            client.longest_silence = 0.0
        return longest
