"""Interface section 3, "Rollback"."""

from __future__ import annotations

import asyncio
import re

import pytest

from protocol.errors import ConflictError
from protocol.states import InstanceStatus, Phase, TaskState
from tests.behaviour.world import Place, World, part_of
from tests.parts.packages import sha256
from tests.parts.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="session")


def damage(place: Place, version: str) -> None:
    """Change a file of a release that is kept on the host's disk."""
    (release,) = (place.agent.root(place.id) / "releases").glob(f"{version}-*")
    (release / "VERSION").write_text("something else\n")


async def test_the_hosts_own_retained_release_is_used_without_a_download(world: World) -> None:
    place = await world.place("v1")
    await world.deployed("v2", place)
    await world.site.packages.stop()
    try:
        status = await world.rolled_back("v1", place)
    finally:
        await world.site.packages.start()

    assert status.status is TaskState.COMPLETED
    assert world.downloads("v1") == 1, "the one of the deployment"
    assert await place.runs() == "v1"
    assert status.digest == sha256(world.package("v1"))


async def test_a_retained_release_whose_digest_does_not_verify_is_fetched_from_package_url(
    world: World,
) -> None:
    place = await world.place("v1")
    await world.deployed("v2", place)
    damage(place, "v1")
    elsewhere = world.site.packages.put(f"{world.service}/mirror.tar.gz", world.package("v1"))

    status = await world.rolled_back("v1", place, package_url=elsewhere)

    assert status.status is TaskState.COMPLETED
    names = [one.name for one in world.site.packages.requests]
    assert names.count(f"{world.service}/mirror.tar.gz") == 1
    assert world.downloads("v1") == 1
    assert await place.runs() == "v1"


async def test_else_it_comes_from_the_url_of_that_versions_last_successful_task(
    world: World,
) -> None:
    place = await world.place("v1")
    await world.deployed("v2", place)
    damage(place, "v1")

    assert (await world.rolled_back("v1", place)).status is TaskState.COMPLETED
    assert world.downloads("v1") == 2
    assert await place.runs() == "v1"


async def test_and_must_have_that_tasks_digest(world: World) -> None:
    place = await world.place("v1")
    await world.deployed("v2", place)
    damage(place, "v1")
    world.site.packages.put(world.name("v1"), world.package("other bytes"))

    part = part_of(await world.rolled_back("v1", place), place)

    assert part.status is TaskState.FAILED
    assert "package changed" in part.error_message
    assert await place.runs() == "v2"
    assert len(place.driver.starts) == 2, "something was stopped"


async def test_an_instance_that_never_had_the_version_gets_it_by_the_services_history(
    world: World,
) -> None:
    older = await world.place("v1")
    newer = await world.place("v2")
    await world.deployed("v2", older)
    status = await world.rolled_back("v1", older, newer)
    assert status.status is TaskState.COMPLETED
    assert (await older.runs(), await newer.runs()) == ("v1", "v1")


async def test_without_any_source_it_is_refused_before_anything_stops(world: World) -> None:
    place = await world.place("v2")
    for start in (world.roll_back("v1", place), world.roll_one_back("v1", place)):
        with pytest.raises(ConflictError, match="v1") as refused:
            await start
        assert place.id in refused.value.message
        (detail,) = refused.value.details
        assert (detail["instance_id"], detail["version"]) == (place.id, "v1")
    assert len(await world.task_ids()) == 1
    assert await place.runs() == "v2"


async def test_a_damaged_release_without_any_source_ends_before_anything_stops(
    world: World,
) -> None:
    good, bad = await world.places(2)
    bad.check.sick["v1"] = "database unreachable"
    await world.deployed("v1", good, bad)  # failed: no successful task brought v1
    await world.deployed("v2", good)
    damage(good, "v1")

    part = part_of(await world.rolled_back("v1", good), good)

    assert part.status is TaskState.FAILED
    assert "damaged" in part.error_message
    assert await good.runs() == "v2"
    assert len(good.driver.starts) == 2, "something was stopped"


async def test_without_force_it_is_refused_when_an_instance_already_runs_the_version(
    world: World,
) -> None:
    there, other = await world.places(2)
    await world.deployed("v1", there, other)
    await world.deployed("v2", other)

    with pytest.raises(ConflictError, match="already runs v1") as refused:
        await world.roll_back("v1", other, there)

    assert [detail["instance_id"] for detail in refused.value.details] == [there.id]
    assert refused.value.details[0]["version"] == "v1"
    with pytest.raises(ConflictError, match="already runs v1"):
        await world.roll_one_back("v1", there)
    assert await other.runs() == "v2", "all or none"
    assert not [name for name in await world.task_ids() if name.startswith("rollback-")]


