"""A host dies, or loses its power, at every call of the renewal of its certificate.

It comes back with the old pair of key and certificate or with the new one, whole, connects
by itself, and its service is not touched.
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

FLOOR = 6
"""The fewest points that a sweep may have tried."""


def pair(victim: Victim) -> bytes:
    return (victim.state_dir / "agent.pem").read_bytes()


async def renewed(victim: Victim) -> None:
    """Ask the host to renew, and wait until it has."""
    before = pair(victim)
    assert victim.coordinator.reception.renew(HOST)
    await until(lambda: pair(victim) != before, every=0.02)


async def struck_at(victim: Victim, point: int, action: Action) -> bool:
    """One renewal with a fault at `point`; False if it did not come there."""
    victim.faults.arm(Calls.MUTATING, point, action)
    hit = await hit_during(victim, action, renewed(victim))
    async with victim.in_time():
        if hit:
            await victim.start()
        await victim.connected()
        identity = Identity.load(victim.state_dir)
        assert identity is not None, hit
        assert identity.host_id == HOST
        identity.client_context()
        await left_alone(victim, hit)
    return bool(hit)


@pytest.mark.sweep
@pytest.mark.timeout(300)
@pytest.mark.parametrize("action", [Action.KILL, Action.POWER_CUT], ids=["killed", "power cut"])
async def test_certificate_renewal_struck_at_every_call(
    tmp_path: Path, library: Path, tally: Tally, action: Action
) -> None:
    async with in_service(tmp_path, library, action) as victim:
        victim.faults.arm(Calls.MUTATING)
        await renewed(victim)
        points = await settled(victim)
        for at in range(points):
            with tally.trying():
                tally(points=await struck_at(victim, at + 1, action))
    assert tally.points >= FLOOR
