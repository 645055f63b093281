"""(+) Whether instances could go back, and deployments that would leave no way back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from protocol.errors import ConflictError, InvalidRequestError, NotFoundError
from protocol.readiness import InstanceReadiness, RollbackReadiness
from protocol.states import InstanceStatus, TaskState
from tests.behaviour.world import OFTEN, Place, World, asked
from tests.parts.packages import sha256
from tests.parts.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def readiness(world: World, version: str = "") -> RollbackReadiness:
    found: RollbackReadiness = await asked(world, "get_rollback_readiness", world.service, version)
    return found


async def ready(world: World, place: Place, version: str = "") -> InstanceReadiness:
    found = await readiness(world, version)
    return next(one for one in found.instances if one.instance_id == place.id)


def release(place: Place, version: str) -> Path:
    (found,) = (place.agent.root(place.id) / "releases").glob(f"{version}-*")
    return found


async def damaged(world: World, place: Place, version: str) -> None:
    """Change a file of a release on the host's disk, and wait until the host has found it out."""
    (release(place, version) / "VERSION").write_text("something else\n")
    await place.agent.verify(place.id)
    await reason_told(world, place, version, f"{version} is damaged on the host's disk")


async def reason_told(world: World, place: Place, version: str, reason: str) -> None:
    """Wait until the coordinator says so of the way back to a version."""
    await until(lambda: ready(world, place, version), lambda one: reason in one.reason, every=OFTEN)


async def without_url(world: World) -> tuple[Place, Place]:
    """A place that runs v1, by a task that failed on the other one: it left no URL for it."""
    place, other = await world.places(2)
    other.check.sick["v1"] = "database unreachable"
    assert (await world.deployed("v1", place, other)).status is TaskState.FAILED
    assert place.current == "v1"
    return place, other


# ---- readiness ---------------------------------------------------------------------


async def test_a_release_on_the_hosts_disk_is_ready_and_its_proof_has_an_age(
    world: World,
) -> None:
    place = await world.place("v1")
    await world.deployed("v2", place)

    found = await readiness(world)
    (one,) = found.instances
    assert (one.source, one.current_version, one.version) == ("from_disk", "v2", "v1")
    assert one.digest == sha256(world.package("v1"))
    assert one.connected
    assert one.proven_ago is not None
    assert 0 <= one.proven_ago < 60, "unpacking it was the proof"
    assert one.reason == "on the host's disk, verified"
    assert (found.from_disk, found.from_url, found.no_target) == (1, 0, 0)
    assert (found.service, found.version) == (world.service, "")


async def test_the_age_grows_until_the_host_has_verified_it_again(world: World) -> None:
    place = await world.place("v1")
    await world.deployed("v2", place)

    async def age() -> float:
        one = await ready(world, place)
        assert one.proven_ago is not None
        return one.proven_ago

    grown = await until(age, lambda age: age > 1.5, every=OFTEN)
    await place.agent.verify(place.id)
    assert await until(age, lambda age: age < grown, every=OFTEN) < 1.5


async def test_without_a_version_it_is_the_last_other_one_that_was_healthy(world: World) -> None:
    place = await world.place("v1")
    await world.deployed("v2", place)
    place.check.sick["v3"] = "database unreachable"
    await world.deployed("v3", place)
    assert (await ready(world, place)).version == "v1", "v2 runs, and v3 never was healthy"

    await world.rolled_back("v1", place)
    assert (await ready(world, place)).version == "v2"


async def test_what_is_pruned_is_found_in_the_history_and_comes_by_its_url(world: World) -> None:
    place = await world.place("v1", keep_releases=1)
    await world.deployed("v2", place)
    await world.deployed("v3", place)

    one = await ready(world, place, "v1")
    assert (one.source, one.version, one.proven_ago) == ("from_url", "v1", None)
    assert one.digest == sha256(world.package("v1"))
    assert one.reason == "v1 is not on the host's disk; its last successful task has a URL for it"


async def test_a_damaged_release_is_told_and_no_longer_counts(world: World) -> None:
    place = await world.place("v1")
    await world.deployed("v2", place)
    await damaged(world, place, "v1")

    one = await ready(world, place)
    assert (one.source, one.version, one.proven_ago) == ("from_url", "v1", None)
    assert one.reason.startswith("v1 is damaged on the host's disk: VERSION has ")
    assert release(place, "v1").is_dir(), "it stays, as evidence"


