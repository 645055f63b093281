"""One real package through real processes: deploy, upgrade, break, put back, roll back."""

from __future__ import annotations

from protocol.models import BatchRollbackParams
from protocol.states import Phase, TaskState
from tests.e2e.conftest import System


async def test_deploy_upgrade_broken_release_and_back(system: System) -> None:
    quick = system.http_instance("instance-1", check={"timeout": 4})
    agent = await system.agent("host-a", quick)

    first = await system.deployed("v1", ["instance-1"])
    assert first.status is TaskState.COMPLETED, first
    assert first.instances[0].current_version == "v1"
    assert await system.serving("instance-1") == "v1"

    second = await system.deployed("v2", ["instance-1"])
    assert second.status is TaskState.COMPLETED, second
    assert await system.serving("instance-1") == "v2"

    broken = await system.deployed("v3", ["instance-1"], url=system.put("v3", healthy=False))
    assert broken.status is TaskState.FAILED
    (part,) = broken.instances
    assert part.phase is Phase.FAILED
    assert "answered 500" in part.error_message
    assert "v2 was put back" in part.error_message
    assert part.current_version == "v2"
    assert await system.serving("instance-1") == "v2"

    await system.packages.stop()
    back = await system.client.rollback_batch(
        BatchRollbackParams(service="user-service", target_version="v1", instances=["instance-1"])
    )
    ended = await system.rolled_back(back.rollback_id)
    assert ended.status is TaskState.COMPLETED, ended
    assert await system.serving("instance-1") == "v1"

    history = await system.client.get_instance_version_history("instance-1")
    assert [(row.version, row.action, row.status) for row in history.history] == [
        ("v1", "rollback", "success"),
        ("v3", "deploy", "failed"),
        ("v2", "deploy", "success"),
        ("v1", "deploy", "success"),
    ]
    assert (agent.root("instance-1") / "current").resolve().name.startswith("v1-")
