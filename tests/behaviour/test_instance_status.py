"""Interface section 3, "Instance status"."""

from __future__ import annotations

import pytest

from agent.ports import StepError
from protocol.models import InstanceQueryParams
from protocol.states import InstanceStatus
from tests.behaviour.installation import HEARTBEAT
from tests.behaviour.world import World, all_doors_at_once

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_an_instance_is_running_stopped_or_in_error(world: World) -> None:
    running, stopped, broken = await world.places(3)
    await world.deployed("v1", running, broken)
    broken.driver.crash("killed by signal 9 (SIGKILL)")

    row = await world.in_status(broken, InstanceStatus.ERROR)
    assert row.reason == "not running: killed by signal 9 (SIGKILL)"
    assert row.connected
    assert row.version == "v1"
    assert (await world.row(running)).status is InstanceStatus.RUNNING
    assert (await world.row(stopped)).status is InstanceStatus.STOPPED


async def test_an_instance_that_its_host_cannot_look_at_is_in_error_until_it_can(
    world: World,
) -> None:
    place = await world.place("v1")
    place.driver.blind = StepError("systemd could not be asked")

    row = await world.in_status(place, InstanceStatus.ERROR)
    assert row.reason == "not known whether it runs: systemd could not be asked"
    assert row.connected

    place.driver.blind = None
    row = await world.in_status(place, InstanceStatus.RUNNING)
    assert (row.reason, row.version) == ("", "v1")


async def test_the_filters_take_each_of_the_three(world: World) -> None:
    running, stopped, broken = await world.places(3)
    await world.deployed("v1", running, broken)
    broken.driver.crash("killed by signal 9 (SIGKILL)")
    await world.in_status(broken, InstanceStatus.ERROR)

    for status, place in (("running", running), ("stopped", stopped), ("error", broken)):
        found = await world.door.get_service_instances(
            InstanceQueryParams.model_validate({"service_name": world.service, "status": status})
        )
        assert [row.instance_id for row in found.instances] == [place.id]
        assert found.total == 1
    found = await world.door.get_service_instances(
        InstanceQueryParams(service_name=world.service, version="v1", limit=1, offset=1)
    )
    assert [row.instance_id for row in found.instances] == [broken.id]
    assert (found.total, found.limit, found.offset) == (2, 1, 1)


@all_doors_at_once
async def test_an_instance_whose_agent_is_silent_for_three_heartbeats_is_in_error(
    world: World,
) -> None:
    place = await world.place("v1")
    await place.agent.cut_off()
    heard = (await world.row(place)).last_heartbeat

    row = await world.in_status(place, InstanceStatus.ERROR)

    assert not row.connected
    assert "agent not connected: silent since" in row.reason
    assert "it last said running" in row.reason
    assert row.version == "v1"
    assert row.last_heartbeat == heard
    health = await world.site.coordinator.get_system_health()
    assert (health.timestamp - heard).total_seconds() >= 3 * HEARTBEAT


@all_doors_at_once
async def test_it_gets_its_true_status_back_when_the_agent_returns(world: World) -> None:
    running, crashed, never = await world.places(3)
    await world.deployed("v1", running, crashed)
    await world.away(running)
    for place in (running, crashed, never):
        assert (await world.row(place)).status is InstanceStatus.ERROR
    crashed.driver.crash("exit status 3")

    await running.agent.let_back()
    await world.connected(running)

    assert (await world.in_status(crashed, InstanceStatus.ERROR)).reason.endswith("exit status 3")
    for place, status in ((running, InstanceStatus.RUNNING), (never, InstanceStatus.STOPPED)):
        row = await world.in_status(place, status)
        assert row.connected
        assert "silent" not in row.reason


@all_doors_at_once
async def test_without_include_stopped_only_stopped_instances_are_left_out(world: World) -> None:
    running, stopped, broken = await world.places(3)
    away = await world.place("v1")
    away_and_stopped = await world.place()
    await world.deployed("v1", running, broken)
    broken.driver.crash("exit status 3")
    await world.in_status(broken, InstanceStatus.ERROR)
    await world.away(away, away_and_stopped)
    ask = world.door.get_service_instance_versions

    shown = await ask(world.service)
    expected = {running.id, broken.id, away.id, away_and_stopped.id}
    assert {row.instance_id for row in shown.instances} == expected
    assert shown.total_instances == 4
    assert shown.version_summary == {"v1": 3, "": 1}

    everything = await ask(world.service, True)
    assert {row.instance_id for row in everything.instances} == expected | {stopped.id}
    assert everything.total_instances == 5
    assert everything.version_summary == {"v1": 3, "": 2}
