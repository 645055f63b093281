"""A host whose disk is full: nothing is stopped, the reason is named, room is all it takes."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from protocol.models import DeployStatus
from protocol.states import TaskState
from tests.lab.fleet import FleetOnHosts, fleet_on_hosts
from tests.lab.needs import need_hosts
from tests.lab.tally import Tally
from tests.parts.waiting import until

pytestmark = [
    pytest.mark.lab,
    pytest.mark.sweep,
    pytest.mark.timeout(300),
    pytest.mark.asyncio(loop_scope="module"),
]

LARGE = 2_000_000
"""Bytes of a package's content that no archive can make smaller."""

NO_SPACE = "no space"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def booted(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[FleetOnHosts]:
    need_hosts()
    async with fleet_on_hosts(tmp_path_factory.mktemp("lab"), "a") as fleet:
        yield fleet


@pytest_asyncio.fixture(loop_scope="module")
async def fleet(booted: FleetOnHosts) -> AsyncIterator[FleetOnHosts]:
    await booted.everywhere("v1")
    yield booted
    await booted.mended()


def large(fleet: FleetOnHosts, version: str) -> tuple[str, asyncio.Event]:
    """A large package whose server holds back all but its beginning until the gate is open."""
    gate, url = asyncio.Event(), fleet.put(version, ballast=random.Random(1).randbytes(LARGE))
    fleet.packages.slow(f"user-service-{version}.tar.gz", chunk=50_000, gate=gate)
    return url, gate


async def refused_for_space(fleet: FleetOnHosts, ended: DeployStatus) -> None:
    """Every part failed at once, naming the lack of space; the old version serves on."""
    assert ended.progress.failed == len(fleet.instances)
    for part in ended.instances:
        assert NO_SPACE in part.error_message.lower()
        assert part.attempt == 1, "no space is not tried again"
    assert [await fleet.intact(name) for name in fleet.instances] == ["v1"] * len(fleet.instances)


async def test_free_space_is_checked_before_the_download(fleet: FleetOnHosts, tally: Tally) -> None:
    url, gate = large(fleet, "v2")
    pids = await fleet.pids()

    await fleet.agents["a"].fill_disk(leaving=LARGE)
    ended = await fleet.deployed("v2", fleet.instances, url=url, retry_count=3)
    assert not gate.is_set(), "the package was never there to be taken"
    await refused_for_space(fleet, ended)
    assert all("must be free" in part.error_message for part in ended.instances)
    assert await fleet.pids() == pids

    gate.set()
    await fleet.agents["a"].free_disk()
    again = await fleet.deployed("v2", fleet.instances, url=url)
    assert again.status is TaskState.COMPLETED
    assert [await fleet.intact(name) for name in fleet.instances] == ["v2"] * len(fleet.instances)
    tally(points=len(fleet.instances))


async def test_a_disk_without_any_room_does_not_even_take_the_command(
    fleet: FleetOnHosts, tally: Tally
) -> None:
    url = fleet.put("v3")

    await fleet.agents["a"].fill_disk()
    await refused_for_space(fleet, await fleet.deployed("v3", fleet.instances, url=url))

    await fleet.agents["a"].free_disk()
    again = await fleet.deployed("v3", fleet.instances, url=url)
    assert again.status is TaskState.COMPLETED
    assert [await fleet.intact(name) for name in fleet.instances] == ["v3"] * len(fleet.instances)
    tally(points=len(fleet.instances))


async def test_a_disk_that_fills_up_during_the_download(fleet: FleetOnHosts, tally: Tally) -> None:
    url, gate = large(fleet, "v4")
    asked = len(fleet.packages.requests)
    task = await fleet.deploy("v4", fleet.instances, url=url, retry_count=3)
    await until(lambda: len(fleet.packages.requests), lambda seen: seen == asked + 2)

    await fleet.agents["a"].fill_disk(leaving=LARGE // 2)
    gate.set()
    await refused_for_space(fleet, await fleet.ended(task))
    assert [fleet.releases(name).find("v4") for name in fleet.instances] == [None, None]

    await fleet.agents["a"].free_disk()
    again = await fleet.deployed("v4", fleet.instances, url=url)
    assert again.status is TaskState.COMPLETED
    assert [await fleet.intact(name) for name in fleet.instances] == ["v4"] * len(fleet.instances)
    tally(points=len(fleet.instances))
