"""A coordinator that was away while a batch baked lets no other follow before it could be told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from coordinator.core.chain import AuditRow
from coordinator.core.fleet import MISSED_HEARTBEATS
from coordinator.core.happenings import Said
from coordinator.core.task import Task
from coordinator.engine import Engine
from coordinator.fleet import Fleet
from protocol.messages import Activate, Command, Ended, Prepare, Prepared, Regressed
from protocol.strategy import Strategy
from tests.lab.model.coordinator import START, LoopClock
from tests.parts.memory_store import MemoryStore
from tests.parts.rollouts import DIGEST, HEALTHY
from tests.parts.rollouts_by_strategy import named, of
from tests.parts.virtual_time import VirtualLoop

HEARTBEAT = 10.0
RETURNS = MISSED_HEARTBEATS * HEARTBEAT
"""Seconds after a start by which agents that are there have come back."""
BAKE = 60
FELL_SICK = Regressed(message="it restarted", digest=DIGEST, after=5)


class Agents:
    """All of them are there, and note what they are sent."""

    def __init__(self) -> None:
        self.sent: list[Command] = []

    def send(self, instance_id: str, command: Command) -> bool:
        self.sent.append(command)
        return True

    def connected(self, instance_id: str) -> bool:
        return True


class Coordinator:
    """One life of it, on a store that outlives it."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self.agents = Agents()
        clock = LoopClock()
        self.engine = Engine(
            store, self.agents, clock, Fleet(clock, HEARTBEAT), lambda events: None
        )

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[Coordinator]:
        await self.engine.start()
        running = asyncio.create_task(self.engine.run())
        yield self
        self.engine.stop()
        await running

    async def hears(self, what: Prepared | Ended | Regressed) -> None:
        """Let the canary's agent report, and wait until that is saved."""
        done = asyncio.Event()
        self.engine.happened("deploy-1", Said("i0", 1, what), done=done.set)
        await done.wait()

    async def task(self) -> Task:
        found = await self._store.task("deploy-1")
        assert found is not None
        return found

    def told(self, kind: type[Prepare] | type[Activate]) -> list[str]:
        return [one.instance_id for one in self.agents.sent if isinstance(one, kind)]


async def baking(store: MemoryStore) -> None:
    """A deployment whose canary has just begun to bake when the coordinator stops."""
    async with Coordinator(store).at_work() as first:
        row = AuditRow(
            at=START,
            proof="in_process",
            who="somebody",
            operation="execute_deployment",
            object_id="deploy-1",
            parameters={},
        )
        await first.engine.create(of(Strategy(canary=1, bake=BAKE), named(3)), row)
        await first.hears(Prepared(digest=DIGEST))
        await first.hears(HEALTHY)
        assert (await first.task()).bake_until is not None


def in_virtual_time(story: Callable[[], Coroutine[Any, Any, None]]) -> None:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(story())


def test_a_regression_that_is_told_after_the_restart_still_counts() -> None:
    async def story() -> None:
        store = MemoryStore()
        await baking(store)
        await asyncio.sleep(10 * BAKE)
        async with Coordinator(store).at_work() as second:
            await asyncio.sleep(RETURNS - 1)
            assert second.told(Prepare) == []
            await second.hears(FELL_SICK)
            assert (await second.task()).stopped == "the canary failed: i0"
            await asyncio.sleep(10 * BAKE)
            assert second.told(Prepare) == []

    in_virtual_time(story)


def test_the_others_follow_once_agents_could_have_told() -> None:
    async def story() -> None:
        store = MemoryStore()
        await baking(store)
        await asyncio.sleep(10 * BAKE)
        async with Coordinator(store).at_work() as second:
            await asyncio.sleep(RETURNS + 1)
            assert second.told(Prepare) == ["i1", "i2"]

    in_virtual_time(story)


def test_an_agent_that_is_back_is_told_to_watch_for_the_rest_of_the_bake() -> None:
    """Its instance is no longer held by the task; and those of other batches are not asked."""

    async def story() -> None:
        store = MemoryStore()
        await baking(store)
        async with Coordinator(store).at_work() as second:
            for name in named(3):
                second.engine.reconnected(name, [])
            await asyncio.sleep(1)
            (command,) = second.agents.sent
            assert isinstance(command, Activate)
            assert (command.instance_id, command.renews) == ("i0", True)
            assert BAKE - 5 < command.watch <= BAKE

    in_virtual_time(story)
