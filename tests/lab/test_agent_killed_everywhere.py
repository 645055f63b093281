"""SIGKILL at every call by which the agent changes its host, one run for each.

The points are found by a recorded run. Within 10 s of the restart the deployment has ended
as it should have; exactly one intact release runs (or, after a first installation that
fails, nothing is left), the end was reported once, and nothing else lies on the disk.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lab import scenarios
from tests.lab.faults import Action, Calls
from tests.lab.scenarios import Scenario, record, strike, warm_up
from tests.lab.tally import Tally
from tests.lab.victim import Victim


async def killed_at(victim: Victim, scenario: Scenario, point: int) -> bool:
    """One run that dies at `point`, and what follows; False if it did not come there."""
    struck = await strike(victim, scenario, Calls.MUTATING, point, Action.KILL)
    if struck.hit:
        await victim.died()
        assert victim.torn() == "", f"killed at {struck.hit}"
        wrong = await victim.comes_back(struck.attempt)
    else:
        wrong = await victim.truth(struck.attempt)
    assert wrong == [], f"killed at {struck.hit}: {wrong}\n{victim.said()}"
    return bool(struck.hit)


@pytest.mark.sweep
@pytest.mark.timeout(600)
@pytest.mark.parametrize("scenario", scenarios.ALL, ids=str)
async def test_agent_killed_at_every_call(
    tmp_path: Path, library: Path, tally: Tally, scenario: Scenario
) -> None:
    keep = scenario.keep_releases
    async with Victim.open(tmp_path, library, keep_releases=keep) as victim:
        await warm_up(victim)
        for at in range(await record(victim, scenario, Calls.MUTATING)):
            with tally.trying():
                tally(points=await killed_at(victim, scenario, at + 1))
    assert tally.points >= scenario.floor
