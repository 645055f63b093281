"""Where a rollback takes its release from: the disk, the given URL, the history's URL."""

from __future__ import annotations

import shutil
from pathlib import Path

from protocol.errors import ConflictError
from protocol.models import BatchRollbackParams, InstanceRollbackParams, RollbackStatus
from protocol.states import TaskState
from tests.e2e.conftest import System
from tests.parts.daemons import AgentDaemon
from tests.parts.service import service_package


async def take_back(system: System, version: str, *instances: str, url: str = "") -> RollbackStatus:
    """Roll back and wait for the end."""
    params = BatchRollbackParams(
        service="user-service",
        target_version=version,
        instances=list(instances),
        package_url=url,
        timeout=60,
    )
    asked = await system.client.rollback_batch(params)
    return await system.rolled_back(asked.rollback_id)


def release_of(agent: AgentDaemon, instance_id: str, version: str) -> Path:
    (found,) = (agent.root(instance_id) / "releases").glob(f"{version}-*")
    return found


async def upgraded(system: System, *, keep_releases: int = 3) -> AgentDaemon:
    """An instance that went from v1 to v2."""
    agent = await system.agent("host-a", "instance-1", keep_releases=keep_releases)
    for version in ("v1", "v2"):
        done = await system.deployed(version, ["instance-1"])
        assert done.status is TaskState.COMPLETED, done
    return agent


async def test_from_disk_both_ways_with_the_package_server_stopped(system: System) -> None:
    agent = await upgraded(system)
    await system.packages.stop()
    asked = len(system.packages.requests)

    for version in ("v1", "v2"):
        params = InstanceRollbackParams(instance_id="instance-1", target_version=version)
        result = await system.client.rollback_instance(params)
        ended = await system.rolled_back(result.rollback_id)
        assert ended.status is TaskState.COMPLETED, ended
        assert ended.rollback_type == "single"
        assert ended.instances[0].target_version == version
        assert await system.serving("instance-1") == version

    assert len(system.packages.requests) == asked
    assert agent.versions_on_disk("instance-1") == {"v1", "v2"}
    history = (await system.client.get_instance_version_history("instance-1")).history
    assert history[0].deploy_id == result.rollback_id
    assert history[0].action == "rollback"


async def test_field_note_12_a_missing_release_is_noticed_before_anything_stops(
    system: System,
) -> None:
    agent = await upgraded(system)
    shutil.rmtree(release_of(agent, "instance-1", "v1"))
    serving = agent.service_pids("instance-1")
    system.packages.fail("user-service-v1.tar.gz", 404)

    ended = await take_back(system, "v1", "instance-1")

    assert ended.status is TaskState.FAILED
    assert "user-service-v1.tar.gz: the server answered 404" in ended.instances[0].error_message
    assert agent.service_pids("instance-1") == serving, "v2 was never stopped"
    assert await system.serving("instance-1") == "v2"


async def test_field_note_12_a_damaged_release_is_noticed_before_anything_stops(
    system: System,
) -> None:
    agent = await upgraded(system)
    (release_of(agent, "instance-1", "v1") / "VERSION").write_text("v1, but not as delivered")
    serving = agent.service_pids("instance-1")
    system.packages.fail("user-service-v1.tar.gz", 403)

    refused = await take_back(system, "v1", "instance-1")

    assert refused.status is TaskState.FAILED
    assert "on disk is damaged: VERSION" in refused.instances[0].error_message
    assert "the server answered 403" in refused.instances[0].error_message
    assert agent.service_pids("instance-1") == serving, "v2 was never stopped"

    fetched = await take_back(system, "v1", "instance-1")

    assert fetched.status is TaskState.COMPLETED, fetched
    assert await system.serving("instance-1") == "v1"
    assert (release_of(agent, "instance-1", "v1") / "VERSION").read_text() == "v1"


async def test_by_the_historys_url_where_the_release_was_pruned(system: System) -> None:
    agent = await upgraded(system, keep_releases=0)
    third = await system.deployed("v3", ["instance-1"])
    assert third.status is TaskState.COMPLETED, third
    assert agent.versions_on_disk("instance-1") == {"v2", "v3"}, "the last good one is kept"

    # The history's digest binds: other bytes under the same URL are not that version.
    name = "user-service-v1.tar.gz"
    system.packages.vary(name, [service_package("v1", ballast=b"swapped"), service_package("v1")])
    changed = await take_back(system, "v1", "instance-1")
    assert changed.status is TaskState.FAILED
    assert "package changed" in changed.instances[0].error_message
    assert await system.serving("instance-1") == "v3"

    ended = await take_back(system, "v1", "instance-1")
    assert ended.status is TaskState.COMPLETED, ended
    assert ended.digest == (await system.client.get_deployment_status("deploy-1")).digest
    assert await system.serving("instance-1") == "v1"


async def test_by_the_given_url_to_a_version_that_was_never_deployed_here(system: System) -> None:
    await upgraded(system)
    url = system.put("v0")

    ended = await take_back(system, "v0", "instance-1", url=url)

    assert ended.status is TaskState.COMPLETED, ended
    assert await system.serving("instance-1") == "v0"


async def test_refused_with_409_before_anything_starts(system: System) -> None:
    await system.agent("host-a", "instance-1", "instance-2", "instance-3")
    await system.deployed("v1", ["instance-1"])
    await system.deployed("v2", ["instance-1", "instance-2"])

    async def refused(version: str, *instances: str) -> ConflictError:
        try:
            ended = await take_back(system, version, *instances)
        except ConflictError as error:
            return error
        raise AssertionError(f"not refused: {ended}")

    runs = await refused("v2", "instance-1", "instance-2")
    assert runs.message == "instance-1, instance-2: already runs v2"
    assert [detail["instance_id"] for detail in runs.details] == ["instance-1", "instance-2"]
    assert {detail["version"] for detail in runs.details} == {"v2"}

    never = await refused("v1", "instance-2", "instance-3")
    assert never.message.startswith("instance-3: never ran user-service")

    sourceless = await refused("v9", "instance-1")
    assert sourceless.message.startswith("instance-1: has no release v9 on disk")
    assert "no package_url was given" in sourceless.message

    listed = await system.client.list_rollbacks()
    assert listed.total == 0, "what is refused is not stored"