async def test_where_there_is_neither_there_is_no_target(world: World) -> None:
    place, _ = await without_url(world)
    await world.deployed("v2", place)
    assert (await ready(world, place)).source == "from_disk"
    await damaged(world, place, "v1")

    one = await ready(world, place)
    assert (one.source, one.version, one.digest) == ("no_target", "v1", "")
    assert "is damaged on the host's disk" in one.reason
    assert one.reason.endswith("and no successful task has a URL for it")
    with pytest.raises(ConflictError, match="is damaged on the host's disk"):
        await world.roll_back("v1", place)


async def test_damage_that_a_rollback_meets_is_told_and_stays_on_the_disk(world: World) -> None:
    place, _ = await without_url(world)
    await world.deployed("v2", place)
    (release(place, "v1") / "VERSION").write_text("something else\n")
    assert (await world.rolled_back("v1", place)).status is TaskState.FAILED

    one = await ready(world, place)
    assert (one.source, one.version) == ("no_target", "v1")
    assert one.reason.startswith("v1 is damaged on the host's disk: VERSION has ")
    assert release(place, "v1").is_dir()


async def test_an_instance_without_a_past_has_nothing_to_go_back_to(world: World) -> None:
    place = await world.place()
    for version in ("", "v1"):
        one = await ready(world, place, version)
        assert (one.source, one.version, one.current_version) == ("no_target", "", "")
        assert one.reason == f"never ran {world.service}"
    await world.deployed("v1", place)
    one = await ready(world, place)
    assert (one.source, one.reason) == ("no_target", "no other version was ever healthy here")


async def test_with_a_version_each_instance_is_asked_for_that_one(world: World) -> None:
    older = await world.place("v1")
    newer = await world.place("v2")
    await world.deployed("v3", newer)

    found = await readiness(world, "v2")
    shown = {one.instance_id: one for one in found.instances}
    assert found.version == "v2"
    assert (found.from_disk, found.from_url, found.no_target) == (1, 1, 0)
    assert shown[newer.id].source == "from_disk"
    assert shown[older.id].source == "from_url"
    running = await ready(world, older, "v1")
    assert (running.source, running.version) == ("from_disk", "v1")
    assert running.reason == "runs v1 now; on the host's disk, verified"


async def test_a_host_that_is_away_is_shown_by_its_last_word(world: World) -> None:
    place = await world.place("v1")
    await world.deployed("v2", place)
    await world.away(place)

    one = await ready(world, place)
    assert (one.source, one.connected) == ("from_disk", False)
    assert "its agent is away since 2" in one.reason


async def test_a_proof_outlives_the_agent(world: World) -> None:
    place = await world.place("v1")
    await world.deployed("v2", place)
    await damaged(world, place, "v1")
    before = await ready(world, place)
    await place.agent.stop()
    await place.agent.start()
    await world.connected(place)
    assert (await ready(world, place)).reason == before.reason


async def test_what_is_asked_is_checked(world: World) -> None:
    with pytest.raises(NotFoundError, match="no service nobody"):
        await asked(world, "get_rollback_readiness", "nobody")
    with pytest.raises(InvalidRequestError, match="service_name: must be"):
        await asked(world, "get_rollback_readiness", "a b")
    await world.place()
    with pytest.raises(InvalidRequestError, match="version: must be"):
        await readiness(world, "a b")


# ---- the only way back -------------------------------------------------------------


async def test_a_deployment_that_would_leave_no_way_back_is_refused(world: World) -> None:
    place, other = await without_url(world)
    await damaged(world, place, "v1")
    before = await world.task_ids()

    with pytest.raises(ConflictError, match="no way back") as refused:
        await world.deploy("v2", place, other)

    assert place.id in refused.value.message
    assert other.id not in refused.value.message, "nothing runs there"
    assert "force" in refused.value.message
    (detail,) = refused.value.details
    assert (detail["instance_id"], detail["version"]) == (place.id, "v1")
    assert "v1 is damaged on the host's disk: VERSION has" in detail["message"]
    assert await world.task_ids() == before
    assert await place.runs() == "v1"


async def test_the_plan_of_such_a_deployment_says_so(world: World) -> None:
    place, _ = await without_url(world)
    await damaged(world, place, "v1")

    plan = await asked(world, "plan_deployment", world.params("v2", place))
    first, *others = plan.warnings
    assert first.startswith(f"it would be refused now: {place.id}: there would be no way back")
    assert f"could not go back to what they run: {place.id}" in others
    (row,) = plan.instances
    assert (row.back_to, row.back_from) == ("v1", "no_target")
    assert "v1 is damaged on the host's disk: VERSION has" in row.back_reason

    forced = await asked(world, "plan_deployment", world.params("v2", place, force=True))
    assert forced.warnings == others
    assert forced.plan != plan.plan


