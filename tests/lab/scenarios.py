"""What is done to a host while it is killed, unplugged or starved: one deployment of each kind.

`strike` lets a scenario meet one fault at one point; how many points there are is found by
`record`, a run in which nothing happens.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass

from tests.lab.faults import Action, Calls
from tests.lab.victim import Attempt, Victim

Act = Callable[[Victim], Awaitable[Attempt]]

_NONE = Calls(0)
UNPACKING = frozenset({"mkdir bin", "open server", "write server", "link again", "symlink start"})
"""Calls by which the package's own files are made, in a process without rights."""


async def _nothing(_: Victim) -> None:
    """The host is as the scenario wants it."""


@dataclass(frozen=True)
class Scenario:
    """`act` begins it; `before` makes the host ready and is never struck.

    `floor` is the fewest points that a sweep of it may have tried. It makes calls of all
    mutating classes but those that it `lacks`.
    """

    name: str
    act: Act
    floor: int
    lacks: Calls = _NONE
    unpacks: bool = True
    keep_releases: int = 3
    before: Callable[[Victim], Awaitable[None]] = _nothing

    def __str__(self) -> str:
        return self.name


async def _upgrade(victim: Victim) -> Attempt:
    return await victim.upgrade()


async def _upgrade_that_fails(victim: Victim) -> Attempt:
    return await victim.upgrade(broken=True)


async def _roll_back(victim: Victim) -> Attempt:
    return await victim.roll_back()


async def _empty_instance(victim: Victim) -> None:
    await victim.begin_anew()


UPGRADE = Scenario("upgrade", _upgrade, floor=81, keep_releases=100)
FAILED_UPGRADE = Scenario("upgrade that puts itself back", _upgrade_that_fails, floor=94)
ROLLBACK = Scenario(
    "rollback from disk",
    _roll_back,
    floor=60,
    lacks=Calls.LINK,
    unpacks=False,
)
PRUNE = Scenario("upgrade that prunes", _upgrade, floor=97, keep_releases=1)
FIRST_INSTALL = Scenario(
    "first install", _upgrade, floor=81, lacks=Calls.KILL, before=_empty_instance
)
FAILED_FIRST_INSTALL = Scenario(
    "first install that fails",
    _upgrade_that_fails,
    floor=95,
    lacks=Calls.KILL,
    before=_empty_instance,
)
ALL = (UPGRADE, FAILED_UPGRADE, ROLLBACK, PRUNE, FIRST_INSTALL, FAILED_FIRST_INSTALL)


async def warm_up(victim: Victim) -> None:
    """Two versions, so that there is something to put back, and to go back to."""
    for _ in range(2):
        attempt = await victim.upgrade()
        await victim.at_rest(attempt)
        assert await victim.truth(attempt) == []


async def record(victim: Victim, scenario: Scenario, calls: Calls) -> int:
    """Run it undisturbed; return how many of these calls it makes."""
    await scenario.before(victim)
    victim.faults.arm(calls)
    attempt = await scenario.act(victim)
    await victim.at_rest(attempt)
    points = await settled(victim)
    victim.faults.disarm()
    assert await victim.truth(attempt) == []
    assert list(_not_seen(scenario, calls, set(victim.faults.seen()))) == []
    return points


def _not_seen(scenario: Scenario, calls: Calls, seen: set[str]) -> Iterator[str]:
    """What a recorded run must have counted and has not: or a sweep of it proves little."""
    made = {Calls.of(told) for told in seen}
    for one in calls & Calls.MUTATING & ~scenario.lacks:
        if one not in made:
            yield f"any {one.name}"
    for told in UNPACKING - seen:
        if scenario.unpacks and Calls.of(told) & calls:
            yield told


@dataclass(frozen=True)
class Struck:
    """A run that met its fault at the call `hit`; "" if it ended without coming there."""

    attempt: Attempt
    hit: str
    died: bool


async def strike(
    victim: Victim,
    scenario: Scenario,
    calls: Calls,
    point: int,
    action: Action,
    *,
    error: int = 0,
    lasting: bool = False,
) -> Struck:
    """Run it with one fault; back when the agent has died of it, or when all is at rest."""
    await scenario.before(victim)
    victim.faults.arm(calls, point, action, error=error, lasting=lasting)
    attempt = await scenario.act(victim)
    died = asyncio.create_task(victim.died())
    rests = asyncio.create_task(_rests(victim, attempt))
    await asyncio.wait([died, rests], return_when=asyncio.FIRST_COMPLETED)
    hit, gone = victim.faults.hit, died.done()
    if rests.done():
        rests.result()
        died.cancel()
    else:
        rests.cancel()
    victim.faults.disarm()
    return Struck(attempt, hit, gone)


async def _rests(victim: Victim, attempt: Attempt) -> None:
    await victim.ended(attempt)
    await settled(victim)


async def settled(victim: Victim) -> int:
    """Wait until no more calls are counted for a while; returns how many there were."""
    while True:
        before = victim.faults.count
        await asyncio.sleep(0.3)
        if victim.faults.count == before:
            return before
