"""An agent tells about how much room its instances' disks have, and not each byte of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from agent.journal import Record
from agent.observe import Observer
from agent.ports import StepError
from agent.releases import Releases
from tests.parts.local_agent import LocalInstance


class Disk(Releases):
    """A disk that has as much room as it is told to."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.free: int | None = 1000

    def free_bytes(self) -> int:
        if self.free is None:
            raise StepError("can't look at the free space: Input/output error")
        return self.free


def observed(folder: Path) -> tuple[Disk, Observer]:
    disk = Disk(folder)
    instance = LocalInstance("instance-1").under(folder, keep_releases=1)
    return disk, Observer(replace(instance, releases=disk))


def told(observer: Observer) -> int | None:
    return observer.last(Record("instance-1")).free_bytes


async def test_it_is_told_anew_when_it_has_changed_by_a_tenth(tmp_path: Path) -> None:
    disk, observer = observed(tmp_path)
    assert told(observer) is None
    for free, shown in [(1000, 1000), (901, 1000), (1100, 1000), (899, 899), (5000, 5000)]:
        disk.free = free
        await observer.look_at_the_disk()
        assert told(observer) == shown, free


async def test_a_full_disk_is_told_at_once(tmp_path: Path) -> None:
    disk, observer = observed(tmp_path)
    await observer.look_at_the_disk()
    disk.free = 0
    await observer.look_at_the_disk()
    assert told(observer) == 0
    disk.free = 1
    await observer.look_at_the_disk()
    assert told(observer) == 1


async def test_what_cannot_be_seen_is_not_told(tmp_path: Path) -> None:
    disk, observer = observed(tmp_path)
    await observer.look_at_the_disk()
    disk.free = None
    await observer.look_at_the_disk()
    assert told(observer) is None


async def test_a_real_disk_has_what_the_system_says(tmp_path: Path) -> None:
    instance = LocalInstance("instance-1").under(tmp_path, keep_releases=1)
    observer = Observer(instance)
    await observer.look_at_the_disk()
    free = told(observer)
    assert free is not None
    assert abs(free - instance.releases.free_bytes()) <= free / 2
