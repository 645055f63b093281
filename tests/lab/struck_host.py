"""A host with a service that dies, or loses its power, while its identity changes.

What becomes of the identity is for each sweep to say; the service must not have been touched.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from tests.lab.faults import Action
from tests.lab.needs import need_disks
from tests.lab.scenarios import settled
from tests.lab.victim import Victim
from tests.lab.volume import Volume
from tests.parts.waiting import until


@asynccontextmanager
async def in_service(folder: Path, library: Path, action: Action) -> AsyncIterator[Victim]:
    """A host whose service runs; on a disk of its own if its power is to go."""
    async with AsyncExitStack() as stack:
        volume = None
        if action is Action.POWER_CUT:
            need_disks()
            volume = await stack.enter_async_context(Volume(folder))
        victim = await stack.enter_async_context(Victim.open(folder, library, volume=volume))
        await victim.at_rest(await victim.upgrade())
        yield victim


async def hit_during(victim: Victim, action: Action, change: Coroutine[Any, Any, None]) -> str:
    """Wait for the armed fault or for the change; the call that was hit, "" for none.

    After a hit the agent is dead, after a power cut the host has booted; nothing was started.
    """
    died = asyncio.create_task(victim.died())
    done = asyncio.create_task(change)
    await asyncio.wait([died, done], return_when=asyncio.FIRST_COMPLETED)
    if not died.done():
        await settled(victim)
    for waiting in (died, done):
        waiting.cancel()
    hit = victim.faults.hit
    victim.faults.disarm()
    if hit:
        await victim.died()
        if action is Action.POWER_CUT:
            await victim.boot()
    return hit


async def left_alone(victim: Victim, hit: str) -> None:
    """Hold the service and the disk to what they were before."""
    await until(victim.serves, lambda wrong: wrong == [], within=10)
    assert await victim.clean() == [], hit
