"""Equal failures are told as one cause, with whose fault it is."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from agent.ports import StepError
from protocol.access import TokenParams
from protocol.causes import FailureCause
from protocol.models import DeployStatus
from protocol.states import TaskState
from tests.behaviour.world import Place, World, all_doors_at_once

pytestmark = pytest.mark.asyncio(loop_scope="session")

UNWELL = "health check http://127.0.0.1:{port}/ok answered 500"


async def hosts(world: World, count: int, version: str = "v1") -> list[Place]:
    """So many instances, each on a host of its own, that run a version."""
    places = [await world.place() for _ in range(count)]
    await world.deployed(version, *places)
    return places


def the_cause(status: DeployStatus) -> FailureCause:
    assert status.status is TaskState.FAILED
    (cause,) = status.causes
    return cause


@all_doors_at_once
async def test_a_version_that_is_sick_everywhere_is_the_packages_fault(world: World) -> None:
    places = await hosts(world, 3)
    for number, place in enumerate(places):
        place.check.sick["v2"] = UNWELL.format(port=8000 + number)
    status = await world.deployed("v2", *places)

    cause = the_cause(status)
    assert (cause.fault, cause.count, cause.step) == ("package", 3, "check")
    assert (cause.http_status, cause.exit_status) == (500, None)
    assert cause.instances == [place.id for place in places]
    assert cause.message == status.instances[0].error_message
    assert cause.message.endswith("v1 was put back")
    assert status.versions == {"v1": 3}


@all_doors_at_once
async def test_a_masked_unit_is_the_hosts_fault(world: World) -> None:
    places = await hosts(world, 2)
    places[0].driver.unstartable = StepError("unit web.service is masked: `systemctl unmask` it")
    status = await world.deployed("v2", *places)

    cause = the_cause(status)
    assert (cause.fault, cause.step, cause.instances) == ("host", "stop", [places[0].id])
    assert status.versions == {"v1": 1, "v2": 1}


@all_doors_at_once
async def test_a_package_that_is_not_there_is_the_packages_fault(world: World) -> None:
    places = await hosts(world, 2)
    url = world.site.packages.url(f"{world.service}/nowhere")
    status = await world.deployed("v2", *places, package_url=f"{url}?signature=x")

    cause = the_cause(status)
    assert (cause.fault, cause.count, cause.http_status) == ("package", 2, 404)
    assert (cause.step, cause.why) == ("prepare", "there is none at its URL")
    assert status.package_url == f"{url}?…"


@all_doors_at_once
async def test_other_bytes_than_asked_for_are_the_packages_fault(world: World) -> None:
    places = await hosts(world, 1)
    cause = the_cause(await world.deployed("v2", *places, sha256="0" * 64))
    assert (cause.fault, cause.why) == ("package", "it is not what was asked for")


@all_doors_at_once
async def test_a_rollback_tells_its_causes_too(world: World) -> None:
    places = await hosts(world, 2)
    await world.deployed("v2", *places)
    for place in places:
        place.check.sick["v1"] = "it exited with status 3"
    status = await world.rolled_back("v1", *places)
    (cause,) = status.causes
    assert (cause.fault, cause.exit_status, cause.count) == ("package", 3, 2)
    assert status.versions == {"v2": 2}


async def task_events(own: World, deploy_id: str) -> list[dict[str, Any]]:
    """What the stream tells of a task that has ended."""
    made = await own.site.coordinator.create_token(TokenParams(role="viewer"))
    told: list[dict[str, Any]] = []
    async with own.site.events(made.secret, after=0) as stream, asyncio.timeout(60):
        while not told or not TaskState(told[-1]["status"]).ended:
            line = (await stream.content.readline()).decode()
            if line.startswith("data: "):
                data = json.loads(line.removeprefix("data: "))["data"]
                if data.get("task_id") == deploy_id and "progress" in data:
                    told.append(data)
    return told


async def test_the_event_of_a_tasks_end_tells_the_causes(own: World) -> None:
    places = await hosts(own, 2)
    for place in places:
        place.check.sick["v2"] = UNWELL.format(port=8080) + " x" * 2000
    status = await own.deployed("v2", *places)
    *before, last = await task_events(own, status.deploy_id)
    assert before
    assert all(event["causes"] == [] for event in before)
    (told,), (cause,) = last["causes"], status.causes
    assert told["message"] == cause.message[:1000]
    assert len(cause.message) > 1000
    assert {**told, "message": cause.message} == cause.model_dump()
