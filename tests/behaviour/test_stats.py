"""Interface section 3, "Stats"."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import pytest_asyncio

from coordinator.core.task import Assignment, Task
from coordinator.ports import Changes
from coordinator.store import SqlStore
from protocol.errors import InvalidRequestError
from protocol.states import Phase, TaskKind
from tests.behaviour.conftest import IN_MEMORY
from tests.behaviour.installation import DOORS, Site
from tests.behaviour.world import World, all_doors_at_once

pytestmark = pytest.mark.asyncio(loop_scope="session")

HOURS = {"within 1h": 0.5, "within 24h": 2, "within 7d": 30, "within 30d": 200, "older": 800}
EACH = {Phase.COMPLETED: 3, Phase.FAILED: 1, Phase.CANCELLED: 1, Phase.WAITING: 1}
"""So many deployments of each age, in these phases; and one rollback of each age, completed."""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def aged() -> AsyncIterator[Site]:
    """A coordinator with tasks of many ages and no agent."""
    with TemporaryDirectory(prefix="ferryman-", dir=IN_MEMORY) as name:
        folder = Path(name)
        (folder / "coordinator").mkdir()
        store = await SqlStore.open(f"sqlite+aiosqlite:///{folder}/coordinator/coordinator.db")
        await store.commit(Changes(created=list(tasks_of_all_ages())))
        await store.close()
        async with Site.open(folder) as site:
            yield site


@pytest.fixture(params=DOORS)
def door(aged: Site, request: pytest.FixtureRequest) -> Any:
    return aged.doors[request.param]


def tasks_of_all_ages() -> Iterator[Task]:
    now, numbers = datetime.now(UTC), itertools.count()
    for hours in HOURS.values():
        at = now - timedelta(hours=hours)
        for phase, count in EACH.items():
            for _ in range(count):
                yield task(f"deploy-{next(numbers)}", TaskKind.DEPLOY, at, phase)
        yield task(f"rollback-{next(numbers)}", TaskKind.ROLLBACK, at, Phase.COMPLETED)


def task(task_id: str, kind: TaskKind, at: datetime, phase: Phase) -> Task:
    return Task(
        task_id=task_id,
        kind=kind,
        service="user-service",
        version="v1",
        timeout=300,
        retry_count=3,
        created_at=at,
        updated_at=at,
        assignments={f"on-{task_id}": Assignment(f"on-{task_id}", phase=phase)},
        revision=1,
    )


@pytest.mark.parametrize(("period", "ages"), [("1h", 1), ("24h", 2), ("7d", 3), ("30d", 4)])
async def test_tasks_that_were_created_within_the_period_are_counted(
    door: Any, period: str, ages: int
) -> None:
    stats = await door.get_system_stats(period)
    assert stats.period == period
    assert stats.deployments.total == 6 * ages
    assert stats.rollbacks.total == ages


async def test_success_is_completed_and_failed_is_failed(door: Any) -> None:
    stats = await door.get_system_stats("1h")
    assert (stats.deployments.success, stats.deployments.failed) == (3, 1)
    assert (stats.rollbacks.success, stats.rollbacks.failed) == (1, 0)


async def test_the_success_rate_is_of_those_that_completed_or_failed(door: Any) -> None:
    stats = await door.get_system_stats("1h")
    assert stats.deployments.success_rate == 0.75
    assert stats.rollbacks.success_rate == 1.0


async def test_the_default_period_is_a_day(door: Any) -> None:
    stats = await door.get_system_stats()
    assert (stats.period, stats.deployments.total) == ("24h", 12)


async def test_where_there_are_none_the_success_rate_is_0(own: World) -> None:
    with TemporaryDirectory(prefix="ferryman-", dir=IN_MEMORY) as folder:
        async with Site.open(Path(folder)) as empty:
            for door in empty.doors.values():
                stats = await door.get_system_stats("30d")
                for counts in (stats.deployments, stats.rollbacks):
                    assert (counts.total, counts.success, counts.failed) == (0, 0, 0)
                    assert counts.success_rate == 0.0
                instances = stats.instances
                assert (instances.total, instances.healthy, instances.unhealthy) == (0, 0, 0)


async def test_healthy_is_running_and_connected(aged: Site) -> None:
    async with AsyncExitStack() as stack:
        world = World(aged, aged.coordinator, stack)
        running, stopped, broken = await world.places(3)
        away = await world.place("v1")
        await world.deployed("v1", running, broken)
        broken.driver.crash("exit status 3")
        await world.away(away)
        await world.row(stopped)
        for door in aged.doors.values():
            instances = (await door.get_system_stats()).instances
            assert (instances.total, instances.healthy, instances.unhealthy) == (4, 1, 3)


@all_doors_at_once
async def test_any_other_period_is_an_invalid_request(world: World) -> None:
    for period in ("", "2h", "24H", "1d", "24h "):
        with pytest.raises(InvalidRequestError, match="1h, 24h, 7d") as refused:
            await world.door.get_system_stats(period)
        assert refused.value.details[0]["field"] == "period"
