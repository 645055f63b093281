"""A host dies, or loses its power, at every call with which it keeps whom to believe.

It comes back believing the old authority or both, whole, connects by itself, is told again,
and its service is not touched. Then the rotation is aborted, and the same happens again.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.identity import Identity
from tests.lab.faults import Action, Calls
from tests.lab.scenarios import settled
from tests.lab.struck_host import hit_during, in_service, left_alone
from tests.lab.tally import Tally
from tests.lab.victim import HOST, Victim
from tests.parts.waiting import until

FLOOR = 8
"""The fewest points that a sweep may have tried: of believing both, and of forgetting one."""


def believed(victim: Victim) -> tuple[str, ...]:
    identity = Identity.load(victim.state_dir)
    assert identity is not None
    assert identity.host_id == HOST
    return identity.ca_digests


async def believes(victim: Victim, wanted: tuple[str, ...]) -> None:
    await until(lambda: believed(victim), lambda now: now == wanted, every=0.02)


async def step(victim: Victim) -> tuple[str, ...]:
    """Begin a rotation, or abort the one that was begun; what is to be believed then."""
    coordinator = victim.coordinator
    if len(coordinator.certificates.digests) == 1:
        await coordinator.begin_rotation()
    else:
        await coordinator.abort_rotation()
    return coordinator.certificates.digests


async def struck_at(victim: Victim, point: int, action: Action) -> bool:
    """One step with a fault at `point`; False if it did not come there."""
    before = believed(victim)
    victim.faults.arm(Calls.MUTATING, point, action)
    wanted = await step(victim)
    hit = await hit_during(victim, action, believes(victim, wanted))
    if hit:
        assert believed(victim) in (before, wanted), hit
    async with victim.in_time():
        if hit:
            await victim.start()
        await victim.connected()
        await believes(victim, wanted)
        await left_alone(victim, hit)
    return bool(hit)


@pytest.mark.sweep
@pytest.mark.timeout(300)
@pytest.mark.parametrize("action", [Action.KILL, Action.POWER_CUT], ids=["killed", "power cut"])
async def test_next_authority_struck_at_every_call(
    tmp_path: Path, library: Path, tally: Tally, action: Action
) -> None:
    async with in_service(tmp_path, library, action) as victim:
        victim.faults.arm(Calls.MUTATING)
        await believes(victim, await step(victim))
        points = await settled(victim)
        victim.faults.disarm()
        await believes(victim, await step(victim))
        for step_of_two in range(2 * points):
            with tally.trying():
                tally(points=await struck_at(victim, step_of_two // 2 + 1, action))
    assert tally.points >= FLOOR
