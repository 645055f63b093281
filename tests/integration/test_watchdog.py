"""systemd's watchdog is fed when the engine's loop has turned, and not while it is stuck."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from coordinator.engine import Engine
from coordinator.ports import Changes, EventRow, HostRow
from protocol.sd_notify import feed_watchdog
from tests.lab.model.coordinator import START
from tests.parts.engines import FullStore, engine_of
from tests.parts.memory_store import MemoryStore
from tests.parts.systemd_ear import SystemdEar
from tests.parts.waiting import until

INTERVAL = 0.02
MANY_INTERVALS = 0.4


class StuckStore(MemoryStore):
    """Its commits begin, and end when they are let."""

    def __init__(self) -> None:
        super().__init__()
        self.begun = asyncio.Event()
        self.let = asyncio.Event()

    async def commit(self, changes: Changes) -> list[EventRow]:
        self.begun.set()
        await self.let.wait()
        return await super().commit(changes)


@pytest.fixture
async def ear(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[SystemdEar]:
    with SystemdEar(f"@ferryman-watchdog-{os.getpid()}", watchdog=2 * INTERVAL) as opened:
        for name, value in opened.environment().items():
            monkeypatch.setenv(name, value)
        yield opened


@asynccontextmanager
async def fed(store: MemoryStore) -> AsyncIterator[Engine]:
    """An engine at work, which feeds the watchdog."""
    async with engine_of(store) as engine:
        feeding = asyncio.create_task(feed_watchdog(engine.turned))
        yield engine
        feeding.cancel()
        await asyncio.wait([feeding])


async def test_an_engine_stuck_in_a_commit_is_not_fed(ear: SystemdEar) -> None:
    store = StuckStore()
    async with fed(store) as engine:
        await ear.hears("WATCHDOG=1", times=3)
        engine.happened(hosts=[HostRow("host-a", START)])
        await store.begun.wait()
        await ear.hears_nothing_for(MANY_INTERVALS)
        store.let.set()
        await ear.hears("WATCHDOG=1", times=3)


async def test_an_engine_that_tries_again_and_again_to_save_is_fed(ear: SystemdEar) -> None:
    """A restart would not mend the disk."""
    async with fed(FullStore()) as engine:
        engine.happened(hosts=[HostRow("host-a", START)])
        await until(lambda: engine.trouble, every=INTERVAL)
        ear.forget()
        await ear.hears("WATCHDOG=1", times=2)
        assert engine.trouble.endswith("database or disk is full")
