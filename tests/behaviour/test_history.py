"""Interface section 3, "History"."""

from __future__ import annotations

import asyncio

import pytest

from agent.ports import StepError
from tests.behaviour.world import World

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_one_row_for_each_assignment_that_ended_newest_first(world: World) -> None:
    place = await world.place("v1")
    await world.deployed("v2", place)
    place.check.sick["v3"] = "database unreachable"
    await world.deployed("v3", place)

    found = await world.door.get_instance_version_history(place.id)

    assert [(row.version, row.action, row.status) for row in found.history] == [
        ("v3", "deploy", "failed"),
        ("v2", "deploy", "success"),
        ("v1", "deploy", "success"),
    ]
    assert (found.instance_id, found.service, found.total) == (place.id, world.service, 3)


async def test_a_cancelled_assignment_has_its_row_too(world: World) -> None:
    place = await world.place("v1")
    url, rest = world.put("v2"), asyncio.Event()
    world.site.packages.slow(world.name("v2"), chunk=10, gate=rest)
    deploy_id = await world.deploy("v2", place, package_url=url)
    assert [row.version for row in await world.history(place)] == ["v1"], "it has not ended"
    await world.door.cancel_deployment(deploy_id)

    newest, _ = await world.history(place)
    assert (newest.version, newest.status, newest.deploy_id) == ("v2", "cancelled", deploy_id)
    assert newest.reason == "cancelled on request"


async def test_a_task_of_two_instances_is_in_the_history_of_each(world: World) -> None:
    well, sick = await world.places(2)
    sick.check.sick["v1"] = "database unreachable"
    deploy_id = await world.deploy("v1", well, sick)
    await world.ended(deploy_id)

    for place, status in ((well, "success"), (sick, "failed")):
        (row,) = await world.history(place)
        assert (row.deploy_id, row.status) == (deploy_id, status)
    assert "database unreachable" in (await world.history(sick))[0].reason


async def test_many_attempts_are_one_row(world: World) -> None:
    place = await world.place()
    place.driver.refusals.append(StepError("no process came up", passing=True))
    status = await world.deployed("v1", place, retry_count=1)
    assert status.instances[0].attempt == 2
    assert [row.status for row in await world.history(place)] == ["success"]


async def test_limit_and_offset_choose_the_page_and_total_counts_all(world: World) -> None:
    place = await world.place()
    for version in ("v1", "v2", "v3"):
        await world.deployed(version, place)
    ask = world.door.get_instance_version_history

    async def page(*bounds: int) -> list[str]:
        found = await ask(place.id, *bounds)
        assert found.total == 3
        return [row.version for row in found.history]

    assert await page() == ["v3", "v2", "v1"]
    assert await page(2) == ["v3", "v2"]
    assert await page(2, 2) == ["v1"]
    assert await page(1, 3) == []


async def test_an_instance_without_a_deployment_has_an_empty_history(world: World) -> None:
    place = await world.place()
    found = await world.door.get_instance_version_history(place.id)
    assert (found.service, found.history, found.total) == (world.service, [], 0)
