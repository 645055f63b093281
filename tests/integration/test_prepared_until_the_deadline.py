"""A host that is not told to switch keeps the prepared release until the deadline, or its hold."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent.download import PackageSource
from agent.journal import Journal, Unsent
from agent.preparer import Preparer
from agent.worker import Worker
from protocol.messages import (
    Ended,
    InstanceState,
    Prepare,
    Prepared,
    Progress,
    Result,
    StateChanged,
    Step,
)
from protocol.states import TaskKind
from tests.parts.local_agent import LocalInstance
from tests.parts.package_server import PackageServer
from tests.parts.packages import tar_gz
from tests.parts.waiting import until


class Said:
    """A `ledger.Link` that keeps what was reported, as a coordinator that is away would not."""

    def __init__(self) -> None:
        self.reports: list[Unsent] = []

    def report(self, instance_id: str, report: Unsent, state: InstanceState) -> None:
        self.reports.append(report)

    def tell(self, frame: Progress | StateChanged) -> None:
        pass

    def ended(self) -> Ended | None:
        return next((one.event for one in self.reports if isinstance(one.event, Ended)), None)


class Host:
    """One instance's worker, which can be started anew in this boot or in another."""

    def __init__(self, folder: Path, packages: PackageServer, source: PackageSource) -> None:
        self.packages = packages
        self.instance = LocalInstance("instance-1").under(folder / "instance-1", 3)
        self.url = packages.put("v1.tar.gz", tar_gz({"bin/server": b"#!/bin/sh\n"}))
        self.said = Said()
        self.journal = Journal(folder / "journal")
        self.journal.open()
        self._preparer = Preparer(source)
        self.worker = self._worker("boot-1")

    def _worker(self, boot: str) -> Worker:
        return Worker(self.instance, self.journal, self._preparer, self.said, boot)

    async def prepared(self, time_left: float, hold: float = 0.0) -> None:
        self.prepare(time_left, hold)
        await until(self.has_prepared)

    def has_prepared(self) -> bool:
        return any(isinstance(one.event, Prepared) for one in self.said.reports)

    def prepare(self, time_left: float, hold: float = 0.0) -> None:
        """Give the command, for the first time or again."""
        command = Prepare(
            task_id="deploy-1",
            instance_id="instance-1",
            attempt=1,
            kind=TaskKind.DEPLOY,
            service="user-service",
            version="v1",
            package_url=self.url,
            time_left=time_left,
            hold=hold,
        )
        self.worker.handle(command)

    def left(self) -> float:
        """Seconds that the prepared release is kept from now on, by the journal on the disk."""
        work = self.journal.load("instance-1").work
        assert work is not None
        assert work.step is Step.PREPARED
        return work.until - asyncio.get_running_loop().time()

    async def restart(self, boot: str = "boot-1") -> None:
        await self.worker.stop()
        self.worker = self._worker(boot)
        await self.worker.recover()

    def on_disk(self) -> list[str]:
        return [release.version for release in self.instance.releases.all()]


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[Host]:
    async with (
        PackageServer(tmp_path) as packages,
        PackageSource(packages.ca_file) as source,
    ):
        made = Host(tmp_path, packages, source)
        yield made
        await made.worker.stop()


@pytest.mark.parametrize("restarted", [False, True])
async def test_it_is_discarded_at_the_deadline(host: Host, restarted: bool) -> None:
    await host.prepared(time_left=3.0)
    if restarted:
        await host.restart()
    assert host.worker.in_hand is not None
    assert host.on_disk() == ["v1"]
    ended = await until(host.said.ended)
    assert ended is not None
    assert ended.result is Result.FAILED
    assert ended.step is Step.PREPARED
    assert "the word to switch did not come" in ended.message
    assert ended.passing, "a coordinator that still has time has it prepared again"
    await until(lambda: host.on_disk() == [])
    assert host.worker.in_hand is None


async def test_it_is_kept_until_then(host: Host) -> None:
    await host.prepared(time_left=3600)
    await host.restart()
    assert host.worker.in_hand is not None
    assert host.on_disk() == ["v1"]
    assert host.said.ended() is None


async def test_a_host_that_has_booted_begins_its_time_anew(host: Host) -> None:
    await host.prepared(time_left=3.0)
    before = host.journal.load("instance-1").work
    await host.restart("boot-2")
    work = host.journal.load("instance-1").work
    assert before is not None
    assert work is not None
    assert (work.boot_id, work.allowed) == ("boot-2", 3.0)
    assert work.until > before.until
    await until(host.said.ended)
    await until(lambda: host.on_disk() == [])


# ---- a hold of its own --------------------------------------------------------


async def test_a_hold_counts_from_when_it_is_prepared_whatever_the_time_left(host: Host) -> None:
    gate = asyncio.Event()
    host.packages.slow("v1.tar.gz", chunk=10, gate=gate)
    host.prepare(time_left=60, hold=3600)
    loop = asyncio.get_running_loop()
    begun = loop.time()
    await until(lambda: loop.time() > begun + 3.0)
    gate.set()
    await until(host.has_prepared)
    assert 3597.5 < host.left() <= 3600


async def test_it_is_discarded_when_its_hold_is_over_long_before_the_deadline(host: Host) -> None:
    await host.prepared(time_left=3600, hold=0.3)
    ended = await until(host.said.ended)
    assert ended is not None
    assert (ended.result, ended.step, ended.passing) == (Result.FAILED, Step.PREPARED, True)
    await until(lambda: host.on_disk() == [])


async def test_a_repeat_renews_the_hold_durably_and_is_answered_again(host: Host) -> None:
    await host.prepared(time_left=60, hold=2.0)
    told = len(host.said.reports)
    host.prepare(time_left=60, hold=3600)
    assert host.left() > 3590
    assert isinstance(host.said.reports[-1].event, Prepared)
    assert len(host.said.reports) > told
    await host.restart()
    assert host.left() > 3590
    loop = asyncio.get_running_loop()
    over = loop.time() + 2.0
    await until(lambda: loop.time() > over)
    assert host.said.ended() is None, "the first hold is over, and counts no more"
    assert host.on_disk() == ["v1"]


async def test_a_repeat_may_shorten_it_too(host: Host) -> None:
    await host.prepared(time_left=60, hold=3600)
    host.prepare(time_left=60, hold=0.3)
    await until(host.said.ended)


async def test_a_repeat_without_a_hold_leaves_it_as_it_was(host: Host) -> None:
    await host.prepared(time_left=60, hold=3600)
    host.prepare(time_left=1)
    assert host.left() > 3590


async def test_a_repeat_while_it_prepares_counts_once_it_is_prepared(host: Host) -> None:
    gate = asyncio.Event()
    host.packages.slow("v1.tar.gz", chunk=10, gate=gate)
    host.prepare(time_left=60, hold=0.1)
    await until(lambda: host.packages.requests)
    host.prepare(time_left=60, hold=3600)
    gate.set()
    await until(host.has_prepared)
    assert host.left() > 3590


async def test_a_host_that_has_booted_begins_its_hold_anew(host: Host) -> None:
    await host.prepared(time_left=60, hold=3600)
    await host.restart("boot-2")
    work = host.journal.load("instance-1").work
    assert work is not None
    assert (work.boot_id, work.allowed) == ("boot-2", 3600)


async def test_the_time_left_still_bounds_preparing(host: Host) -> None:
    host.packages.slow("v1.tar.gz", chunk=10, gate=asyncio.Event())
    host.prepare(time_left=0.3, hold=3600)
    ended = await until(host.said.ended)
    assert ended is not None
    assert "timed out while preparing" in ended.message
