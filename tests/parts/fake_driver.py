"""A driver in memory, for tests of many instances; it passes the drivers' contract suite.

What shall go wrong is set before: `refusals` and `stubbornness` are taken one at each
start and stop; `crash` ends the service as if it had died. `hold` makes the next start or
stop wait.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

from agent.command import release_directory
from agent.ports import ServiceState, StepError


class Gate:
    """Where one start or stop waits."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self._opened = asyncio.Event()

    def open(self) -> None:
        self._opened.set()

    async def passed(self) -> None:
        self.reached.set()
        await self._opened.wait()


class FakeDriver:
    """Keeps a service that is nothing but a flag and a count of starts."""

    def __init__(
        self,
        *,
        refusals: Iterable[StepError | None] = (),
        stubbornness: Iterable[StepError | None] = (),
    ) -> None:
        self.refusals = deque(refusals)
        self.stubbornness = deque(stubbornness)
        self.starts: list[tuple[Path, dict[str, str]]] = []
        """Release and environment of each start that took place, the oldest first."""
        self.blind: StepError | None = None
        """What every look fails with."""
        self.unstartable: StepError | None = None
        """Why the host would start no release at all."""
        self.written = ""
        """The last lines of the service's output."""
        self._gates: dict[str, deque[Gate]] = {"start": deque(), "stop": deque()}
        self._running = False
        self._detail = ""

    @property
    def running(self) -> bool:
        return self._running

    def hold(self, what: Literal["start", "stop"]) -> Gate:
        """Let the next `what` of them wait until the gate is opened."""
        gate = Gate()
        self._gates[what].append(gate)
        return gate

    async def check_startable(self, current: Path) -> None:
        if self.unstartable is not None:
            raise self.unstartable

    async def start(self, current: Path, environment: Mapping[str, str]) -> None:
        release = release_directory(current)
        if self._running:
            return
        await self._pass("start")
        if self.refusals and (error := self.refusals.popleft()) is not None:
            raise error
        self.starts.append((release, dict(environment)))
        self._running, self._detail = True, ""

    async def stop(self) -> None:
        await self._pass("stop")
        if self._running and self.stubbornness and (error := self.stubbornness.popleft()):
            raise error
        self._running, self._detail = False, ""

    async def state(self) -> ServiceState:
        if self.blind is not None:
            raise self.blind
        generation = f"start-{len(self.starts)}" if self.starts else ""
        return ServiceState(self._running, generation, self._detail)

    async def last_lines(self) -> str:
        return self.written

    async def _pass(self, what: str) -> None:
        if self._gates[what]:
            await self._gates[what].popleft().passed()

    def crash(self, detail: str, *, restarted: bool = False) -> None:
        """End the service; `restarted`: something else starts it again, as systemd may."""
        self._running, self._detail = restarted, detail
        if restarted:
            self.starts.append(self.starts[-1])
