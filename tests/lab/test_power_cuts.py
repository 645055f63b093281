"""The power goes at every call by which the agent changes its host, one run for each.

The host's disk is an ext4 file system that is shut down in that very moment: what was not
synced is lost, as on a real machine. Within 10 s of the boot the deployment has ended as it
should have; nothing that was acknowledged is lost, and nothing is torn. Two controls must
fail, or all this proves nothing: a disk whose fsync does nothing, and a link that is
replaced in two steps.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lab import scenarios
from tests.lab.faults import Action, Calls
from tests.lab.needs import need_disks
from tests.lab.scenarios import Scenario, Struck, record, strike, warm_up
from tests.lab.tally import Tally
from tests.lab.victim import Victim
from tests.lab.volume import Volume

pytestmark = [pytest.mark.sweep, pytest.mark.timeout(900), pytest.mark.root]


@pytest.fixture
def disks() -> None:
    """For tests that mount disks of their own."""
    need_disks()


async def cut(victim: Victim, scenario: Scenario, point: int) -> Struck:
    """One run in which the power goes at `point`; back before anything is started again."""
    struck = await strike(victim, scenario, Calls.MUTATING, point, Action.POWER_CUT)
    if struck.hit:
        await victim.boot()
    return struck


async def lost(victim: Victim, struck: Struck) -> list[str]:
    """Start the host's agent, and tell what is not as it must be."""
    if struck.hit:
        return await victim.comes_back(struck.attempt)
    return await victim.truth(struck.attempt)


@pytest.mark.parametrize("scenario", scenarios.ALL, ids=str)
async def test_power_cut_at_every_call(
    tmp_path: Path, library: Path, disks: None, tally: Tally, scenario: Scenario
) -> None:
    async with (
        Volume(tmp_path) as volume,
        Victim.open(
            tmp_path, library, keep_releases=scenario.keep_releases, volume=volume
        ) as victim,
    ):
        await warm_up(victim)
        for point in range(await record(victim, scenario, Calls.MUTATING)):
            with tally.trying():
                struck = await cut(victim, scenario, point + 1)
                assert victim.torn() == "", f"cut at {struck.hit}"
                wrong = await lost(victim, struck)
                assert wrong == [], f"cut at {struck.hit}: {wrong}\n{victim.said()}"
                tally(points=bool(struck.hit))
    assert tally.points >= scenario.floor


async def test_without_fsync_something_is_lost(
    tmp_path: Path, library: Path, disks: None, tally: Tally
) -> None:
    """The control: each point on a host of its own, until one has lost something."""
    for tried in range(1, 17):
        folder = tmp_path / str(tried)
        folder.mkdir()
        async with (
            Volume(folder) as volume,
            Victim.open(folder, library, volume=volume) as victim,
        ):
            await warm_up(victim)
            victim.faults.break_promises(no_sync=True)
            points = await record(victim, scenarios.UPGRADE, Calls.MUTATING)
            struck = await cut(victim, scenarios.UPGRADE, points * (18 - tried) // 20)
            assert struck.hit
            try:
                found = victim.torn() or "; ".join(await lost(victim, struck))
            except (AssertionError, OSError) as error:
                found = str(error)
        if found:
            tally(points=tried, lost=1)
            return
    pytest.fail("nothing was lost without fsync: the power cuts prove nothing")


async def test_with_a_link_replaced_in_two_steps_it_leads_nowhere(
    tmp_path: Path, library: Path, disks: None, tally: Tally
) -> None:
    """The control: of all points of the switch, at least one leaves no `current`."""
    torn = 0
    async with (
        Volume(tmp_path) as volume,
        Victim.open(tmp_path, library, volume=volume) as victim,
    ):
        await warm_up(victim)
        victim.faults.break_promises(torn_links=True)
        points = await record(victim, scenarios.ROLLBACK, Calls.RENAME)
        for point in range(points):
            struck = await strike(
                victim, scenarios.ROLLBACK, Calls.RENAME, point + 1, Action.POWER_CUT
            )
            if struck.hit:
                await victim.boot()
            torn += bool(victim.torn())
            await lost(victim, struck)
    tally(points=points, wrong=torn)
    assert torn
