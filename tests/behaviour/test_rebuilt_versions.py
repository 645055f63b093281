"""(+) A version that was built again under the same name: the ways back to the first package."""

from __future__ import annotations

import pytest

from protocol.errors import ConflictError
from protocol.plan import PlannedInstance
from protocol.states import TaskState
from tests.behaviour.test_plan import changed_since, of, plan_of
from tests.behaviour.test_rollback_readiness import damaged, ready
from tests.behaviour.world import Place, World, asked
from tests.parts.packages import sha256, tar_gz

pytestmark = pytest.mark.asyncio(loop_scope="session")

OTHER = "the last successful task that has a URL for it had another package"


def again(world: World) -> bytes:
    """The package of v1, built once more."""
    return tar_gz({"VERSION": f"{world.service} v1\n".encode(), "BUILT": b"again\n"})


async def rebuild(world: World) -> str:
    """Bring the other package of v1 to a place of its own; returns the URL that has it now."""
    url = world.site.packages.put(world.name("v1"), again(world))
    elsewhere = await world.place()
    assert (await world.deployed("v1", elsewhere, package_url=url)).status is TaskState.COMPLETED
    return url


async def planned(world: World, place: Place) -> PlannedInstance:
    return of(await plan_of(world, world.params("v2", place)), place)


async def test_its_new_package_is_no_way_back_to_the_first_one(world: World) -> None:
    place = await world.place("v1")
    await damaged(world, place, "v1")
    assert (await planned(world, place)).back_from == "from_url"
    await rebuild(world)

    seen = await planned(world, place)
    assert seen.back_from == "no_target"
    assert seen.back_reason.endswith(OTHER)
    with pytest.raises(ConflictError, match="no way back to what runs") as refused:
        await world.deploy("v2", place)
    assert OTHER in refused.value.details[0]["message"]
    plan = await plan_of(world, world.params("v2", place))
    assert plan.warnings[0] == f"it would be refused now: {refused.value.message}"

    forced = await world.deployed("v2", place, force=True)
    assert forced.status is TaskState.COMPLETED
    with pytest.raises(ConflictError, match=OTHER):
        await asked(world, "rollback_deployment", forced.deploy_id)


async def test_a_plan_is_another_one_once_the_only_url_has_another_package(world: World) -> None:
    place = await world.place("v1")
    await damaged(world, place, "v1")
    params = world.params("v2", place, force=True)
    plan = await plan_of(world, params)
    await rebuild(world)
    assert await changed_since(world, params, plan) == {"ways"}


async def test_the_new_package_may_be_the_end_of_the_first_one_too(world: World) -> None:
    sound, broken = await world.place("v1"), await world.place("v1")
    await damaged(world, broken, "v1")
    url = await rebuild(world)
    rebuilt = {"package_url": url, "sha256": sha256(again(world))}

    assert (await world.deployed("v1", sound, **rebuilt)).status is TaskState.COMPLETED
    with pytest.raises(ConflictError, match=f"{broken.id}: there would be no way back"):
        await world.deploy("v1", broken, **rebuilt)
    forced = await world.deployed("v1", broken, **rebuilt, force=True)
    assert forced.status is TaskState.COMPLETED


async def test_readiness_tells_what_a_rollback_to_the_previous_one_takes(world: World) -> None:
    place = await world.place("v1")
    await world.deployed("v2", place)
    await rebuild(world)
    fetched = world.downloads("v1")

    for version in ("", "v1"):
        one = await ready(world, place, version)
        assert (one.source, one.digest) == ("from_disk", sha256(world.package("v1")))

    assert (await world.rolled_back("@previous", place)).status is TaskState.COMPLETED
    assert (await place.runs(), world.downloads("v1")) == ("v1", fetched)


async def test_a_rollback_takes_each_hosts_own_package_before_the_rebuilt_one(world: World) -> None:
    """Interface section 3, "Rollback": the host's own release, else that of the last task."""
    keeps, lost = await world.place("v1"), await world.place("v1")
    await world.deployed("v2", keeps, lost)
    await damaged(world, lost, "v1")
    await rebuild(world)
    fetched = world.downloads("v1")

    assert (await world.rolled_back("v1", keeps, lost)).status is TaskState.COMPLETED
    assert world.downloads("v1") == fetched + 1
    rebuilt = [place.agent.root(place.id) / "current" / "BUILT" for place in (keeps, lost)]
    assert [file.exists() for file in rebuilt] == [False, True]
