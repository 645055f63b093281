"""Interface section 3, "Timeout and retries"."""

from __future__ import annotations

import asyncio
import itertools
import time

import pytest

from agent.ports import StepError
from coordinator.core.retries import pause_before
from protocol.models import DeployStatus
from protocol.states import InstanceStatus, Phase, TaskState
from tests.behaviour.world import Place, World, all_doors_at_once, part_of
from tests.parts.packages import tar_gz
from tests.parts.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="session")

NOBODY_LISTENS = "https://127.0.0.1:1/package.tar.gz"


def quick_id(world: World, place: Place, attempts: int = 2) -> str:
    """A task id whose jitter happens to give short pauses here before each attempt."""
    return next(
        name
        for name in (f"{world.new_id()}-{n}" for n in itertools.count())
        if all(
            pause_before(name, place.id, attempt) < 0.65 * 2 ** (attempt - 2)
            for attempt in range(2, attempts + 1)
        )
    )


@all_doors_at_once
async def test_the_timeout_bounds_the_whole_assignment_retries_included(world: World) -> None:
    place = await world.place("v1")
    began = time.monotonic()
    status = await world.deployed(
        "v2",
        place,
        package_url=NOBODY_LISTENS,
        timeout=2,
        retry_count=100,
        deploy_id=quick_id(world, place),
    )
    part = part_of(status, place)

    assert part.status is TaskState.FAILED
    assert 2 <= part.attempt < 10
    assert "can't connect" in part.error_message
    assert time.monotonic() - began < 60, "a hundred retries were not cut short"
    assert await place.runs() == "v1"


@all_doors_at_once
async def test_the_timeout_ends_an_attempt_that_hangs(world: World) -> None:
    place = await world.place("v1")
    url = world.put("v2")
    world.site.packages.slow(world.name("v2"), chunk=10, gate=asyncio.Event())

    part = part_of(await world.deployed("v2", place, package_url=url, timeout=1), place)

    assert part.status is TaskState.FAILED
    assert "timed out" in part.error_message
    assert await place.runs() == "v1"
    assert (await world.deployed("v3", place)).status is TaskState.COMPLETED


@all_doors_at_once
async def test_the_timeout_runs_while_the_agent_is_not_connected(world: World) -> None:
    place = await world.place("v1")
    url = world.put("v2")
    world.site.packages.slow(world.name("v2"), chunk=10, gate=asyncio.Event())
    deploy_id = await world.deploy("v2", place, package_url=url, timeout=1)
    await world.in_phase(deploy_id, place, Phase.PREPARING)
    await place.agent.cut_off()

    part = part_of(await world.ended(deploy_id), place)

    assert part.status is TaskState.FAILED
    assert "timed out after 1 s before the switch" in part.error_message
    await place.agent.let_back()
    await world.connected(place)
    await until(lambda: place.agent.on_disk(place.id) == {"v1"})
    assert await place.runs() == "v1"


@all_doors_at_once
async def test_the_timeout_begins_when_the_instances_turn_comes(world: World) -> None:
    place = await world.place("v1")
    gate = place.driver.hold("start")
    older = await world.deploy("v2", place)
    await gate.reached.wait()
    rollback_id = await world.roll_back("v1", place, force=True, timeout=1)
    accepted = time.monotonic()
    await until(lambda: time.monotonic() - accepted > 1.1)

    waiting = part_of(await world.door.get_rollback_status(rollback_id), place)
    assert waiting.phase is Phase.QUEUED
    assert waiting.deadline is None

    gate.open()
    assert (await world.rollback_ended(rollback_id)).status is TaskState.COMPLETED
    assert (await world.ended(older)).status is TaskState.COMPLETED


@pytest.mark.parametrize("status", [500, 503, 408, 429])
async def test_an_answer_that_may_pass_is_tried_again(own: World, status: int) -> None:
    place = await own.place("v1")
    url = own.put("v2")
    own.site.packages.fail(own.name("v2"), status)
    deploy_id = await own.deploy(
        "v2", place, package_url=url, retry_count=1, deploy_id=quick_id(own, place)
    )
    between = await own.in_phase(deploy_id, place, Phase.RETRYING)
    assert f"attempt 1 of 2 failed: {url}: the server answered {status}" in between.reason
    assert "next at" in between.reason

    part = part_of(await own.ended(deploy_id), place)
    assert (part.status, part.attempt) == (TaskState.COMPLETED, 2)
    assert await place.runs() == "v2"


