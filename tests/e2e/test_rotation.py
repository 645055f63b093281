"""The authority is rotated by the command line under real daemons that are killed meanwhile."""

from __future__ import annotations

import asyncio
import json

import pytest

from protocol.access import AuthorityStatus
from protocol.states import RotationPhase, TaskState
from tests.e2e.conftest import System
from tests.parts.command_line import Ended, piped
from tests.parts.daemons import BIN, CoordinatorDaemon
from tests.parts.run import run
from tests.parts.waiting import until

pytestmark = pytest.mark.sweep


class Rotating:
    """`ferryman authority`, asked with the ca.pem in the coordinator's folder."""

    def __init__(self, system: System) -> None:
        self.system = system

    async def __call__(self, *arguments: str) -> Ended:
        environment = self.system.coordinator.environment()
        return await asyncio.to_thread(piped, ("authority", *arguments), environment)

    async def status(self) -> AuthorityStatus:
        async with self.system.coordinator.client() as client:
            return await client.authority_status()

    async def ready(self) -> AuthorityStatus:
        """Wait until no host stands in the way."""
        return await until(self.status, lambda seen: not seen.unready)

    async def then_killed(self, step: str) -> None:
        """A step; the coordinator loses its life as soon as it has answered."""
        done = await self(step)
        assert done.code == 0, done
        await self.system.coordinator.kill()
        await self.system.coordinator.start()


async def test_with_a_coordinator_that_is_killed_after_every_step_and_an_agent_that_is_away(
    system: System,
) -> None:
    there = await system.agent("host-a", "stays")
    away = await system.agent("host-b", "leaves")
    rotating = Rotating(system)
    await system.deployed("v1", ["stays", "leaves"])
    first = await rotating.status()
    assert (first.phase, first.believing, first.certified) == (RotationPhase.NONE, 2, 2)

    slow = asyncio.Event()
    system.put("v2")
    system.packages.slow("user-service-v2.tar.gz", chunk=200, gate=slow)
    task = await system.deploy("v2", ["stays"], url=system.packages.url("user-service-v2.tar.gz"))
    await system.at_step(task, "prepare")

    await away.kill()
    await rotating.then_killed("begin")
    seen = await until(rotating.status, lambda seen: seen.believing == 1)
    assert seen.phase is RotationPhase.BEGUN
    assert [host.host_id for host in seen.unready] == ["host-b"]
    refused = await rotating("switch")
    assert refused.code == 7
    assert "1 of 2 hosts do not believe the next authority yet: host-b" in refused.err

    await away.start()
    await rotating.ready()
    await away.kill()
    await away.start()
    await rotating.then_killed("switch")
    seen = await rotating.ready()
    assert (seen.phase, seen.certified) == (RotationPhase.SWITCHED, 2)
    old_ca = system.coordinator.ca_file.read_bytes()

    bundle = await rotating("bundle")
    assert bundle.out.count("BEGIN CERTIFICATE") == 2
    (system.folder / "both.pem").write_text(bundle.out)
    await rotating.then_killed("finish")
    seen = await rotating.ready()
    assert (seen.phase, seen.certified, seen.next) == (RotationPhase.NONE, 2, None)
    assert seen.present.sha256 != first.present.sha256

    slow.set()
    with_both = {"FERRYMAN_CA_FILE": str(system.folder / "both.pem")}
    environment = {**system.coordinator.environment(), **with_both}
    shown = await asyncio.to_thread(piped, ("status", task, "--watch"), environment)
    assert shown.code == 0, shown
    (system.folder / "old.pem").write_bytes(old_ca)
    with_old = {**environment, "FERRYMAN_CA_FILE": str(system.folder / "old.pem")}
    refused = await asyncio.to_thread(piped, ("health",), with_old)
    assert (refused.code, "the certificate is not trusted" in refused.err) == (8, True)

    for agent in (there, away):
        await agent.kill()
        await agent.start()
    async with system.coordinator.client() as client:
        system.client = client
        ended = await system.deployed("v3", ["stays", "leaves"])
        assert ended.status is TaskState.COMPLETED, ended


async def test_what_is_printed_on_the_way(system: System) -> None:
    await system.agent("host-a", "instance-1")
    rotating = Rotating(system)
    begun = await rotating("begin")
    lines = [line.split("  ")[0] for line in begun.out.splitlines()]
    assert lines[:5] == ["phase", "present", "next", "believed by", "certified"]
    hint = "next: `ferryman authority switch` when all hosts believe it, or `abort`\n"
    assert begun.err == hint
    shown = json.loads((await rotating("status", "-o", "json")).out)
    assert shown["phase"] == "begun"
    again = await rotating("begin")
    told = "the rotation's phase is begun, and this needs none"
    assert (again.code, told in again.err) == (7, True)
    ended = await rotating("abort")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.splitlines()[0].split() == ["phase", "none"]
    assert (await rotating("finish", "--force")).code == 7


async def test_a_backup_from_before_the_switch_serves_hosts_that_have_finished(
    system: System,
) -> None:
    agent = await system.agent("host-a", "instance-1")
    rotating = Rotating(system)
    coordinator = system.coordinator
    assert (await rotating("begin")).code == 0
    await rotating.ready()
    saved = system.folder / "saved.backup"
    assert (await run(FERRYMAN_COORDINATOR, "backup", str(saved), *at(coordinator))).status == 0
    for step in ("switch", "finish"):
        assert (await rotating(step)).code == 0
        last = await rotating.ready()

    await coordinator.stop()
    assert (await run(FERRYMAN_COORDINATOR, "restore", str(saved), *at(coordinator))).status == 0
    await coordinator.start()
    assert (await rotating.status()).phase is RotationPhase.BEGUN
    await until(lambda: "is not the coordinator of this host" in agent.said())
    assert (await rotating("switch", "--force")).code == 0
    await rotating.ready()
    assert (await rotating("finish")).code == 0
    assert (await rotating.ready()).present == last.present


FERRYMAN_COORDINATOR = str(BIN / "ferryman-coordinator")


def at(coordinator: CoordinatorDaemon) -> tuple[str, str]:
    return "--data-dir", str(coordinator.data_dir)
