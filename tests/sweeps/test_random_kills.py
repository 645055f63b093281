"""Daemons killed at moments that nobody chose: every deployment ends true all the same.

The moments are drawn from a seed, so that a failure can be looked for again with
`FERRYMAN_KILL_SEED`; the machine's own timing stays its own.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
from pathlib import Path

import pytest

from protocol.models import AssignmentStatus
from protocol.states import InstanceStatus, Phase, TaskState
from tests.e2e.conftest import System, running
from tests.parts.daemons import AgentDaemon, Daemon
from tests.parts.waiting import until

ROUNDS = 12
BROKEN = 0.4
"""The share of releases that crash at once."""

LONGEST_WAIT = 1.6
"""Seconds before a kill: as long as a whole deployment takes."""

NAMES = ["instance-1", "instance-2", "instance-3"]

pytestmark = pytest.mark.sweep


@pytest.mark.timeout(900)
async def test_every_deployment_ends_true(tmp_path: Path) -> None:
    draw = random.Random(int(os.environ.get("FERRYMAN_KILL_SEED", "1")))
    async with running(tmp_path) as system:
        agent = await system.agent("host-a", *NAMES, keep_releases=1)
        first = await system.deployed("v0", NAMES)
        assert first.status is TaskState.COMPLETED, first
        versions = dict.fromkeys(NAMES, "v0")
        for number in range(1, ROUNDS + 1):
            version, broken = f"v{number}", draw.random() < BROKEN
            url = system.put(version, crash_after=0.0 if broken else None)
            task = await system.deploy(version, NAMES, url=url, retry_count=draw.choice([0, 1]))
            for _ in range(draw.randint(1, 2)):
                await kill_and_start(system, agent, draw)
            for part in (await system.ended(task)).instances:
                assert part.phase is (Phase.FAILED if broken else Phase.COMPLETED), part
                if not broken:
                    versions[part.instance_id] = version
                await told_truly(system, agent, part, versions[part.instance_id])
        for daemon in (agent, system.coordinator):
            assert "Traceback" not in daemon.said()


async def kill_and_start(system: System, agent: AgentDaemon, draw: random.Random) -> None:
    both: list[Daemon] = [agent, system.coordinator]
    chosen = draw.choice([both[:1], both[1:], both])
    await asyncio.sleep(draw.random() * LONGEST_WAIT)
    for daemon in chosen:
        await daemon.kill()
    await asyncio.sleep(draw.random() * 0.5)
    for daemon in reversed(chosen):
        await daemon.start()


async def told_truly(
    system: System, agent: AgentDaemon, part: AssignmentStatus, version: str
) -> None:
    """Hold the host and the coordinator's picture of it to `version`, and to nothing else."""
    name = part.instance_id
    journal = agent.state_dir / "journal" / f"{name}.json"
    await until(lambda: not json.loads(journal.read_bytes())["unsent"])
    await until(lambda: agent.service_pids(name), lambda pids: len(pids) == 1)
    assert await until(lambda: system.serving(name)) == version, part
    assert agent.current(name) == version
    seen = await until(lambda: system.instance(name), lambda row: row.connected)
    assert (seen.version, seen.status) == (version, InstanceStatus.RUNNING)
    left = [one for one in agent.release_names(name) if "staging" in one or "replaced" in one]
    assert left == []
    assert len(agent.versions_on_disk(name)) <= 3, "current, last good, one kept for a retry"