@all_doors_at_once
async def test_network_start_and_health_failures_are_tried_again(world: World) -> None:
    offline, clumsy, sick = await world.places(3)
    await world.deployed("v1", offline, clumsy, sick)
    url = world.put("v2")
    clumsy.driver.refusals.append(StepError("no process came up", passing=True))
    sick.check.sick["v2"] = "database unreachable"
    urls = {offline.id: NOBODY_LISTENS, clumsy.id: url, sick.id: url}
    ids = {
        place.id: await world.deploy(
            "v2",
            place,
            package_url=urls[place.id],
            retry_count=1,
            deploy_id=quick_id(world, place),
        )
        for place in (offline, clumsy, sick)
    }
    await world.in_phase(ids[sick.id], sick, Phase.RETRYING)
    sick.check.sick.clear()

    ended = {name: (await world.ended(task)).instances[0] for name, task in ids.items()}

    assert [part.attempt for part in ended.values()] == [2, 2, 2]
    assert ended[offline.id].status is TaskState.FAILED
    assert "can't connect" in ended[offline.id].error_message
    assert ended[clumsy.id].status is TaskState.COMPLETED
    assert ended[sick.id].status is TaskState.COMPLETED


@all_doors_at_once
async def test_between_attempts_the_old_version_serves(world: World) -> None:
    place = await world.place("v1")
    place.check.sick["v2"] = "database unreachable"
    deploy_id = await world.deploy("v2", place, retry_count=1, deploy_id=quick_id(world, place))
    between = await world.in_phase(deploy_id, place, Phase.RETRYING)

    assert between.current_version == "v1"
    assert "v1 was put back" in between.reason
    assert await place.runs() == "v1"
    assert (await world.row(place)).status is InstanceStatus.RUNNING

    assert (await world.ended(deploy_id)).instances[0].attempt == 2
    assert await place.runs() == "v1"


@all_doors_at_once
async def test_the_pauses_grow(world: World) -> None:
    place = await world.place("v1")
    world.site.packages.fail(world.name("v2"), 500, 500)
    status = await world.deployed(
        "v2", place, retry_count=2, deploy_id=quick_id(world, place, attempts=3)
    )
    assert part_of(status, place).attempt == 3

    tries = [one.at for one in world.site.packages.requests if one.name == world.name("v2")]
    first, second = (later - earlier for earlier, later in itertools.pairwise(tries))
    assert first >= 0.5, "the first pause is 0.5 to 1.5 s"
    assert second >= 1.0, "the second is twice as long"


@all_doors_at_once
async def test_no_retry_is_one_attempt(world: World) -> None:
    place = await world.place("v1")
    world.site.packages.fail(world.name("v2"), 503)
    status = await world.deployed("v2", place, retry_count=0)
    part = part_of(status, place)
    assert (part.status, part.attempt) == (TaskState.FAILED, 1)
    assert world.downloads("v2") == 1


@all_doors_at_once
async def test_it_is_tried_so_many_times_and_no_more(world: World) -> None:
    place = await world.place("v1")
    world.site.packages.fail(world.name("v2"), 500, 500)
    status = await world.deployed("v2", place, retry_count=1, deploy_id=quick_id(world, place))
    part = part_of(status, place)
    assert (part.status, part.attempt) == (TaskState.FAILED, 2)
    assert world.downloads("v2") == 2
    assert await place.runs() == "v1"


@all_doors_at_once
async def test_what_cannot_pass_is_never_tried_again(world: World) -> None:
    packages = world.site.packages
    places = await world.places(7)
    await world.deployed("v1", *places)
    url = world.put("v2")
    hostile = packages.put(f"{world.service}/hostile.tar.gz", tar_gz({"../evil": b"x"}))
    no_archive = packages.put(f"{world.service}/garbage.tar.gz", b"no archive at all")
    huge = packages.put(f"{world.service}/huge.tar.gz", world.package("v2"))
    packages.promise(f"{world.service}/huge.tar.gz", 10**16)
    for code in (400, 403, 410):
        packages.put(f"{world.service}/{code}", b"")
        packages.fail(f"{world.service}/{code}", *([code] * 9))
    causes = [
        ({"package_url": packages.url(f"{world.service}/400")}, "the server answered 400"),
        ({"package_url": packages.url(f"{world.service}/403")}, "the server answered 403"),
        ({"package_url": packages.url(f"{world.service}/410")}, "the server answered 410"),
        ({"package_url": url, "sha256": "0" * 64}, "package changed"),
        ({"package_url": hostile}, ".."),
        ({"package_url": no_archive}, "archive"),
        ({"package_url": huge}, "no space"),
    ]
    ids = [
        await world.deploy("v2", place, retry_count=5, **options)
        for place, (options, _) in zip(places, causes, strict=True)
    ]
    ended: list[DeployStatus] = [await world.ended(deploy_id) for deploy_id in ids]

    for place, status, (_, reason) in zip(places, ended, causes, strict=True):
        part = part_of(status, place)
        assert (part.status, part.attempt) == (TaskState.FAILED, 1), part
        assert reason in part.error_message, part
        assert await place.runs() == "v1"
        assert len(place.driver.starts) == 1, "something was stopped"
