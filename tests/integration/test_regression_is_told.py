"""A host tells of a regression: from its connection to what people, and the next start, see."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from agent.identity import Identity
from coordinator.app import Coordinator
from protocol.messages import (
    Ack,
    Ended,
    Frame,
    InstanceState,
    Inventory,
    Prepare,
    Prepared,
    Regressed,
    Report,
    Result,
    Step,
    Taken,
)
from protocol.models import AssignmentStatus, DeployParams, DeployStatus
from protocol.states import InstanceStatus, Phase, TaskState
from protocol.strategy import Strategy
from tests.parts.coming_in import Line, approved, dialled, serving
from tests.parts.waiting import until

F = TypeVar("F", bound=Frame)

DIGEST = "ab" * 32
HEALTHY = Ended(result=Result.SUCCEEDED, step=Step.COMMIT, message="healthy", digest=DIGEST)
FELL_SICK = Regressed(message="health check answered 500", digest=DIGEST, after=5)
REASON = "healthy at first, then: health check answered 500"

STATE = InstanceState(
    instance_id="instance-1",
    service="user-service",
    status=InstanceStatus.RUNNING,
    version="v1",
    digest=DIGEST,
)


@dataclass
class Agent:
    """One host's connection, by hand."""

    line: Line
    seq: int = 0
    heard: list[Frame] = field(default_factory=list)

    async def tells(self, event: Taken | Prepared | Ended | Regressed) -> None:
        """Report it, and wait until that is acknowledged."""
        self.seq += 1
        report = Report(
            seq=self.seq,
            task_id="deploy-1",
            instance_id="instance-1",
            attempt=1,
            event=event,
            instance=STATE,
        )
        await self.line.say(report)
        assert (await self.hears(Ack)).seq == self.seq

    async def hears(self, kind: type[F]) -> F:
        """The next frame of this kind."""
        while True:
            frame = await self.line.hears()
            self.heard.append(frame)
            if isinstance(frame, kind):
                return frame


@asynccontextmanager
async def connected(url: str, identity: Identity) -> AsyncIterator[Agent]:
    async with dialled(url, identity) as line:
        await line.greet("host-a")
        await line.say(Inventory(instances=[STATE]))
        yield Agent(line)


async def completed(coordinator: Coordinator, agent: Agent) -> None:
    """Deploy to the host, which is healthy then."""
    await until(coordinator.list_services, lambda seen: seen.services)
    await coordinator.execute_deployment(
        DeployParams(
            deploy_id="deploy-1",
            service="user-service",
            version="v1",
            package_url="https://packages.example/v1.tar.gz",
            instances=["instance-1"],
            timeout=300,
            strategy=Strategy(guard=60),
        )
    )
    await agent.hears(Prepare)
    await agent.tells(Prepared(digest=DIGEST))
    await agent.tells(HEALTHY)
    assert (await coordinator.get_deployment_status("deploy-1")).status is TaskState.COMPLETED


def failed(status: DeployStatus) -> AssignmentStatus:
    """The assignment, which has regressed."""
    (part,) = status.instances
    assert (part.phase, part.error_message, part.reason) == (Phase.FAILED, REASON, REASON)
    assert status.status is TaskState.FAILED
    assert (status.progress.completed, status.progress.failed) == (0, 1)
    return part


async def then(coordinator: Coordinator, at: datetime) -> InstanceStatus:
    """How the instance did at a past moment, by the history."""
    found = await coordinator.get_service_instance_versions("user-service", True, at)
    (row,) = found.instances
    return row.status


async def test_it_fails_what_had_completed_for_everybody_and_for_good(tmp_path: Path) -> None:
    async with serving(tmp_path / "coordinator") as (coordinator, url):
        identity = await approved(coordinator, url, tmp_path / "host-a", "host-a")
        async with connected(url, identity) as agent:
            await completed(coordinator, agent)
            healthy = (await coordinator.get_system_health()).timestamp
            await agent.tells(FELL_SICK)
            sick = (await coordinator.get_system_health()).timestamp
            assert await then(coordinator, healthy) is InstanceStatus.RUNNING
            assert await then(coordinator, sick) is InstanceStatus.ERROR
            before = failed(await coordinator.get_deployment_status("deploy-1"))
            history = await coordinator.get_instance_version_history("instance-1")
            (row,) = history.history
            assert (row.version, row.status) == ("v1", "failed")
            (listed,) = (await coordinator.list_deployments()).deployments
            assert listed.status is TaskState.FAILED

    async with (
        serving(tmp_path / "coordinator") as (coordinator, url),
        connected(url, identity) as agent,
    ):
        await agent.tells(HEALTHY)
        await agent.tells(FELL_SICK)
        assert failed(await coordinator.get_deployment_status("deploy-1")) == before
        again = await coordinator.get_instance_version_history("instance-1")
        assert again == history
        assert await then(coordinator, healthy) is InstanceStatus.RUNNING
        assert await then(coordinator, sick) is InstanceStatus.ERROR
