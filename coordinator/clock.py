"""The coordinator's clock: seconds that only grow, and go on after a restart.

Rule: within one boot of the machine, time is `CLOCK_BOOTTIME`, which runs on while the
machine sleeps and which nobody can set; jumps of the wall clock change nothing. The wall
clock is asked for one thing only: how long the machine was off between two boots.
Saved deadlines stay true because the anchor, the saved relation of the clocks, is
in the same database. Nothing here measures an agent's time.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from coordinator.core.task import Moment
from coordinator.ports import Store

MAX_BRIDGE = 86_400.0
"""Seconds: the longest documented timeout. When so much has passed every deadline has,
so a wall clock that is wrong by years after a reboot does no more harm than that."""

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class Anchor:
    """One moment on all clocks: in which boot, its seconds, the wall time, steady seconds."""

    boot: str
    boottime: float
    wall: datetime
    steady: float


@dataclass(frozen=True, slots=True)
class Machine:
    """The clocks of the machine: the boot's id, its seconds, and the wall time."""

    boot: str
    boottime: Callable[[], float]
    wall: Callable[[], datetime]

    @classmethod
    def here(cls) -> Machine:
        """This machine. Raises OSError where the kernel has no boot id."""
        return cls(_BOOT_ID.read_text().strip(), _boottime, _wall)


def bridge(anchor: Anchor | None, boot: str, boottime: float, wall: datetime) -> float:
    """Steady seconds at the moment that `boot`, `boottime` and `wall` tell of.

    Without an anchor they begin at 0. In the anchor's own boot they are exact. In another
    boot they grew by as much as the wall clock did since the anchor, by no less than 0
    (it was set back) and no more than `MAX_BRIDGE`. They never fall below the anchor's.
    """
    if anchor is None:
        return 0.0
    if boot == anchor.boot:
        return anchor.steady + max(0.0, boottime - anchor.boottime)
    off = (wall - anchor.wall).total_seconds()
    return anchor.steady + min(max(0.0, off), MAX_BRIDGE)


class SteadyClock:
    """`ports.Clock` of this machine, continued from what the store has saved."""

    def __init__(self, anchor: Anchor, machine: Machine) -> None:
        """`anchor` must be of the machine's present boot."""
        self._anchor = anchor
        self._machine = machine

    @classmethod
    async def open(cls, store: Store, machine: Machine | None = None) -> SteadyClock:
        """Continue from the store's anchor and save a new one.

        Raises UnavailableError if the store can't work.
        """
        machine = machine or Machine.here()
        saved = await store.anchor()
        boottime, wall = machine.boottime(), machine.wall()
        steady = bridge(Anchor(*saved) if saved else None, machine.boot, boottime, wall)
        clock = cls(Anchor(machine.boot, boottime, wall, steady), machine)
        await clock.save(store)
        return clock

    def now(self) -> Moment:
        """The present moment: steady seconds that survive restarts, and the wall time."""
        wall = self._machine.wall()
        boottime = self._machine.boottime()
        return Moment(bridge(self._anchor, self._machine.boot, boottime, wall), wall)

    async def save(self, store: Store) -> None:
        """Save the anchor: now and then, and at the end, so that little is left to the wall clock.

        Raises UnavailableError if the store can't work.
        """
        boottime = self._machine.boottime()
        wall = self._machine.wall()
        steady = bridge(self._anchor, self._machine.boot, boottime, wall)
        await store.save_anchor(self._machine.boot, boottime, wall, steady)


def _boottime() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _wall() -> datetime:
    return datetime.now(UTC)
