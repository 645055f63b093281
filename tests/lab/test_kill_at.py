"""An agent that is killed at a call: the shipped unit starts it again, and the truth is told.

Every point of every kind is swept elsewhere, without systemd; this is the whole of it.
"""

from __future__ import annotations

import pytest

from protocol.states import TaskState
from tests.lab.faults import Faults
from tests.lab.fleet import AGENT, fleet_on_hosts
from tests.lab.host import SystemdHost
from tests.lab.needs import need_hosts, need_programs
from tests.lab.tally import Tally
from tests.parts.waiting import until

pytestmark = [pytest.mark.lab, pytest.mark.sweep, pytest.mark.timeout(300)]

FEWEST_RENAMES = 6
"""Of a deployment to two instances: at least their journals, releases and links."""


async def point_hit(faults: Faults) -> str:
    """Wait until the point is hit; tells the call."""
    return await until(lambda: faults.hit)


async def restarts(host: SystemdHost) -> int:
    """How often systemd has started the agent again by itself since it was last told to."""
    shown = await host.run("systemctl", "show", "--property=NRestarts", "--value", AGENT)
    return int(shown.output)


async def test_an_agent_killed_at_a_rename_is_started_again_and_the_deployment_ends_true(
    tmp_path_factory: pytest.TempPathFactory, tally: Tally
) -> None:
    need_hosts()
    need_programs("cc")
    async with fleet_on_hosts(tmp_path_factory.mktemp("lab"), "a") as fleet:
        host = fleet.agents["a"]
        seen = await host.kill_at("rename", 0)
        await fleet.everywhere("v1")
        assert seen.count >= FEWEST_RENAMES

        points = [1, seen.count // 2, seen.count - 1]
        for number in points:
            before = {name: await fleet.intact(name) for name in fleet.instances}
            killed = await host.kill_at("rename", number)
            ended = await fleet.deployed(f"v1-{number}", fleet.instances)
            # The last renames may come after the end was told, and systemd's restart later still.
            assert (await point_hit(killed)).startswith(f"{number}: ")
            await until(lambda: restarts(host), lambda seen: seen != 0)
            for part in ended.instances:
                completed = part.status is TaskState.COMPLETED
                told = f"v1-{number}" if completed else before[part.instance_id]
                assert await fleet.intact(part.instance_id) == told
            assert await restarts(host) == 1
        tally(points=len(points))
