"""A task that ended in the middle: which versions run, and the commands that end it, pasted."""

from __future__ import annotations

import shlex

import pytest

from coordinator.cli import mixed
from protocol.states import Phase, TaskState
from tests.behaviour.world import Place, World

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def half_deployed(own: World) -> tuple[str, list[Place]]:
    """v2 on three of four instances, v1 on the other; nothing is wrong any more."""
    places = [await own.place() for _ in range(4)]
    await own.deployed("v1", *places)
    places[1].check.sick["v2"] = "it exited with status 3"
    status = await own.deployed("v2", *places)
    assert status.status is TaskState.FAILED
    assert status.versions == {"v2": 3, "v1": 1}
    places[1].check.sick.clear()
    return status.deploy_id, places


async def commands(own: World, task_id: str) -> tuple[str, str]:
    """The two commands that `ferryman status` shows."""
    said = await own.site.ferryman("status", task_id)
    assert said.code == 5
    first, *others = said.out.partition("  mixed versions: ")[2].splitlines()
    assert first == "3 instances run v2, 1 runs v1"
    new, onward, old, back = (line.strip() for line in others[-4:])
    assert (new, old) == ("all on v2:", "all on v1:")
    return onward, back


async def paste(own: World, command: str) -> None:
    ferryman, *arguments = shlex.split(command)
    assert ferryman == "ferryman"
    done = await own.site.ferryman(*arguments, "--wait")
    assert done.code == 0, done


async def test_the_first_command_brings_the_new_version_to_the_rest(own: World) -> None:
    task_id, places = await half_deployed(own)
    stranger = await own.place("v1")
    onward, _ = await commands(own, task_id)
    assert f"--instances {places[1].id}" in onward
    await paste(own, onward)
    assert [await place.runs() for place in places] == ["v2"] * 4
    assert await stranger.runs() == "v1"
    assert [len(place.driver.starts) for place in places] == [2, 4, 2, 2], "others were left alone"


async def test_the_second_command_takes_the_switched_ones_back(own: World) -> None:
    task_id, places = await half_deployed(own)
    _, back = await commands(own, task_id)
    await paste(own, back)
    assert [await place.runs() for place in places] == ["v1"] * 4
    assert [len(place.driver.starts) for place in places] == [3, 3, 3, 3], "others were left alone"


@pytest.mark.parametrize("way", [0, 1])
async def test_after_a_retry_that_failed_again_both_commands_still_end_it(
    own: World, way: int
) -> None:
    task_id, places = await half_deployed(own)
    places[1].check.sick["v2"] = "it exited with status 3"
    again = await own.site.coordinator.retry_deployment(task_id)
    assert (await own.ended(again.deploy_id)).status is TaskState.FAILED
    places[1].check.sick.clear()
    await paste(own, (await commands(own, task_id))[way])
    assert [await place.runs() for place in places] == ["v2" if way == 0 else "v1"] * 4


@pytest.mark.parametrize("way", [0, 1])
async def test_with_many_instances_the_commands_name_the_task(
    own: World, monkeypatch: pytest.MonkeyPatch, way: int
) -> None:
    task_id, places = await half_deployed(own)
    stranger = await own.place("v1")
    status = await own.door.get_deployment_status(task_id)
    monkeypatch.setattr(mixed, "MOST_NAMES", 0)
    lines = [line.strip() for line in mixed.mixed_versions(status)]
    command = lines[2 + 2 * way]
    assert command.endswith(f"--rest-of {task_id}")
    await paste(own, command)
    assert [await place.runs() for place in places] == ["v2" if way == 0 else "v1"] * 4
    assert await stranger.runs() == "v1"


async def test_after_a_cancellation_it_is_said_too(own: World) -> None:
    places = [await own.place("v1") for _ in range(2)]
    await places[1].agent.cut_off()
    task_id = await own.deploy("v2", *places)
    await own.in_phase(task_id, places[0], Phase.COMPLETED)
    await own.door.cancel_deployment(task_id)
    assert (await own.ended(task_id)).status is TaskState.CANCELLED
    said = await own.site.ferryman("status", task_id)
    assert said.code == 6
    assert "mixed versions: 1 instance runs v2, 1 runs v1" in said.out
    await places[1].agent.let_back()
