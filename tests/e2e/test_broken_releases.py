"""A release that doesn't work: the old one serves again, and the cause is told."""

from __future__ import annotations

from protocol.models import DeployStatus
from protocol.states import InstanceStatus, Phase, TaskState
from tests.e2e.conftest import System
from tests.parts.packages import tar_gz


def cause_of(task: DeployStatus) -> str:
    """The error of a task's only part, which failed."""
    assert task.status is TaskState.FAILED, task
    (part,) = task.instances
    assert part.phase is Phase.FAILED
    return part.error_message


async def put_back(system: System, instance_id: str) -> None:
    """Hold the instance to what it was before: v1 serves, and nothing but v1 runs."""
    assert await system.serving(instance_id) == "v1"
    seen = await system.instance(instance_id)
    assert (seen.version, seen.status) == ("v1", InstanceStatus.RUNNING)
    agent = system.agents["host-a"]
    assert agent.current(instance_id) == "v1"
    assert len(agent.service_pids(instance_id)) == 1


async def test_three_ways_to_be_broken_and_the_old_version_serves_after_each(
    system: System,
) -> None:
    sick = system.http_instance("sick", check={"timeout": 4})
    missing = system.http_instance("missing")
    crashing = system.http_instance("crashing", check={"stable": 3})
    agent = await system.agent("host-a", sick, missing, crashing)
    names = ["sick", "missing", "crashing"]
    first = await system.deployed("v1", names)
    assert first.status is TaskState.COMPLETED, first

    without_command = system.packages.put("no-command.tar.gz", tar_gz({"README": b"nothing runs"}))
    tasks = {
        "sick": await system.deploy("v2", ["sick"], url=system.put("v2", healthy=False)),
        "missing": await system.deploy("v3", ["missing"], url=without_command),
        "crashing": await system.deploy("v4", ["crashing"], url=system.put("v4", crash_after=2.0)),
    }
    causes = {name: cause_of(await system.ended(task)) for name, task in tasks.items()}

    assert "check: " in causes["sick"]
    assert "answered 500; not healthy within 4 s" in causes["sick"]
    assert "start: " in causes["missing"]
    assert "bin/server" in causes["missing"]
    assert "exited with status 3" in causes["crashing"]
    assert "fatal: out of ideas" in causes["crashing"], "the last lines of its output"
    for name in names:
        assert causes[name].endswith("v1 was put back")
        await put_back(system, name)
        (history, *_) = (await system.client.get_instance_version_history(name)).history
        assert (history.status, history.reason) == ("failed", causes[name])
    assert agent.versions_on_disk("missing") == {"v1"}, "no attempt will want it again"


async def test_a_broken_release_is_tried_again_and_the_old_one_serves_between_the_attempts(
    system: System,
) -> None:
    await system.agent("host-a", "instance-1")
    await system.deployed("v1", ["instance-1"])

    broken = system.put("v2", crash_after=0.0)
    task = await system.deploy("v2", ["instance-1"], url=broken, retry_count=1)
    waiting = await system.reached(task, Phase.RETRYING)
    assert "attempt 1 of 2 failed: " in waiting.instances[0].reason
    assert await system.serving("instance-1") == "v1"

    ended = await system.ended(task)
    assert ended.instances[0].attempt == 2
    assert cause_of(ended).endswith("v1 was put back")
    fetched = [one for one in system.packages.requests if "v2" in one.name]
    assert len(fetched) == 1, "the second attempt takes the verified release on the disk"
    await put_back(system, "instance-1")


async def test_a_first_install_that_fails_leaves_nothing_behind(system: System) -> None:
    agent = await system.agent("host-a", "instance-1")

    broken = system.put("v1", crash_after=0.0)
    cause = cause_of(await system.deployed("v1", ["instance-1"], url=broken))

    assert cause.endswith("left stopped and clean")
    seen = await system.instance("instance-1")
    assert (seen.status, seen.version) == (InstanceStatus.STOPPED, "")
    assert not (agent.root("instance-1") / "current").is_symlink()
    assert agent.release_names("instance-1") == []
    assert agent.service_pids("instance-1") == []
    assert await system.serving("instance-1") == ""

    again = await system.deployed("v2", ["instance-1"])
    assert again.status is TaskState.COMPLETED, again
