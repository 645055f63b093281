"""Interface section 3, "Same id again"."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from protocol.errors import ConflictError, NotFoundError
from protocol.models import DeployParams
from protocol.states import TaskState
from tests.behaviour.world import World

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_an_equal_body_returns_the_first_result_and_starts_nothing(world: World) -> None:
    place = await world.place()
    gate = place.driver.hold("start")
    params = world.params("v1", place)
    first = await world.door.execute_deployment(params)
    await gate.reached.wait()

    while_it_runs = await world.door.execute_deployment(params)
    gate.open()
    await world.ended(params.deploy_id)
    after_its_end = await world.door.execute_deployment(params)

    assert while_it_runs == first
    assert after_its_end == first
    assert world.downloads("v1") == 1
    assert len(place.driver.starts) == 1
    assert len(await world.history(place)) == 1


async def test_defaults_that_are_spelt_out_make_no_other_body(world: World) -> None:
    place = await world.place()
    fields: dict[str, Any] = {
        "service": world.service,
        "version": "v1",
        "instances": [place.id],
        "package_url": world.put("v1"),
        "deploy_id": world.new_id(),
    }
    first = await world.door.execute_deployment(DeployParams(**fields))
    spelt_out = DeployParams(**fields, timeout=300, retry_count=3)

    assert await world.door.execute_deployment(spelt_out) == first
    await world.ended(first.deploy_id)


async def test_the_same_id_at_the_same_moment_starts_once(world: World) -> None:
    place = await world.place()
    params = world.params("v1", place)
    results = await asyncio.gather(*(world.door.execute_deployment(params) for _ in range(5)))

    assert all(result == results[0] for result in results)
    assert (await world.ended(params.deploy_id)).status is TaskState.COMPLETED
    assert len(place.driver.starts) == 1


async def test_an_equal_body_is_answered_while_another_task_holds_its_instance(
    world: World,
) -> None:
    place = await world.place()
    params = world.params("v1", place)
    first = await world.door.execute_deployment(params)
    await world.ended(params.deploy_id)
    gate = place.driver.hold("start")
    other = await world.deploy("v2", place)
    await gate.reached.wait()

    assert await world.door.execute_deployment(params) == first

    gate.open()
    await world.ended(other)
    assert place.current == "v2"


async def test_another_body_is_a_conflict_and_changes_nothing(world: World) -> None:
    place, other = await world.places(2)
    params = world.params("v1", place)
    await world.door.execute_deployment(params)
    before = await world.ended(params.deploy_id)
    changes: list[dict[str, Any]] = [
        {"version": "v2"},
        {"package_url": world.put("v2")},
        {"instances": [other.id]},
        {"instances": [place.id, other.id]},
        {"timeout": 59},
        {"retry_count": 1},
        {"sha256": "0" * 64},
    ]
    for change in changes:
        another = DeployParams(**{**params.model_dump(), **change})
        with pytest.raises(ConflictError, match=params.deploy_id) as refused:
            await world.door.execute_deployment(another)
        assert refused.value.details[0]["field"] == "deploy_id", change

    assert await world.door.get_deployment_status(params.deploy_id) == before
    assert await world.task_ids() == {params.deploy_id}


async def test_a_rollbacks_id_is_no_free_deploy_id(world: World) -> None:
    place = await world.place("v1")
    await world.deployed("v2", place)
    rollback_id = (await world.rolled_back("v1", place)).rollback_id

    with pytest.raises(ConflictError, match=rollback_id):
        await world.deploy("v3", place, deploy_id=rollback_id)


async def test_a_refused_request_leaves_its_id_free(world: World) -> None:
    place = await world.place()
    deploy_id = world.new_id()
    with pytest.raises(NotFoundError):
        await world.deploy("v1", place, deploy_id=deploy_id, instances=["nobody"])

    status = await world.deployed("v1", place, deploy_id=deploy_id)
    assert status.status is TaskState.COMPLETED
