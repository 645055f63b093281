"""Interface section 3, "Health"."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import pytest_asyncio

from coordinator.client import AsyncClient
from protocol import __version__
from protocol.access import TokenParams
from protocol.errors import UnavailableError
from protocol.states import TaskState
from tests.behaviour.conftest import IN_MEMORY
from tests.behaviour.installation import DOORS, Site
from tests.behaviour.world import World

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(loop_scope="session")
async def breakable() -> AsyncIterator[Site]:
    """A coordinator whose database may be broken."""
    with TemporaryDirectory(prefix="ferryman-", dir=IN_MEMORY) as folder:
        async with Site.open(Path(folder)) as site:
            yield site


@contextmanager
def without_table(site: Site, table: str) -> Iterator[None]:
    """Take a table away, behind the coordinator's back."""
    with closing(sqlite3.connect(site.folder / "coordinator" / "coordinator.db")) as database:
        database.execute(f"ALTER TABLE {table} RENAME TO hidden")
        try:
            yield
        finally:
            database.execute(f"ALTER TABLE hidden RENAME TO {table}")


async def test_a_coordinator_that_works_is_healthy(world: World) -> None:
    health = await world.door.get_system_health()
    assert health.status == "healthy"
    assert (health.database, health.cache) == ("ok", "ok")
    assert health.version == __version__


async def test_uptime_reads_as_go_prints_a_duration_and_grows(world: World) -> None:
    def seconds(text: str) -> int:
        found = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(\d+)s", text)
        assert found, text
        hours, minutes, rest = (int(part or 0) for part in found.groups())
        return hours * 3600 + minutes * 60 + rest

    first = await world.door.get_system_health()
    later = await world.door.get_system_health()
    assert later.timestamp > first.timestamp
    assert seconds(later.uptime) >= seconds(first.uptime)


async def test_a_database_that_does_not_answer_is_unhealthy_and_says_what_is_wrong(
    breakable: Site,
) -> None:
    with without_table(breakable, "counters"):
        health = await breakable.coordinator.get_system_health()
        assert health.status == "unhealthy"
        assert "no such table: counters" in health.database
    assert (await breakable.coordinator.get_system_health()).status == "healthy"


async def test_a_live_picture_that_can_not_be_saved_is_degraded_and_says_what_is_wrong(
    breakable: Site,
) -> None:
    async with AsyncExitStack() as stack:
        worlds = [World(breakable, breakable.doors[door], stack) for door in DOORS]
        places = [await world.place() for world in worlds]
        with without_table(breakable, "holds"):
            for world, place in zip(worlds, places, strict=True):
                with pytest.raises(UnavailableError, match="no such table: holds"):
                    await world.deploy("v1", place)
                health = await world.door.get_system_health()
                assert health.status == "degraded"
                assert health.database == "ok"
                assert "no such table: holds" in health.cache

        for world, place in zip(worlds, places, strict=True):
            assert await world.task_ids() == set()
            assert (await world.deployed("v1", place)).status is TaskState.COMPLETED
            health = await world.door.get_system_health()
            assert (health.status, health.cache) == ("healthy", "ok")


async def test_who_asks_is_answered_though_the_use_of_the_token_cannot_be_saved(
    breakable: Site,
) -> None:
    made = await breakable.coordinator.create_token(TokenParams(role="viewer"))
    with closing(sqlite3.connect(breakable.folder / "coordinator" / "coordinator.db")) as database:
        database.execute(
            "CREATE TRIGGER t BEFORE UPDATE ON tokens BEGIN INSERT INTO nowhere VALUES (1); END"
        )
    async with AsyncClient(breakable.url, made.secret, breakable.ca_file) as viewer:
        for _ in range(2):
            assert (await viewer.get_system_health()).status == "healthy"
    listed = (await breakable.coordinator.list_tokens()).tokens
    assert [one.last_used_at for one in listed if one.token_id == made.token_id] == [None]
