"""Agents as processes: without a token, with another's instance, revoked by the command line."""

from __future__ import annotations

import re

from coordinator.client import AsyncClient
from protocol.states import HostState
from tests.e2e.conftest import System
from tests.parts.daemons import BIN, AgentDaemon, connected
from tests.parts.run import Ended, run
from tests.parts.waiting import until


async def ferryman(system: System, *arguments: str) -> Ended:
    return await run(str(BIN / "ferryman"), *arguments, env=system.coordinator.environment())


async def state(client: AsyncClient, host_id: str) -> HostState | None:
    rows = (await client.list_hosts(limit=1000)).hosts
    return next((row.state for row in rows if row.host_id == host_id), None)


async def test_an_agent_without_a_token_is_approved_by_what_both_sides_print(
    system: System,
) -> None:
    agent = AgentDaemon(
        system.folder,
        "host-a",
        [system.http_instance("instance-1")],
        coordinator=system.coordinator.url,
        join_token="",
    )
    async with agent:
        await until(lambda: state(system.client, "host-a"))
        listed = (await ferryman(system, "host", "list", "--state", "pending")).out
        (key,) = re.findall(r"\b[0-9a-f]{64}\b", listed)
        assert f"its key has the SHA-256 {key}" in agent.said()
        (authority,) = re.findall(r"authority has the SHA-256 ([0-9a-f]{64}),", agent.said())
        assert f"the authority has the SHA-256 {authority}" in system.coordinator.said()
        assert not (agent.state_dir / "agent.pem").exists()

        approved = await ferryman(system, "host", "approve", "host-a", "--fingerprint", key)
        assert approved.status == 0, approved
        await connected(system.client, "instance-1")
        assert (agent.state_dir / "agent.pem").stat().st_mode & 0o777 == 0o600

        revoked = await ferryman(system, "host", "revoke", "host-a")
        assert re.search(r"state +revoked", revoked.out)
        await until(lambda: "host-a was revoked on" in agent.said(), within=5)
        assert await state(system.client, "host-a") is HostState.REVOKED


async def test_an_instance_moves_to_another_host_when_it_was_released(system: System) -> None:
    first = await system.agent("host-a", "instance-1")
    second = AgentDaemon(
        system.folder,
        "host-b",
        [system.http_instance("instance-1"), system.http_instance("instance-2")],
        coordinator=system.coordinator.url,
        join_token=await system.coordinator.join_token(),
    )
    async with second:
        await connected(system.client, "instance-2")
        await until(lambda: "the coordinator refuses instance instance-1" in second.said())
        assert "claims instance-1, which belongs to host-a" in (await ferryman(system, "hosts")).out
        await first.stop()
        released = await ferryman(system, "instance", "release", "instance-1")
        assert re.search(r"released by +host-a", released.out)
        await connected(system.client, "instance-1")
        rows = (await system.client.list_hosts()).hosts
        assert {row.host_id: row.instances for row in rows} == {
            "host-a": [],
            "host-b": ["instance-1", "instance-2"],
        }
