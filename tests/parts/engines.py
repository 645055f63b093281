"""An engine at work on a store, without hosts and doors; and a store that can be made to refuse."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from coordinator.engine import Engine
from coordinator.fleet import Fleet
from coordinator.ports import Changes, EventRow
from coordinator.reception import Reception
from protocol.errors import UnavailableError
from tests.lab.model.coordinator import LoopClock, NoBeliefs, NoRenewals
from tests.parts.memory_store import MemoryStore


class FullStore(MemoryStore):
    """Its disk is full until there is room."""

    def __init__(self) -> None:
        super().__init__()
        self.room = False

    async def commit(self, changes: Changes) -> list[EventRow]:
        if not self.room:
            raise UnavailableError("database or disk is full")
        return await super().commit(changes)


@asynccontextmanager
async def engine_of(store: MemoryStore) -> AsyncIterator[Engine]:
    """An engine at work; it is stopped at the end of the block, and must end then."""
    clock = LoopClock()
    fleet = Fleet(clock, 10.0)
    reception = Reception(fleet, clock, NoRenewals(), NoBeliefs())
    engine = Engine(store, reception, clock, fleet, lambda events: None)
    running = asyncio.create_task(engine.run())
    yield engine
    engine.stop()
    await running