async def test_with_force_it_is_done_and_takes_no_instance_over(world: World) -> None:
    place, _ = await without_url(world)
    await damaged(world, place, "v1")

    deploy_id = await world.deploy("v2", place, force=True)
    assert (await world.ended(deploy_id)).status is TaskState.COMPLETED
    gate = place.driver.hold("start")
    holding = await world.deploy("v3", place)
    await gate.reached.wait()
    with pytest.raises(ConflictError, match=holding):
        await world.deploy("v4", place, force=True)
    gate.open()
    await world.ended(holding)


async def test_a_retry_is_refused_as_a_deployment_is_and_takes_force_too(world: World) -> None:
    place, _ = await without_url(world)
    place.check.sick["v2"] = "database unreachable"
    task = (await world.deployed("v2", place)).deploy_id
    place.check.sick.clear()
    await damaged(world, place, "v1")
    before, new_id = await world.task_ids(), world.new_id()

    with pytest.raises(ConflictError, match=r"no way back.* with `force` it is carried out") as no:
        await asked(world, "retry_deployment", task, new_id)
    assert [one["instance_id"] for one in no.value.details] == [place.id]
    assert await world.task_ids() == before

    made = await asked(world, "retry_deployment", task, new_id, force=True)
    assert await asked(world, "retry_deployment", task, new_id, force=True) == made
    with pytest.raises(ConflictError, match="new_id"):
        await asked(world, "retry_deployment", task, new_id)
    assert (await world.ended(new_id)).status is TaskState.COMPLETED
    assert await place.runs() == "v2"


async def test_a_release_that_is_gone_from_the_disk_is_no_way_back_either(world: World) -> None:
    place, _ = await without_url(world)
    await place.agent.stop()
    path = release(place, "v1")
    path.rename(path.with_name(".aside"))
    await place.agent.start()
    await reason_told(world, place, "v1", "v1 is not on the host's disk")

    with pytest.raises(ConflictError, match="v1 is not on the host's disk"):
        await world.deploy("v2", place)


@pytest.mark.parametrize("how", ["it has a URL", "the same version", "nothing runs", "sound"])
async def test_where_nothing_is_lost_nothing_is_refused(world: World, how: str) -> None:
    if how == "it has a URL":
        place = await world.place("v1")
    else:
        place, _ = await without_url(world)
    if how != "sound":
        await damaged(world, place, "v1")
    if how == "nothing runs":
        place.driver.crash("exit status 1")
        await world.in_status(place, InstanceStatus.ERROR)
    version = "v1" if how == "the same version" else "v2"

    assert (await world.deployed(version, place)).status is TaskState.COMPLETED


async def test_the_same_version_again_mends_what_is_damaged(world: World) -> None:
    place, _ = await without_url(world)
    await damaged(world, place, "v1")
    await world.deployed("v1", place)
    assert (await ready(world, place, "v1")).source == "from_disk"
    assert (await world.deployed("v2", place)).status is TaskState.COMPLETED


async def test_a_first_deployment_has_no_way_back_to_lose(world: World) -> None:
    place = await world.place()
    assert (await world.deployed("v1", place)).status is TaskState.COMPLETED


async def test_an_equal_body_gets_the_first_answer_whatever_was_damaged_since(
    world: World,
) -> None:
    place, other = await world.places(2)
    other.check.sick["v2"] = "database unreachable"
    await world.deployed("v1", place)
    params = world.params("v2", place, other)
    first = await world.door.execute_deployment(params)
    await world.ended(params.deploy_id)
    await world.rolled_back("v1", place)
    await world.deployed("v3", place, other)
    await damaged(world, place, "v3")
    assert await world.door.execute_deployment(params) == first


async def test_force_makes_another_body_only_if_it_is_set(own: World) -> None:
    place = await own.place()
    body: dict[str, Any] = own.params("v1", place).model_dump(exclude_none=True)
    assert "force" not in body
    assert (await own.site.ask("POST", "/v1/deployment", body)).status == 200
    for force, status in ((False, 200), (True, 409)):
        again = await own.site.ask("POST", "/v1/deployment", {**body, "force": force})
        assert again.status == status, force
    await own.ended(body["deploy_id"])
