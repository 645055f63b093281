"""A coordinator that dies, loses power or finds its disk failing, at every commit and send.

It deploys to 20 instances on four hosts. No acknowledged task is lost, no assignment is
applied twice, every deadline is kept across the restart, every task ends as it should, and
the audit trail has one row of each in a whole chain.
"""

from __future__ import annotations

import asyncio
import errno
from pathlib import Path

import pytest

from protocol.models import DeployParams
from tests.lab.faults import Action, Calls
from tests.lab.mortal_coordinator import MortalCoordinator
from tests.lab.needs import need_disks
from tests.lab.tally import Tally
from tests.lab.volume import Volume
from tests.parts.waiting import until

WRITES = Calls.WRITE | Calls.SYNC
MAKING = Calls.OPEN | Calls.MKDIR
"""Calls that need a free inode."""
ONE = "instance-0-0"
POWER_CUTS = 50
FULL, BROKEN = "database or disk is full", "disk I/O error"
WORDS = {errno.ENOSPC: (FULL, BROKEN), errno.EIO: (BROKEN,), errno.EROFS: (BROKEN,)}
"""How SQLite names each error; a failed fsync is an input/output error to it, whatever it was."""

pytestmark = [pytest.mark.sweep, pytest.mark.timeout(900)]


async def record(center: MortalCoordinator, calls: Calls, *names: str) -> int:
    """Deploy undisturbed, to these or all; return how many of these calls that takes."""
    task = center.new_task(*names)
    center.faults.arm(calls)
    await center.insist(task)
    await center.hosts_are_done(task)
    points = center.faults.count
    center.faults.disarm()
    assert await center.wrong(task) == []
    return points


async def struck(center: MortalCoordinator, *tasks: DeployParams) -> str:
    """Wait until it has died of its fault, and tell of which; "" if all ended without it."""
    died = asyncio.create_task(center.died())
    done = asyncio.create_task(center.hosts_are_done(*tasks))
    await asyncio.wait([died, done], return_when=asyncio.FIRST_COMPLETED)
    hit = center.faults.hit
    center.faults.disarm()
    for waiting in (died, done):
        waiting.cancel()
    if hit:
        await center.died()
    return hit


async def killed_at(center: MortalCoordinator, calls: Calls, point: int) -> bool:
    """One deployment in which it dies at `point`; False if it did not come there."""
    task = center.new_task()
    center.faults.arm(calls, point, Action.KILL)
    acknowledged = await center.ask(task)
    hit = await struck(center, task)
    if hit:
        saved = center.deadlines()
        await center.start()
        assert not acknowledged or not await center.is_lost(task), f"killed at {hit}"
        kept = center.deadlines()
        assert saved.items() <= kept.items(), f"killed at {hit}"
    await center.insist(task)
    assert await center.wrong(task) == [], f"killed at {hit}\n{center.said()[-3000:]}"
    return bool(hit)


@pytest.mark.parametrize(
    ("calls", "floor"),
    [pytest.param(Calls.SYNC, 8, id="commit"), pytest.param(Calls.SEND, 30, id="send")],
)
async def test_coordinator_killed_at_every(
    tmp_path: Path, library: Path, tally: Tally, calls: Calls, floor: int
) -> None:
    async with MortalCoordinator.open(tmp_path, library) as center:
        for at in range(await record(center, calls)):
            with tally.trying():
                tally(points=await killed_at(center, calls, at + 1))
        assert center.is_sound()
    assert tally.points >= floor


async def test_fifty_power_cuts_of_the_database_under_load(
    tmp_path: Path, library: Path, tally: Tally
) -> None:
    need_disks()
    async with (
        Volume(tmp_path) as volume,
        MortalCoordinator.open(tmp_path, library, volume=volume) as center,
    ):
        points = await record(center, WRITES)
        for tried in range(2 * POWER_CUTS):
            with tally.trying():
                tally(points=await cut_under_load(center, 1 + 7 * tried % points))
            if tally.points == POWER_CUTS:
                break
        assert center.is_sound()
    assert tally.points == POWER_CUTS


