"""The reference's example (section 5), as a user would run it: docs/examples/complete_flow.py."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import pytest_asyncio

from agent.ports import StepError
from protocol.models import DeployParams
from protocol.states import TaskState
from tests.behaviour.conftest import IN_MEMORY
from tests.behaviour.installation import Site
from tests.parts.command_line import Ended
from tests.parts.local_agent import LocalAgent, LocalInstance
from tests.parts.packages import tar_gz
from tests.parts.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="session")

SCRIPT = Path(__file__).parent.parent.parent / "docs" / "examples" / "complete_flow.py"


@pytest_asyncio.fixture(loop_scope="session")
async def fleet() -> AsyncIterator[tuple[Site, LocalAgent]]:
    """The example's two instances, with v1.2.2 on them."""
    with TemporaryDirectory(prefix="ferryman-", dir=IN_MEMORY) as folder:
        async with AsyncExitStack() as stack:
            site = await stack.enter_async_context(Site.open(Path(folder)))
            instances = [LocalInstance("instance-1"), LocalInstance("instance-2")]
            agent = await stack.enter_async_context(site.agent(instances, keep_releases=3))
            for version in ("v1.2.2", "v1.2.3"):
                site.packages.put(f"{version}.tar.gz", tar_gz({"VERSION": version.encode()}))
            await until(site.coordinator.list_services, lambda found: found.total)
            await site.coordinator.execute_deployment(
                DeployParams(
                    service="user-service",
                    version="v1.2.2",
                    instances=["instance-1", "instance-2"],
                    package_url=site.packages.url("v1.2.2.tar.gz"),
                    deploy_id="deploy-12344",
                )
            )
            await until(
                lambda: site.coordinator.get_deployment_status("deploy-12344"),
                lambda status: status.status is TaskState.COMPLETED,
            )
            yield site, agent


async def run(site: Site, packages: str = "") -> Ended:
    """Run the script as a process that knows only the environment and where packages are."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(SCRIPT), site.packages.url(packages).rstrip("/")),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={"HOME": str(site.folder), **site.environment()},
    )
    out, err = await process.communicate()
    assert process.returncode is not None
    return Ended(process.returncode, out.decode(), err.decode())


async def test_a_good_release_is_deployed(fleet: tuple[Site, LocalAgent]) -> None:
    site, agent = fleet
    ended = await run(site)
    assert (ended.code, ended.err) == (0, "")
    lines = ended.out.splitlines()
    assert lines[0] == "deployment started: deploy-12345"
    assert lines[-1] == "completed: 2/2"
    assert [agent.current(f"instance-{n}") for n in (1, 2)] == ["v1.2.3", "v1.2.3"]

    refused = await run(site, "elsewhere")
    assert (refused.code, refused.out) == (1, "")
    assert refused.err.startswith("ConflictError: deploy_id: deploy-12345 exists already")


async def test_a_bad_release_is_rolled_back_everywhere(fleet: tuple[Site, LocalAgent]) -> None:
    site, agent = fleet
    agent.instances["instance-2"].driver.refusals.append(StepError("no such command"))
    ended = await run(site)
    assert (ended.code, ended.err) == (0, "")
    lines = ended.out.splitlines()
    assert "failed: 1/2" in lines
    assert any(
        line.startswith("instance-2: start: no such command; v1.2.2 was put back") for line in lines
    )
    assert lines[-1].startswith("rollback started: rollback-")
    rollback_id = lines[-1].split()[-1]
    await until(
        lambda: site.coordinator.get_rollback_status(rollback_id),
        lambda status: status.status is TaskState.COMPLETED,
    )
    assert [agent.current(f"instance-{n}") for n in (1, 2)] == ["v1.2.2", "v1.2.2"]
