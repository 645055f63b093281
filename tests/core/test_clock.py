"""The steady clock: exact within a boot, bridged over a reboot, deaf to the wall clock."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.clock import MAX_BRIDGE, Anchor, Machine, SteadyClock, bridge
from coordinator.store import SqlStore

WALL = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
ANCHOR = Anchor("boot-1", boottime=1000.0, wall=WALL, steady=50_000.0)
walls = st.datetimes(datetime(1970, 1, 1), datetime(2999, 1, 1), timezones=st.just(UTC))


def after(seconds: float) -> datetime:
    return WALL + timedelta(seconds=seconds)


def test_time_begins_at_zero() -> None:
    assert bridge(None, "boot-1", 1234.5, WALL) == 0.0


@given(walls)
def test_field_note_31_within_a_boot_the_wall_clock_changes_nothing(wall: datetime) -> None:
    assert bridge(ANCHOR, "boot-1", 1030.5, wall) == 50_030.5


@pytest.mark.parametrize(
    ("wall", "passed"),
    [
        (after(90), 90.0),
        (after(0), 0.0),
        (after(-3600), 0.0),
        (datetime(1970, 1, 1, tzinfo=UTC), 0.0),
        (after(MAX_BRIDGE), MAX_BRIDGE),
        (datetime(2099, 1, 1, tzinfo=UTC), MAX_BRIDGE),
    ],
)
def test_over_a_reboot_the_wall_clock_tells_how_long_within_bounds(
    wall: datetime, passed: float
) -> None:
    assert bridge(ANCHOR, "boot-2", 3.0, wall) == ANCHOR.steady + passed


@given(st.sampled_from(["boot-1", "boot-2"]), st.floats(0, 1e9), walls)
def test_time_never_falls_below_the_anchor(boot: str, boottime: float, wall: datetime) -> None:
    assert bridge(ANCHOR, boot, boottime, wall) >= ANCHOR.steady


@dataclass
class Bench:
    """A machine whose clocks the test turns."""

    boot: str = "boot-1"
    boottime: float = 1000.0
    wall: datetime = WALL

    @property
    def machine(self) -> Machine:
        return Machine(self.boot, lambda: self.boottime, lambda: self.wall)

    def passes(self, seconds: float) -> None:
        self.boottime += seconds
        self.wall += timedelta(seconds=seconds)

    def reboots(self, seconds: float) -> None:
        self.boot += "+"
        self.boottime = 5.0
        self.wall += timedelta(seconds=seconds)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite+aiosqlite:///{tmp_path}/store.db"


async def test_a_restart_of_the_process_loses_nothing(url: str) -> None:
    bench = Bench()
    store = await SqlStore.open(url)
    clock = await SteadyClock.open(store, bench.machine)
    bench.passes(10)
    assert clock.now().steady == 10
    await store.close()

    bench.passes(100)
    bench.wall += timedelta(days=400)
    store = await SqlStore.open(url)
    clock = await SteadyClock.open(store, bench.machine)
    assert clock.now().steady == 110
    assert clock.now().wall == bench.wall
    await store.close()


async def test_a_reboot_is_bridged_from_the_last_save(url: str) -> None:
    bench = Bench()
    store = await SqlStore.open(url)
    clock = await SteadyClock.open(store, bench.machine)
    bench.wall -= timedelta(hours=3)
    bench.passes(60)
    await clock.save(store)
    bench.reboots(30)
    clock = await SteadyClock.open(store, bench.machine)
    assert clock.now().steady == 90
    bench.passes(5)
    assert clock.now().steady == 95
    bench.reboots(5)
    clock = await SteadyClock.open(store, bench.machine)
    assert clock.now().steady == 100
    await store.close()


async def test_the_clocks_of_this_machine_go_forward(url: str) -> None:
    store = await SqlStore.open(url)
    clock = await SteadyClock.open(store)
    before, middle = datetime.now(UTC), clock.now()
    assert before <= middle.wall <= datetime.now(UTC)
    assert middle.wall.tzinfo is UTC
    again = await SteadyClock.open(store)
    assert 0 <= middle.steady <= again.now().steady
    await store.close()