async def cut_under_load(center: MortalCoordinator, point: int) -> bool:
    """Five deployments at once, each on its own instances, when the power goes."""
    names = list(center.instances)
    tasks = [center.new_task(*names[first::5]) for first in range(5)]
    center.faults.arm(WRITES, point, Action.POWER_CUT)
    acknowledged = await asyncio.gather(*(center.ask(task) for task in tasks))
    hit = await struck(center, *tasks)
    if hit:
        await center.boot()
        assert center.is_sound(), f"cut at {hit}"
        await center.start()
        for task, was_acknowledged in zip(tasks, acknowledged, strict=True):
            assert not was_acknowledged or not await center.is_lost(task), f"cut at {hit}"
    for task in tasks:
        await center.insist(task)
        assert await center.wrong(task) == [], f"cut at {hit}\n{center.said()[-3000:]}"
    return bool(hit)


@pytest.mark.parametrize("lasting", [False, True], ids=["once", "from then on"])
@pytest.mark.parametrize("error", WORDS, ids=errno.errorcode.__getitem__)
async def test_database_disk_fails_at_every_write(
    tmp_path: Path, library: Path, tally: Tally, error: int, lasting: bool
) -> None:
    """The coordinator refuses what it can't save, lives on, and ends everything once it can.

    One instance is enough: a deployment to more makes more writes, and no others. Each error
    strikes each write: every other one once, those between from then on.
    """
    async with MortalCoordinator.open(tmp_path, library, on_each=1) as center:
        points = await record(center, WRITES, ONE)
        for point in range(1 + lasting, points + 1, 2):
            with tally.trying():
                tally(points=await failing_at(center, point, error, lasting=lasting))
        assert center.is_sound()
        assert "Traceback" not in center.said()
    assert tally.points >= 45
    assert len(center.refusals) >= 2


async def failing_at(center: MortalCoordinator, point: int, error: int, *, lasting: bool) -> bool:
    """One deployment in which the disk fails at `point`; False if it did not come there."""
    task = center.new_task(ONE)
    center.faults.arm(WRITES, point, Action.FAIL, error=error, lasting=lasting)
    acknowledged = await center.ask(task)
    done = asyncio.create_task(center.hosts_are_done(task))
    failed = asyncio.create_task(until(lambda: center.faults.hit, every=0.02))
    await asyncio.wait([failed, done], return_when=asyncio.FIRST_COMPLETED)
    for waiting in (failed, done):
        waiting.cancel()
    was_hit = bool(center.faults.hit)
    hit = f"{errno.errorcode[error]} at {center.faults.hit}"
    center.faults.disarm()
    if not acknowledged:
        assert center.refusals[-1] in [f"database: {words}" for words in WORDS[error]], hit
    assert not acknowledged or not await center.is_lost(task), hit
    await center.insist(task)
    assert await center.wrong(task) == [], f"{hit}\n{center.said()[-3000:]}"
    return was_hit


async def test_database_has_no_inodes_left(tmp_path: Path, library: Path, tally: Tally) -> None:
    """A start needs some: it refuses and says why. Once there are, all is there."""
    async with MortalCoordinator.open(tmp_path, library, on_each=1) as center:
        task = center.new_task()
        await center.insist(task)
        await center.hosts_are_done(task)
        for point in range(1, await record_start(center) + 1):
            await center.kill()
            center.faults.arm(MAKING, point, Action.FAIL, error=errno.ENOSPC, lasting=True)
            refusal = await center.tries_to_start() or ""
            hit = center.faults.hit
            center.faults.disarm()
            assert says_why(refusal), f"{hit}: {refusal}"
            await center.kill()
            await center.start()
            assert await center.wrong(task) == [], hit
            tally(points=1)
        assert center.is_sound()
        assert "Traceback" not in center.said()
    assert tally.points >= 11


def says_why(refusal: str) -> bool:
    """Whether it is one line with the reason; SQLite tells what it could not do, not why."""
    part, _, reason = refusal.removeprefix("ferryman-coordinator: ").partition(": ")
    if part == "data_dir":
        return reason.endswith(": No space left on device\n")
    reasons = ("unable to open database file\n", "attempt to write a readonly database\n")
    return part == "database" and reason in reasons


async def record_start(center: MortalCoordinator) -> int:
    """Start it anew undisturbed; return how many inodes it wants."""
    await center.kill()
    center.faults.arm(MAKING)
    await center.start()
    points = center.faults.count
    center.faults.disarm()
    return points
