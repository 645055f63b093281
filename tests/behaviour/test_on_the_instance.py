"""Interface section 3, "On the instance"."""

from __future__ import annotations

import asyncio

import pytest

from agent.ports import StepError
from protocol.states import InstanceStatus, Phase, TaskState
from tests.behaviour.world import World, all_doors_at_once, part_of
from tests.parts.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_the_package_is_prepared_while_the_old_version_runs(world: World) -> None:
    place = await world.place("v1")
    url, rest = world.put("v2"), asyncio.Event()
    world.site.packages.slow(world.name("v2"), chunk=10, gate=rest)
    deploy_id = await world.deploy("v2", place, package_url=url)
    await until(lambda: world.downloads("v2"))

    part = await world.in_phase(deploy_id, place, Phase.PREPARING)
    assert part.current_version == "v1"
    assert await place.runs() == "v1"

    rest.set()
    assert (await world.ended(deploy_id)).status is TaskState.COMPLETED


@all_doors_at_once
async def test_it_is_activated_only_when_the_coordinator_says_so(world: World) -> None:
    place = await world.place("v1")
    url, rest = world.put("v2"), asyncio.Event()
    world.site.packages.slow(world.name("v2"), chunk=10, gate=rest)
    deploy_id = await world.deploy("v2", place, package_url=url)
    await world.in_phase(deploy_id, place, Phase.PREPARING)
    await world.away(place)

    rest.set()
    await until(lambda: "v2" in place.agent.on_disk(place.id))
    assert await place.runs() == "v1"
    assert len(place.driver.starts) == 1, "something was stopped"
    assert "goes on when its agent returns" in (await world.part(deploy_id, place)).reason

    await place.agent.let_back()
    assert (await world.ended(deploy_id)).status is TaskState.COMPLETED
    assert await place.runs() == "v2"


async def test_nothing_is_stopped_on_a_host_that_would_start_no_release(world: World) -> None:
    place = await world.place("v1")
    place.driver.unstartable = StepError("unit user.service is masked")

    deploy_id = await world.deploy("v2", place, retry_count=0)
    ended = await world.ended(deploy_id)

    assert ended.status is TaskState.FAILED
    assert "stop: unit user.service is masked" in part_of(ended, place).error_message
    assert await place.runs() == "v1"
    assert len(place.driver.starts) == 1, "v1 was never stopped"


async def test_it_is_stopped_then_switched_then_started_then_checked(world: World) -> None:
    place = await world.place("v1")
    place.check.probed.clear()
    stopping, starting = place.driver.hold("stop"), place.driver.hold("start")
    deploy_id = await world.deploy("v2", place)

    await stopping.reached.wait()
    assert await place.runs() == "v1", "it still runs while it is asked to stop"
    stopping.open()

    await starting.reached.wait()
    assert not (await place.driver.state()).running
    assert place.current == "v2", "switched before it is started"
    assert place.check.probed == [], "checked before it was started"
    starting.open()

    assert (await world.ended(deploy_id)).status is TaskState.COMPLETED
    assert set(place.check.probed) == {"v2"}
    release, environment = place.driver.starts[-1]
    assert release.name.startswith("v2-")
    assert environment == {
        "FERRYMAN_SERVICE": world.service,
        "FERRYMAN_INSTANCE_ID": place.id,
        "FERRYMAN_VERSION": "v2",
        "PORT": "8080",
    }


async def test_if_anything_fails_from_stop_on_the_agent_puts_the_old_release_back_and_tells_both(
    world: World,
) -> None:
    stubborn, clumsy, sick = await world.places(3)
    await world.deployed("v1", stubborn, clumsy, sick)
    stubborn.driver.stubbornness.append(StepError("it won't stop"))
    clumsy.driver.refusals.append(StepError("no such command"))
    sick.check.sick["v2"] = "database unreachable"
    for place in (stubborn, clumsy, sick):
        place.check.probed.clear()

    status = await world.deployed("v2", stubborn, clumsy, sick)

    assert status.status is TaskState.FAILED
    failures = {
        stubborn: "stop: it won't stop",
        clumsy: "start: no such command",
        sick: "check: database unreachable",
    }
    for place, failure in failures.items():
        part = part_of(status, place)
        assert part.status is TaskState.FAILED
        assert part.error_message.startswith(failure)
        assert part.error_message.endswith("; v1 was put back")
        assert part.current_version == "v1"
        assert await place.runs() == "v1"
        assert place.check.probed[-1] == "v1", "the old one was not checked"
        assert (await world.row(place)).status is InstanceStatus.RUNNING


async def test_without_an_old_release_the_instance_is_left_stopped_and_clean(
    world: World,
) -> None:
    place = await world.place()
    place.check.sick["v1"] = "database unreachable"
    part = part_of(await world.deployed("v1", place), place)

    assert part.status is TaskState.FAILED
    assert "database unreachable" in part.error_message
    assert "left stopped and clean" in part.error_message
    assert part.current_version == ""
    assert not (await place.driver.state()).running
    assert place.current == ""
    await until(lambda: place.agent.on_disk(place.id) == set())
    row = await world.row(place)
    assert (row.status, row.version) == (InstanceStatus.STOPPED, "")

    place.check.sick.clear()
    assert (await world.deployed("v1", place)).status is TaskState.COMPLETED


async def test_if_putting_back_fails_too_it_is_in_error_and_both_releases_stay(
    world: World,
) -> None:
    place = await world.place("v1")
    place.check.sick.update({"v1": "cache unreachable", "v2": "database unreachable"})
    part = part_of(await world.deployed("v2", place, retry_count=5), place)

    assert (part.status, part.attempt) == (TaskState.FAILED, 1)
    assert "database unreachable" in part.error_message
    assert "putting back failed, too: cache unreachable" in part.error_message
    row = await world.in_status(place, InstanceStatus.ERROR)
    assert "putting back failed, too" in row.reason
    assert place.agent.on_disk(place.id) == {"v1", "v2"}


async def test_nothing_loops_then(world: World) -> None:
    place = await world.place("v1")
    place.check.sick.update({"v1": "cache unreachable", "v2": "database unreachable"})
    await world.deployed("v2", place, retry_count=5)
    starts = len(place.driver.starts)

    await place.agent.stop()
    await place.agent.start()
    await world.connected(place)

    assert (await world.in_status(place, InstanceStatus.ERROR)).connected
    assert len(place.driver.starts) == starts
    place.check.sick.clear()
    assert (await world.deployed("v3", place)).status is TaskState.COMPLETED
    assert (await world.in_status(place, InstanceStatus.RUNNING)).version == "v3"


async def test_what_fails_on_an_instance_in_error_puts_back_what_had_led_there_too(
    world: World,
) -> None:
    new, old = await world.places(2)
    await world.deployed("v1", old)
    new.driver.stubbornness.append(StepError("it won't stop"))
    old.driver.stubbornness.extend([None, StepError("it won't stop")])
    for place in (new, old):
        place.check.sick["v2"] = "database unreachable"
    await world.deployed("v2", new, old)
    for place in (new, old):
        await world.in_status(place, InstanceStatus.ERROR)
        assert await place.runs() == "v2", "it would not stop"
        place.check.sick.clear()
        place.driver.stubbornness.append(StepError("it still won't"))

    status = await world.deployed("v3", new, old)

    for place, version, back in (
        (new, "", "left stopped and clean"),
        (old, "v1", "v1 was put back"),
    ):
        part = part_of(status, place)
        assert part.error_message == f"stop: it still won't; {back}"
        assert (place.current, await place.runs()) == (version, version)
        assert (await world.row(place)).version == version
