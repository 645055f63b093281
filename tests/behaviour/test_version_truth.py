"""Interface section 3, "Version truth"."""

from __future__ import annotations

import shutil

import pytest

from protocol.states import InstanceStatus, TaskState
from tests.behaviour.world import World, all_doors_at_once, part_of
from tests.parts.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_what_the_agent_reports_is_the_version(world: World) -> None:
    place = await world.place("v1")
    await place.agent.stop()
    shutil.rmtree(place.agent.root(place.id))
    (place.agent.state_dir / "journal" / f"{place.id}.json").unlink()
    await place.driver.stop()

    await place.agent.start()

    await until(lambda: world.row(place), lambda row: row.version == "")
    assert (await world.row(place)).status is InstanceStatus.STOPPED
    versions = await world.door.get_service_instance_versions(world.service, include_stopped=True)
    assert [row.version for row in versions.instances] == [""]
    assert [row.version for row in await world.history(place)] == ["v1"]


async def test_current_version_is_what_runs_until_the_new_one_is_healthy(world: World) -> None:
    place = await world.place("v1")
    gate = place.driver.hold("start")
    deploy_id = await world.deploy("v2", place)
    await gate.reached.wait()
    part = await world.part(deploy_id, place)
    assert (part.current_version, part.target_version) == ("v1", "v2")
    assert (await world.row(place)).version == "v1"

    gate.open()
    part = part_of(await world.ended(deploy_id), place)
    assert (part.current_version, part.target_version) == ("v2", "v2")
    assert (await world.row(place)).version == "v2"


async def test_after_a_failure_current_version_is_the_one_that_was_put_back(world: World) -> None:
    place = await world.place("v1")
    place.check.sick["v2"] = "database unreachable"
    status = await world.deployed("v2", place)
    part = part_of(status, place)
    assert status.status is TaskState.FAILED
    assert (part.current_version, part.target_version) == ("v1", "v2")
    versions = await world.door.get_service_instance_versions(world.service)
    assert versions.version_summary == {"v1": 1}


async def test_a_never_deployed_instance_is_stopped_and_has_no_version(world: World) -> None:
    place = await world.place()
    row = await world.row(place)
    assert (row.status, row.version) == (InstanceStatus.STOPPED, "")
    assert row.reason == "never deployed"

    versions = await world.door.get_service_instance_versions(world.service, include_stopped=True)
    (shown,) = versions.instances
    assert (shown.status, shown.version) == (InstanceStatus.STOPPED, "")
    assert versions.version_summary == {"": 1}


@all_doors_at_once
async def test_instance_rows_tell_host_id_connected_and_reason(world: World) -> None:
    here = await world.place("v1")
    gone = await world.place("v1")
    await world.away(gone)

    versions = await world.door.get_service_instance_versions(world.service)
    for rows in (
        {row.instance_id: row for row in versions.instances},
        {place.id: await world.row(place) for place in (here, gone)},
    ):
        assert rows[here.id].host_id == here.agent.host_id
        assert rows[gone.id].host_id == gone.agent.host_id
        assert (rows[here.id].connected, rows[gone.id].connected) == (True, False)
        assert rows[here.id].reason == ""
        assert "silent since" in rows[gone.id].reason
