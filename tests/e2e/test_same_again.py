"""The same deployment asked for again, and two tasks that want one instance."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from protocol.errors import ConflictError
from protocol.models import DeployParams
from protocol.states import InstanceStatus, TaskState
from tests.e2e.conftest import System
from tests.parts.waiting import until


async def test_field_note_6_the_same_id_is_replayed_or_refused_and_an_instance_has_one_task(
    system: System,
) -> None:
    await system.agent("host-a", "instance-1", "instance-2")
    gate = asyncio.Event()
    url = system.put("v1")
    system.packages.slow("user-service-v1.tar.gz", chunk=100, gate=gate)
    params = DeployParams(
        deploy_id="deploy-1",
        service="user-service",
        version="v1",
        instances=["instance-1"],
        package_url=url,
        timeout=60,
        retry_count=0,
    )
    other = params.model_copy(update={"version": "v2"})
    first = await system.client.execute_deployment(params)

    again = await system.client.execute_deployment(params)
    assert again == first
    with pytest.raises(ConflictError, match="deploy-1 exists already with other parameters"):
        await system.client.execute_deployment(other)
    with pytest.raises(ConflictError) as held:
        await system.deploy("v2", ["instance-2", "instance-1"], deploy_id="deploy-2")
    assert held.value.message == "instances: instance-1 is held by deploy-1"
    assert held.value.details == [{"instance_id": "instance-1", "task_id": "deploy-1"}]

    gate.set()
    ended = await system.ended("deploy-1")
    assert ended.status is TaskState.COMPLETED, ended
    await system.coordinator.kill()
    await system.coordinator.start()
    assert await system.client.execute_deployment(params) == first, "after its end, too"
    with pytest.raises(ConflictError):
        await system.client.execute_deployment(other)

    assert len(system.packages.requests) == 1, "it was started once"
    assert (await system.client.list_deployments()).total == 1, "what is refused is not stored"
    history = await system.client.get_instance_version_history("instance-1")
    assert history.total == 1


async def test_field_note_29_already_installed_is_an_outcome_of_its_own(system: System) -> None:
    agent = await system.agent("host-a", "instance-1")
    await system.deployed("v1", ["instance-1"])
    (serving,) = agent.service_pids("instance-1")

    again = await system.deployed("v1", ["instance-1"])

    assert again.status is TaskState.COMPLETED, again
    assert "already installed" in again.instances[0].reason
    assert agent.service_pids("instance-1") == [serving], "nothing was stopped"

    os.kill(serving, signal.SIGKILL)
    dead = await until(
        lambda: system.instance("instance-1"),
        lambda row: row.status is InstanceStatus.ERROR,
    )
    assert dead.reason.startswith("not running: killed by signal 9 (SIGKILL)")
    revived = await system.deployed("v1", ["instance-1"])
    assert revived.status is TaskState.COMPLETED, revived
    assert await system.serving("instance-1") == "v1", "what does not run is started"

    rebuilt = system.put("v1", ballast=b"the same version, built anew")
    renewed = await system.deployed("v1", ["instance-1"], url=rebuilt)
    assert renewed.status is TaskState.COMPLETED, renewed
    assert renewed.digest != again.digest
    current = (agent.root("instance-1") / "current").readlink().name
    assert current == f"v1-{renewed.digest[:12]}"