async def test_what_died_does_not_run_and_is_brought_up_again_by_a_rollback_to_its_version(
    world: World,
) -> None:
    failed, ended = await world.places(2)
    await world.deployed("v1", failed, ended)
    failed.driver.crash("killed by signal 9 (SIGKILL)")
    ended.driver.crash("")
    assert (await world.in_status(failed, InstanceStatus.ERROR)).version == "v1"
    assert (await world.in_status(ended, InstanceStatus.STOPPED)).version == "v1"

    several = await world.rolled_back("v1", failed)
    one = await world.rollback_ended(await world.roll_one_back("v1", ended))

    assert (several.status, one.status) == (TaskState.COMPLETED, TaskState.COMPLETED)
    for place in (failed, ended):
        assert await place.runs() == "v1"
        assert (await world.in_status(place, InstanceStatus.RUNNING)).version == "v1"
    assert world.downloads("v1") == 2, "both from their own disks"
    with pytest.raises(ConflictError, match="already runs v1"):
        await world.roll_back("v1", failed, ended)


async def test_without_force_it_is_refused_when_an_instance_never_ran_the_service(
    world: World,
) -> None:
    old, new = await world.places(2)
    await world.deployed("v1", old)
    await world.deployed("v2", old)

    with pytest.raises(ConflictError, match="never ran") as refused:
        await world.roll_back("v1", old, new)

    assert [detail["instance_id"] for detail in refused.value.details] == [new.id]
    assert await old.runs() == "v2"
    assert await new.runs() == ""


async def test_with_force_it_goes_through_the_switch_where_the_version_runs_already(
    world: World,
) -> None:
    place = await world.place("v1")
    status = await world.rolled_back("v1", place, force=True)
    assert status.status is TaskState.COMPLETED
    assert len(place.driver.starts) == 2
    assert await place.runs() == "v1"


async def test_with_force_an_instance_that_never_ran_the_service_gets_the_version(
    world: World,
) -> None:
    old, new = await world.places(2)
    await world.deployed("v1", old)
    assert (await world.rolled_back("v1", new, force=True)).status is TaskState.COMPLETED
    assert await new.runs() == "v1"


async def test_the_type_is_single_or_batch(world: World) -> None:
    first, second = await world.places(2)
    await world.deployed("v1", first, second)
    await world.deployed("v2", first, second)

    one = await world.rollback_ended(await world.roll_one_back("v1", first))
    several = await world.rolled_back("v1", second)

    assert (one.rollback_type, several.rollback_type) == ("single", "batch")
    assert [part.instance_id for part in one.instances] == [first.id]
    assert [part.instance_id for part in several.instances] == [second.id]


async def test_it_is_a_task_of_its_own_and_in_the_history_as_a_rollback(world: World) -> None:
    place = await world.place("v1")
    deploy_id = await world.deploy("v2", place)
    await world.ended(deploy_id)
    before = await world.door.get_deployment_status(deploy_id)

    rollback_id = await world.roll_back("v1", place)
    assert re.fullmatch(r"rollback-[0-9A-HJKMNP-TV-Z]{26}", rollback_id)
    assert (await world.rollback_ended(rollback_id)).status is TaskState.COMPLETED

    newest, *_ = await world.history(place)
    assert (newest.action, newest.deploy_id) == ("rollback", rollback_id)
    assert (newest.version, newest.status) == ("v1", "success")
    after = await world.door.get_deployment_status(deploy_id)
    assert after.status is TaskState.COMPLETED
    assert after.updated_at == before.updated_at


async def test_a_target_that_is_not_healthy_any_more_is_put_back_like_any_release(
    world: World,
) -> None:
    place = await world.place("v1")
    await world.deployed("v2", place)
    place.check.sick["v1"] = "the database schema is newer"

    rollback_id = await world.roll_back("v1", place)
    status = await until(
        lambda: world.site.coordinator.get_rollback_status(rollback_id),
        lambda status: part_of(status, place).phase is Phase.RETRYING,
    )

    assert "the database schema is newer" in part_of(status, place).reason
    assert "v2 was put back" in part_of(status, place).reason
    assert await place.runs() == "v2"
    assert (await world.in_status(place, InstanceStatus.RUNNING)).version == "v2"
    await world.door.cancel_rollback(rollback_id)


async def test_two_at_once_are_two_tasks(world: World) -> None:
    first, second = await world.places(2)
    await world.deployed("v1", first, second)
    await world.deployed("v2", first, second)
    ids = await asyncio.gather(world.roll_back("v1", first), world.roll_back("v1", second))
    assert len(set(ids)) == 2
    for rollback_id in ids:
        assert (await world.rollback_ended(rollback_id)).status is TaskState.COMPLETED
