"""Interface section 3, "Digest" and the added field `sha256`."""

from __future__ import annotations

import pytest

from protocol.states import Phase, TaskState
from tests.behaviour.world import World, all_doors_at_once, part_of
from tests.parts.packages import sha256

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_task_has_the_given_digest(world: World) -> None:
    place = await world.place()
    digest = sha256(world.package("v1"))
    status = await world.deployed("v1", place, sha256=digest)
    assert status.status is TaskState.COMPLETED
    assert status.digest == digest


async def test_a_package_with_another_digest_than_the_given_one_is_not_installed(
    world: World,
) -> None:
    place = await world.place("v1")
    status = await world.deployed("v2", place, sha256="0" * 64)
    part = part_of(status, place)
    assert part.status is TaskState.FAILED
    assert "package changed" in part.error_message
    assert "0" * 64 in part.error_message
    assert len(place.driver.starts) == 1, "something was stopped"
    assert place.agent.on_disk(place.id) == {"v1"}


async def test_without_one_the_first_verified_download_decides(world: World) -> None:
    place = await world.place()
    status = await world.deployed("v1", place)
    assert status.digest == sha256(world.package("v1"))


@all_doors_at_once
async def test_an_instance_that_gets_other_bytes_from_the_same_url_fails(world: World) -> None:
    first = await world.place("v1")
    second = await world.place("v1")
    url = world.put("v2")
    world.site.packages.vary(world.name("v2"), [world.package("v2"), world.package("changed")])
    await world.away(second)
    deploy_id = await world.deploy("v2", first, second, package_url=url)
    await world.in_phase(deploy_id, first, Phase.COMPLETED)
    await second.agent.let_back()

    status = await world.ended(deploy_id)

    assert status.status is TaskState.FAILED
    assert part_of(status, first).status is TaskState.COMPLETED
    part = part_of(status, second)
    assert part.status is TaskState.FAILED
    assert "package changed" in part.error_message
    assert await second.runs() == "v1"
    assert len(second.driver.starts) == 1, "something was stopped"
    assert status.digest == sha256(world.package("v2"))


async def test_a_rollbacks_package_must_have_the_given_digest_too(world: World) -> None:
    place = await world.place("v2")
    url = world.put("v1")
    for start in (world.roll_back, world.roll_one_back):
        rollback_id = await start("v1", place, package_url=url, sha256="0" * 64)
        part = part_of(await world.rollback_ended(rollback_id), place)
        assert part.status is TaskState.FAILED
        assert "package changed" in part.error_message
    assert await place.runs() == "v2"

    digest = sha256(world.package("v1"))
    status = await world.rolled_back("v1", place, package_url=url, sha256=digest)
    assert (status.status, status.digest) == (TaskState.COMPLETED, digest)
