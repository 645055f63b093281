"""1,000 agents lose their coordinator in one moment, and come back to the next one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lab.storm import join_all, killed_and_back
from tests.lab.tally import Tally
from tests.parts.daemons import CoordinatorDaemon
from tests.parts.in_memory import folder_in_memory

AGENTS = 1000
BACK_WITHIN = 30.0
MEMORY = 200_000_000

pytestmark = [pytest.mark.sweep, pytest.mark.alone]


@pytest.mark.timeout(300)
async def test_a_thousand_agents_return_to_a_killed_coordinator(
    tmp_path: Path, tally: Tally
) -> None:
    with folder_in_memory(tmp_path) as folder:
        coordinator = CoordinatorDaemon(tmp_path / "coordinator", heartbeat=10.0)
        await join_all(coordinator, folder, AGENTS)
        returned = await killed_and_back(coordinator, folder, AGENTS, jitter=True)
        control = await killed_and_back(coordinator, folder, AGENTS, jitter=False)
    print(f"\nwith jitter: {returned}\nwithout: {control}")
    assert returned.back - returned.killed < BACK_WITHIN
    assert len(returned.welcomes) == AGENTS
    assert not returned.errors
    assert not returned.complaints
    assert returned.memory < MEMORY
    assert returned.peak < control.peak / 2
    tally(points=AGENTS, lost=AGENTS - len(returned.welcomes), wrong=len(returned.errors))
