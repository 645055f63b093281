"""An agent speaks for its own instances only: what a second host claims is refused and told."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import pytest

from coordinator.app import Coordinator
from coordinator.session import Session
from protocol.access import TokenParams
from protocol.errors import ConflictError, InvalidRequestError, NotFoundError
from protocol.messages import (
    Ack,
    Ended,
    Heartbeat,
    HeartbeatAck,
    Hello,
    InstanceRefused,
    InstanceState,
    Inventory,
    Report,
    Result,
    StateChanged,
    Step,
)
from protocol.models import DeployParams
from protocol.states import InstanceStatus
from tests.lab.model.coordinator import LIFE
from tests.parts.coming_in import Line, approved, dialled, serving
from tests.parts.local_agent import LocalAgent, LocalInstance
from tests.parts.waiting import until


class Town:
    """A coordinator and the hosts of a test."""

    def __init__(
        self, folder: Path, coordinator: Coordinator, url: str, stack: AsyncExitStack
    ) -> None:
        self.folder = folder
        self.coordinator = coordinator
        self.url = url
        self._stack = stack

    async def host(self, host_id: str, *instance_ids: str) -> LocalAgent:
        """A host with these instances, that starts."""
        made = await self.coordinator.create_token(TokenParams(role="join"))
        locals_ = [LocalInstance(name) for name in instance_ids]
        agent = LocalAgent(self.folder, host_id, locals_, url=self.url, join_token=made.secret)
        return await self._stack.enter_async_context(agent)

    async def owners(self) -> dict[str, str]:
        """The host of each instance."""
        found = (await self.coordinator.list_hosts()).hosts
        return {name: host.host_id for host in found for name in host.instances}

    async def owned(self, **expected: str) -> None:
        """Wait until instances belong to these hosts."""
        wanted = {name.replace("_", "-"): host for name, host in expected.items()}
        await until(self.owners, lambda seen: seen == wanted)

    async def reason(self, host_id: str) -> str:
        found = (await self.coordinator.list_hosts()).hosts
        return next((host.reason for host in found if host.host_id == host_id), "")


@pytest.fixture
async def town(tmp_path: Path) -> AsyncIterator[Town]:
    async with serving(tmp_path / "coordinator") as (coordinator, url), AsyncExitStack() as stack:
        yield Town(tmp_path, coordinator, url, stack)


def looks(instance_id: str, version: str = "v1") -> InstanceState:
    return InstanceState(
        instance_id=instance_id, service="web", status=InstanceStatus.RUNNING, version=version
    )


async def heard(line: Line) -> list[object]:
    """All that the coordinator has said up to now."""
    await line.say(Heartbeat(number=77))
    said: list[object] = []
    while (frame := await line.hears()) != HeartbeatAck(number=77):
        said.append(frame)
    return said


CLAIM = "claims i-1, which belongs to host-a"


async def test_a_second_host_is_refused_by_name_and_its_other_instances_work(
    town: Town, caplog: pytest.LogCaptureFixture
) -> None:
    await town.host("host-a", "i-1")
    await town.owned(i_1="host-a")
    await town.host("host-b", "i-1", "i-2")
    await town.owned(i_1="host-a", i_2="host-b")
    assert await until(partial(town.reason, "host-b")) == CLAIM
    assert await town.reason("host-a") == ""
    told = "the coordinator refuses instance i-1: it belongs to host host-a, until "
    await until(lambda: any(line.startswith(told) for line in caplog.messages))
    logged = [one for one in caplog.records if one.message.startswith("host host-b claims")]
    assert [one.levelno for one in logged] == [logging.ERROR]
    versions = await town.coordinator.get_service_instance_versions("user-service", True)
    assert {row.instance_id: row.host_id for row in versions.instances} == await town.owners()


async def test_after_its_release_the_next_host_that_brings_it_owns_it(town: Town) -> None:
    await town.host("host-a", "i-1")
    await town.owned(i_1="host-a")
    await town.host("host-b", "i-1")
    await until(partial(town.reason, "host-b"))

    released = await town.coordinator.release_instance("i-1")
    assert (released.host_id, released.service) == ("host-a", "user-service")
    await town.owned(i_1="host-b")
    assert await town.reason("host-b") == ""


async def test_a_release_waits_for_no_owner_that_is_gone(town: Town) -> None:
    old = await town.host("host-a", "i-1")
    await town.owned(i_1="host-a")
    await old.cut_off()
    await town.coordinator.release_instance("i-1")
    assert await town.owners() == {}
    with pytest.raises(NotFoundError, match="no agent ever reported i-1"):
        await town.coordinator.release_instance("i-1")
    await town.host("host-b", "i-1")
    await town.owned(i_1="host-b")
    await old.let_back()
    assert await until(partial(town.reason, "host-a")) == "claims i-1, which belongs to host-b"


async def test_an_instance_that_a_task_holds_is_not_released(town: Town) -> None:
    await town.host("host-a", "i-1")
    await town.owned(i_1="host-a")
    params = DeployParams(
        service="user-service",
        version="v1",
        instances=["i-1"],
        deploy_id="d-1",
        package_url="https://127.0.0.1:1/v1.tar.gz",
        retry_count=100,
    )
    await town.coordinator.execute_deployment(params)
    with pytest.raises(ConflictError, match="i-1 is held by d-1") as caught:
        await town.coordinator.release_instance("i-1")
    assert caught.value.details[0]["task_id"] == "d-1"
    assert await town.owners() == {"i-1": "host-a"}

    await town.coordinator.cancel_deployment("d-1")
    await until(
        lambda: town.coordinator.get_deployment_status("d-1"), lambda seen: seen.status.ended
    )
    await town.coordinator.release_instance("i-1")


async def test_nothing_that_a_claimant_says_counts(town: Town, tmp_path: Path) -> None:
    await town.host("host-a", "i-1")
    await town.owned(i_1="host-a")
    identity = await approved(town.coordinator, town.url, tmp_path / "thief", "thief")
    async with dialled(town.url, identity) as line:
        await line.greet("thief")
        await line.say(Inventory(instances=[looks("i-1", "v666")]))
        await line.say(StateChanged(instance=looks("i-1", "v667")))
        ended = Ended(result=Result.SUCCEEDED, step=Step.COMMIT)
        await line.say(
            Report(
                seq=1,
                task_id="d-1",
                instance_id="i-1",
                attempt=1,
                event=ended,
                instance=looks("i-1", "v668"),
            )
        )
        said = await heard(line)
        (refused,) = (one for one in said if isinstance(one, InstanceRefused))
        assert refused.instance_id == "i-1", "told once on a connection"
        assert "it belongs to host host-a, until `ferryman instance release i-1`" in refused.reason
        assert Ack(seq=1) in said, "or it would be told for ever"
    versions = await town.coordinator.get_service_instance_versions("user-service", True)
    assert [row.version for row in versions.instances] == [""]
    assert (await town.coordinator.get_instance_version_history("i-1")).total == 0


async def test_two_hosts_that_bring_an_instance_in_one_moment_do_not_share_it(
    town: Town, tmp_path: Path
) -> None:
    async with AsyncExitStack() as stack:
        lines = []
        for name in ("one", "two"):
            identity = await approved(town.coordinator, town.url, tmp_path / name, name)
            lines.append(await stack.enter_async_context(dialled(town.url, identity)))
            await lines[-1].greet(name)
        for line in lines:
            await line.say(Inventory(instances=[looks("i-1")]))
        for line in lines:
            await heard(line)
        owner = (await until(town.owners))["i-1"]
        loser = {"one": "two", "two": "one"}[owner]
        claim = f"claims i-1, which belongs to {owner}"
        assert await until(partial(town.reason, loser)) == claim


async def test_of_two_in_one_moment_the_first_one_owns_it(town: Town) -> None:
    reception = town.coordinator.reception
    sessions = [Session(name, "10.0.0.5", lambda why: None, LIFE) for name in ("one", "two")]
    for session in sessions:
        reception.greet(session, Hello(host_id=session.host_id, agent_version="1"))
    for session in sessions:
        reception.hear(session, Inventory(instances=[looks("i-1", session.host_id)]))
    await until(partial(town.reason, "two"))
    assert await town.owners() == {"i-1": "one"}
    versions = await town.coordinator.get_service_instance_versions("web")
    assert [row.version for row in versions.instances] == ["one"]


async def test_a_claim_that_is_given_up_is_shown_no_more(town: Town, tmp_path: Path) -> None:
    await town.host("host-a", "i-1")
    await town.owned(i_1="host-a")
    identity = await approved(town.coordinator, town.url, tmp_path / "host-b", "host-b")
    async with dialled(town.url, identity) as line:
        await line.greet("host-b")
        await line.say(Inventory(instances=[looks("i-1"), looks("i-2")]))
        assert await until(partial(town.reason, "host-b")) == CLAIM
        await line.say(Inventory(instances=[looks("i-2")]))
        await until(partial(town.reason, "host-b"), lambda reason: reason == "")
    await town.owned(i_1="host-a", i_2="host-b")


async def test_an_agent_of_an_older_minor_version_is_refused_and_hears_nothing_new(
    town: Town, tmp_path: Path
) -> None:
    await town.host("host-a", "i-1")
    await town.owned(i_1="host-a")
    identity = await approved(town.coordinator, town.url, tmp_path / "old", "old")
    async with dialled(town.url, identity) as line:
        await line.greet("old", minor=1)
        await line.say(Inventory(instances=[looks("i-1")]))
        assert await heard(line) == []
        assert await town.reason("old") == CLAIM


async def test_a_malformed_id_is_refused_by_name(town: Town) -> None:
    with pytest.raises(InvalidRequestError, match="instance_id: must be 1 to 128 of"):
        await town.coordinator.release_instance("a..b")
