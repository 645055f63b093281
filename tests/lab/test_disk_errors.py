"""The disk fails at every call that writes to it, once or from then on.

Whatever the error is, the old version serves on or the new one is whole; the reason is in
the answer; a failed fsync is a failed step. A disk that stays broken in the middle of a
switch may leave the instance in `error`, never in a state that nobody named.
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from protocol.states import InstanceStatus, Phase
from tests.lab.faults import Action, Calls
from tests.lab.scenarios import FAILED_UPGRADE, ROLLBACK, UPGRADE, Scenario, record, strike, warm_up
from tests.lab.tally import Tally
from tests.lab.victim import Victim

MAKING = Calls.OPEN | Calls.MKDIR | Calls.SYMLINK
"""Calls that need a free inode."""
WRITING = Calls.WRITE | Calls.SYNC | Calls.RENAME


@dataclass(frozen=True)
class Fault:
    """An error, where it comes, and at how many points of an upgrade at the least."""

    name: str
    error: int
    calls: Calls
    floor: int

    def __str__(self) -> str:
        return self.name


FAULTS = (
    Fault("no space", errno.ENOSPC, MAKING | Calls.LINK | WRITING, 72),
    Fault("no inodes", errno.ENOSPC, MAKING, 19),
    Fault("input output error", errno.EIO, WRITING, 50),
    Fault("read only", errno.EROFS, MAKING | Calls.LINK | WRITING | Calls.UNLINK, 77),
)


async def failing_at(
    victim: Victim, scenario: Scenario, fault: Fault, point: int, *, lasting: bool
) -> bool:
    """One run in which the disk fails at `point`; False if it did not come there."""
    ran = victim.running
    struck = await strike(
        victim,
        scenario,
        fault.calls,
        point,
        Action.FAIL,
        error=fault.error,
        lasting=lasting,
    )
    assert not struck.died, f"the agent ended at {struck.hit}\n{victim.said()}"
    part = await victim.ended(struck.attempt)
    row = await victim.shown()
    told = f"{fault} at {struck.hit}: {part.error_message!r}; {row.status}, {row.reason!r}"
    if part.phase is Phase.COMPLETED:
        victim.runs(struck.attempt.runs)
    else:
        assert part.phase is Phase.FAILED, told
        if struck.attempt.succeeds:
            assert named(fault, part.error_message), told
        victim.runs(ran)
    if row.status is InstanceStatus.ERROR:
        assert lasting, told
        assert row.reason, told
        await victim.restart()
        await victim.mend()
    else:
        assert row.status is InstanceStatus.RUNNING, told
        assert await victim.serves() == [], told
    return bool(struck.hit)


def named(fault: Fault, message: str) -> bool:
    words = {os.strerror(fault.error), os.strerror(fault.error).lower()}
    if fault.error == errno.ENOSPC:
        words.add("no space")
    return any(word in message for word in words)


@pytest.mark.sweep
@pytest.mark.timeout(600)
@pytest.mark.parametrize("lasting", [False, True], ids=["once", "from then on"])
@pytest.mark.parametrize("fault", FAULTS, ids=str)
async def test_disk_fails_at_every_call_of_an_upgrade(
    tmp_path: Path, library: Path, tally: Tally, fault: Fault, lasting: bool
) -> None:
    async with Victim.open(tmp_path, library) as victim:
        await warm_up(victim)
        points = await record(victim, UPGRADE, fault.calls)
        for at in range(points):
            with tally.trying():
                tally(points=await failing_at(victim, UPGRADE, fault, at + 1, lasting=lasting))
        await victim.restart()
        assert await victim.clean() == []
    assert tally.points >= fault.floor


@pytest.mark.sweep
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("scenario", "floor"),
    [
        pytest.param(FAILED_UPGRADE, 26, id=str(FAILED_UPGRADE)),
        pytest.param(ROLLBACK, 18, id=str(ROLLBACK)),
    ],
)
async def test_fsync_fails_once(
    tmp_path: Path, library: Path, tally: Tally, scenario: Scenario, floor: int
) -> None:
    fault = Fault("fsync fails", errno.EIO, Calls.SYNC, floor)
    async with Victim.open(tmp_path, library) as victim:
        await warm_up(victim)
        points = await record(victim, scenario, fault.calls)
        for at in range(points):
            with tally.trying():
                tally(points=await failing_at(victim, scenario, fault, at + 1, lasting=False))
    assert tally.points >= floor


@pytest.mark.sweep
@pytest.mark.timeout(600)
async def test_a_failed_fsync_is_a_failed_step(tmp_path: Path, library: Path, tally: Tally) -> None:
    """Only what comes after the end of the attempt was saved may fail without failing it."""
    outcomes = []
    async with Victim.open(tmp_path, library) as victim:
        await warm_up(victim)
        for point in range(await record(victim, UPGRADE, Calls.SYNC)):
            ran = victim.running
            struck = await strike(
                victim, UPGRADE, Calls.SYNC, point + 1, Action.FAIL, error=errno.EIO
            )
            part = await victim.ended(struck.attempt)
            victim.runs(struck.attempt.runs if part.phase is Phase.COMPLETED else ran)
            outcomes.append(part.phase)
            tally(points=1)
    assert len(outcomes) >= 25
    assert outcomes == sorted(outcomes, key=[Phase.FAILED, Phase.COMPLETED].index)
    assert outcomes.count(Phase.COMPLETED) <= 4, "the acknowledgement, and the host's past"
