"""Retained releases are verified in the background: what is looked at, when, and at what cost."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest

from agent.download import PackageSource
from agent.journal import Known
from agent.upkeep import SHARE, Looks, Upkeep
from agent.verifier import InterruptedLookError
from agent.yielding import stand_back
from protocol.messages import Ended, RetainedRelease
from protocol.states import TaskKind
from tests.parts.one_worker import PACKAGES, OneWorker
from tests.parts.package_server import PackageServer
from tests.parts.packages import sha256
from tests.parts.waiting import until

ALWAYS_DUE = 0.001
ALL_TIME = 1.0


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[OneWorker]:
    async with PackageServer(tmp_path) as packages, PackageSource(packages.ca_file) as source:
        host = OneWorker(tmp_path, packages, source)
        yield host
        await host.worker.stop()


@asynccontextmanager
async def upkeep(
    *verifiers: Looks,
    interval: float = ALWAYS_DUE,
    share: float = ALL_TIME,
    drawn: float = 0.0,
) -> AsyncIterator[None]:
    running = Upkeep(verifiers, interval, share=share, draw=lambda: drawn)
    running.start()
    try:
        yield
    finally:
        await running.stop()


def file_of(host: OneWorker, version: str) -> Path:
    release = host.instance.releases.find(version)
    assert release is not None
    return release.path / "VERSION"


def told(host: OneWorker, version: str) -> RetainedRelease | None:
    """What the coordinator was told last of a release."""
    states = host.coordinator.states
    found = states[-1].retained if states else []
    return next((one for one in found if one.version == version), None)


async def damage_told(host: OneWorker, version: str) -> RetainedRelease:
    """Wait until the coordinator was told that a release is damaged."""
    await until(lambda: (one := told(host, version)) and one.damaged)
    seen = told(host, version)
    assert seen is not None
    return seen


def known(version: str) -> Known:
    return Known(version, sha256(PACKAGES[version]))


async def test_damage_of_each_retained_release_is_found_and_told(host: OneWorker) -> None:
    await host.install("deploy-1", "v1")
    await host.install("deploy-2", "v2")
    async with upkeep(host.worker.verifier):
        for version in ("v1", "v2"):
            file_of(host, version).write_text("something else")
            assert "VERSION" in (await damage_told(host, version)).damaged
    assert host.on_disk() == {"v1", "v2"}, "nothing is removed for it"


async def test_a_release_that_is_gone_is_told_as_damaged(host: OneWorker) -> None:
    await host.install("deploy-1", "v1")
    await host.install("deploy-2", "v2")
    await until(host.worker.verifier.at_rest)
    path = file_of(host, "v1").parent
    path.rename(path.with_name("elsewhere"))
    async with upkeep(host.worker.verifier):
        assert (await damage_told(host, "v1")).damaged == "it is no longer on disk"


async def test_what_was_fetched_ahead_of_time_is_looked_at_too(host: OneWorker) -> None:
    host.worker.handle(host.prepare("prefetch-1", "v1", kind=TaskKind.PREFETCH))
    await until(lambda: host.coordinator.said("prefetch-1", Ended))
    file_of(host, "v1").write_text("something else")
    async with upkeep(host.worker.verifier):
        await until(lambda: any(one.damaged for one in host.worker.state.fetched))
    assert host.on_disk() == {"v1"}


async def test_a_proof_becomes_young_again(host: OneWorker) -> None:
    await host.install("deploy-1", "v1")
    await until(lambda: age(host) > 0.3)
    async with upkeep(host.worker.verifier):
        await until(lambda: age(host) < 0.3)


def age(host: OneWorker) -> float:
    (one,) = host.worker.state.retained
    assert one.proven_ago is not None
    return one.proven_ago


async def test_nothing_is_told_while_only_time_passes(host: OneWorker) -> None:
    await host.install("deploy-1", "v1")
    await host.worker.look()
    before, count = host.worker.state, len(host.coordinator.states)
    await until(lambda: host.worker.state != before)
    await host.worker.look()
    assert len(host.coordinator.states) == count


async def test_the_release_on_disk_that_is_pruned_last_is_a_sound_one(host: OneWorker) -> None:
    """The host keeps one release besides the running one."""
    await host.install("deploy-1", "v1")
    await host.install("deploy-2", "v2")
    file_of(host, "v2").write_text("something else")
    async with upkeep(host.worker.verifier):
        await damage_told(host, "v2")

    await host.install("deploy-3", "v3")
    await until(host.worker.verifier.at_rest)
    assert host.on_disk() == {"v1", "v2", "v3"}, "the damaged one is no way back"

    await host.install("deploy-4", "v4")
    await until(host.worker.verifier.at_rest)
    assert host.on_disk() == {"v3", "v4"}


# ---- assignments come first --------------------------------------------------------


async def test_nothing_is_looked_at_while_an_assignment_is_at_work(host: OneWorker) -> None:
    await host.install("deploy-1", "v1")
    gate = host.local.driver.hold("start")
    second = asyncio.create_task(host.install("deploy-2", "v2"))
    await gate.reached.wait()
    file_of(host, "v1").write_text("something else")
    other = Imagined(*((f"other-{n}", 100.0) for n in range(9)))
    async with upkeep(host.worker.verifier, other):
        await until(lambda: len(other.looked) > 3)
        assert told(host, "v1") is None

        gate.open()
        await second
        await damage_told(host, "v1")


async def test_a_look_ends_at_the_next_piece_once_an_assignment_begins(host: OneWorker) -> None:
    await host.install("deploy-1", "v1")
    file_of(host, "v1").write_text("something else")
    host.worker.handle(host.prepare("deploy-2", "v2"))
    with pytest.raises(InterruptedLookError):
        host.worker.verifier.look(known("v1"), lambda: False)
    assert told(host, "v1") is None
    finding = host.instance.releases.finding("v1", known("v1").digest)
    assert finding is not None
    assert finding.damaged == ""


async def test_an_agent_that_ends_waits_for_no_look(host: OneWorker) -> None:
    await host.install("deploy-1", "v1")
    with pytest.raises(InterruptedLookError):
        host.worker.verifier.look(known("v1"), lambda: True)


# ---- when and how much -------------------------------------------------------------


class Imagined:
    """An instance whose releases were looked at so many seconds ago; each look costs CPU."""

    def __init__(self, *ages: tuple[str, float], cost: float = 0.0) -> None:
        self.ages = dict(ages)
        self.cost = cost
        self.looked: list[str] = []
        self.told = 0
        self.spent = 0.0
        self.threads: set[int] = set()
        self.interrupted = False

    def at_rest(self) -> bool:
        return True

    def oldest(self) -> tuple[float, Known] | None:
        found = [(age, Known(version, "ab" * 32)) for version, age in self.ages.items()]
        return max(found, key=lambda pair: pair[0], default=None)

    def look(self, known: Known, stopped: Callable[[], bool]) -> None:
        self.looked.append(known.version)
        self.threads.add(threading.get_native_id())
        if self.interrupted:
            raise InterruptedLookError
        began = time.thread_time()
        while time.thread_time() - began < self.cost:
            pass
        self.spent += time.thread_time() - began
        self.ages[known.version] = 0.0

    def tell(self) -> None:
        self.told += 1


async def test_the_one_that_waited_longest_comes_first_and_each_once(host: OneWorker) -> None:
    one = Imagined(("a", 90.0), ("b", 300.0), ("c", float("inf")))
    two = Imagined(("d", 200.0), ("young", 10.0))
    order: list[str] = []
    one.looked = two.looked = order
    async with upkeep(one, two, interval=60.0):
        await until(lambda: one.told + two.told == 4)
    assert order == ["c", "b", "d", "a"], "and `young` is not due"


async def test_a_host_begins_within_the_last_quarter_of_the_interval() -> None:
    for drawn, due in ((0.0, 100.0), (0.999, 75.1)):
        early, late = Imagined(("early", due - 1)), Imagined(("late", due + 1))
        async with upkeep(early, late, interval=100.0, drawn=drawn):
            await until(partial(getattr, late, "told"))
        assert early.told == 0


async def test_what_is_interrupted_tells_nothing() -> None:
    one = Imagined(("a", 100.0))
    one.interrupted = True
    async with upkeep(one):
        await until(lambda: one.looked)
    assert (one.looked, one.told) == (["a"], 0)


async def test_it_rests_so_long_that_its_share_of_a_core_is_kept() -> None:
    share = 0.2
    one = Imagined(*((f"v{n}", 100.0) for n in range(1000)), cost=0.01)
    began = time.monotonic()
    async with upkeep(one, share=share):
        await until(lambda: one.told >= 10)
    lasted = time.monotonic() - began
    assert one.spent <= share * lasted + 2 * one.cost
    assert SHARE <= 0.002, "what an idle agent may take"


async def test_one_thread_does_it_and_stands_back_for_others() -> None:
    priorities: list[int] = []

    class Asking(Imagined):
        def look(self, known: Known, stopped: Callable[[], bool]) -> None:
            super().look(known, stopped)
            priorities.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))

    one = Asking(*((f"v{n}", 100.0) for n in range(5)))
    before = os.getpriority(os.PRIO_PROCESS, 0)
    async with upkeep(one):
        await until(lambda: one.told == 5)
    assert len(one.threads) == 1
    assert set(priorities) == {max(10, before)}
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == before


def test_the_disk_serves_that_thread_when_it_is_idle() -> None:
    shown: list[str] = []

    def look() -> None:
        stand_back()
        asked = ["ionice", "-p", str(threading.get_native_id())]
        shown.append(subprocess.run(asked, capture_output=True, text=True, check=True).stdout)

    if shutil.which("ionice") is None:
        pytest.skip("needs ionice")
    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert shown == ["idle\n"]
