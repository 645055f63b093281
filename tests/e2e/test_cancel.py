"""Cancelling: what has not reached `stop` goes no further, and every receipt is true."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from protocol.errors import ConflictError
from protocol.states import Phase, Receipt, TaskState
from tests.e2e.conftest import System
from tests.parts.waiting import until


async def test_cancelling_while_the_agent_is_away_never_starts(system: System) -> None:
    agent = await system.agent("host-a", "instance-1")
    await system.deployed("v1", ["instance-1"])
    await agent.kill()
    await system.away("instance-1")
    task = await system.deploy("v2", ["instance-1"])
    waiting = await system.reached(task, Phase.WAITING)
    assert waiting.instances[0].reason.startswith("waiting for its agent to return; agent silent")

    result = await system.client.cancel_deployment(task)

    assert result.status is TaskState.CANCELLED, "all parts have ended: at once"
    seen = await system.client.get_deployment_status(task)
    assert seen.cancelled_at == result.cancelled_at
    assert seen.instances[0].receipt is Receipt.NEVER_STARTED
    with pytest.raises(ConflictError, match="has ended already: cancelled"):
        await system.client.cancel_deployment(task)

    await agent.start()
    after = await system.deployed("v3", ["instance-1"])
    assert after.status is TaskState.COMPLETED, after
    assert not [one for one in system.packages.requests if "v2" in one.name]
    history = (await system.client.get_instance_version_history("instance-1")).history
    assert [(row.version, row.status) for row in history] == [
        ("v3", "success"),
        ("v2", "cancelled"),
        ("v1", "success"),
    ]


async def test_cancelling_a_download_stops_before_the_switch(system: System) -> None:
    agent = await system.agent("host-a", "instance-1")
    await system.deployed("v1", ["instance-1"])
    serving, on_disk = agent.service_pids("instance-1"), agent.release_names("instance-1")
    gate = asyncio.Event()
    url = system.put("v2", ballast=bytes(1_000_000))
    system.packages.slow("user-service-v2.tar.gz", chunk=500, gate=gate)
    task = await system.deploy("v2", ["instance-1"], url=url)
    await until(lambda: agent.release_names("instance-1"), lambda names: names != on_disk)

    result = await system.client.cancel_deployment(task)

    assert result.status is TaskState.CANCELLED
    seen = await system.client.get_deployment_status(task)
    assert seen.instances[0].receipt is Receipt.STOPPED_BEFORE_SWITCH
    await until(lambda: agent.release_names("instance-1"), lambda names: names == on_disk)
    gate.set()
    assert agent.service_pids("instance-1") == serving
    assert await system.serving("instance-1") == "v1"


async def test_field_note_3_cancelling_interrupts_the_pause_between_attempts(
    system: System,
) -> None:
    await system.agent("host-a", "instance-1")
    url = system.put("v1")
    system.packages.fail("user-service-v1.tar.gz", 503, 503)
    task = await system.deploy("v1", ["instance-1"], url=url, retry_count=1)
    paused = await system.reached(task, Phase.RETRYING)
    assert "the server answered 503; next at " in paused.instances[0].reason

    result = await system.client.cancel_deployment(task)

    assert result.status is TaskState.CANCELLED
    seen = await system.client.get_deployment_status(task)
    assert (seen.instances[0].attempt, seen.instances[0].receipt) == (
        1,
        Receipt.STOPPED_BEFORE_SWITCH,
    )


async def test_cancelling_after_stop_lets_the_switch_finish_and_says_so(system: System) -> None:
    away = await system.agent("host-b", "away")
    await away.kill()
    await system.agent("host-a", "finishes", "put-back")
    await system.deployed("v1", ["finishes", "put-back"])
    well = system.folder / "well"
    url = system.put("v2", well_while=well)
    task = await system.deploy("v2", ["finishes", "put-back", "away"], url=url)

    async def both_check() -> bool:
        seen = await system.client.get_deployment_status(task)
        return [part.step for part in seen.instances[:2]] == ["check", "check"]

    await until(both_check)
    agent = system.agents["host-a"]
    result = await system.client.cancel_deployment(task)

    assert result.status is TaskState.IN_PROGRESS, "two parts have not ended"
    seen = await system.client.get_deployment_status(task)
    assert "a cancellation was asked for: it finishes or is put back" in seen.instances[0].reason
    assert seen.cancelled_at == result.cancelled_at
    assert seen.progress.cancelled == 1

    await until(lambda: system.serving("put-back"))
    (sick,) = agent.service_pids("put-back")
    os.kill(sick, signal.SIGKILL)
    well.touch()
    ended = await system.ended(task)

    assert ended.status is TaskState.CANCELLED, "it stopped one part at least"
    receipts = {part.instance_id: (part.phase, part.receipt) for part in ended.instances}
    assert receipts == {
        "finishes": (Phase.COMPLETED, Receipt.TOO_LATE),
        "put-back": (Phase.FAILED, Receipt.TOO_LATE),
        "away": (Phase.CANCELLED, Receipt.NEVER_STARTED),
    }
    assert await system.serving("finishes") == "v2"
    assert await system.serving("put-back") == "v1"
    with pytest.raises(ConflictError):
        await system.client.cancel_deployment(task)


async def test_an_unknown_receipt_is_corrected_when_the_agent_returns(system: System) -> None:
    agent = await system.agent("host-a", "instance-1")
    await system.deployed("v1", ["instance-1"])
    well = system.folder / "well"
    task = await system.deploy("v2", ["instance-1"], url=system.put("v2", well_while=well))
    await system.at_step(task, "check")
    await agent.kill()
    await system.away("instance-1")

    result = await system.client.cancel_deployment(task)

    assert result.status is TaskState.CANCELLED
    seen = await system.client.get_deployment_status(task)
    assert seen.instances[0].receipt is Receipt.UNKNOWN
    assert "not known until it returns" in seen.instances[0].reason

    well.touch()
    await agent.start()
    told = await until(
        lambda: system.client.get_deployment_status(task),
        lambda seen: seen.instances[0].receipt is not Receipt.UNKNOWN,
    )
    assert told.instances[0].receipt is Receipt.TOO_LATE
    assert told.instances[0].phase is Phase.COMPLETED
    assert told.status is TaskState.COMPLETED
    assert await system.serving("instance-1") == "v2"
