"""The shared coordinator of a test process, and a scenario's world on each of the doors."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import pytest_asyncio

from tests.behaviour.installation import DOORS, Site
from tests.behaviour.world import World

IN_MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
"""Nothing here cuts the power: a disk's slow fsync would only make the suite slow."""


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def site() -> AsyncIterator[Site]:
    with TemporaryDirectory(prefix="ferryman-", dir=IN_MEMORY) as folder:
        async with Site.open(Path(folder)) as opened:
            yield opened


@pytest_asyncio.fixture(loop_scope="session", params=DOORS)
async def world(site: Site, request: pytest.FixtureRequest) -> AsyncIterator[World]:
    """A scenario that asks through each of the three doors in turn."""
    async with AsyncExitStack() as stack:
        yield World(site, site.doors[request.param], stack)


@pytest_asyncio.fixture(loop_scope="session")
async def worlds(site: Site) -> AsyncIterator[list[World]]:
    """The same scenario's world once for each of the three doors."""
    async with AsyncExitStack() as stack:
        yield [World(site, site.doors[door], stack) for door in DOORS]


@pytest_asyncio.fixture(loop_scope="session")
async def own(site: Site) -> AsyncIterator[World]:
    """A scenario that comes in by a door of its own, such as raw HTTP or the command line."""
    async with AsyncExitStack() as stack:
        yield World(site, site.coordinator, stack)
