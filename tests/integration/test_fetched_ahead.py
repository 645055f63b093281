"""A release that a host fetched ahead of time: kept, bounded, and never run without a word."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent.download import PackageSource
from agent.journal import Known
from agent.minisign import PublicKey
from agent.pins import Pins
from agent.terms import Terms
from agent.trust import Trust
from protocol.messages import Ended, PinnedVersion, Prepared, Result, Step
from protocol.messages import Pins as PinsFrame
from protocol.states import TaskKind
from tests.parts.one_worker import PACKAGES, OneWorker
from tests.parts.package_server import PackageServer
from tests.parts.packages import sha256
from tests.parts.signing import Signer
from tests.parts.waiting import until


class Host:
    """One worker that may be started again in the same folder."""

    def __init__(self, folder: Path, packages: PackageServer, source: PackageSource) -> None:
        self.folder = folder
        self.packages = packages
        self.source = source
        self.pins = Pins()
        self.one = OneWorker(folder, packages, source, pins=self.pins)

    async def start_again(self) -> None:
        await self.one.worker.stop()
        local = self.one.local
        self.one = OneWorker(self.folder, self.packages, self.source, local, self.pins)
        await self.one.worker.recover()

    async def prefetch(self, task_id: str, version: str) -> Ended:
        self.one.worker.handle(self.one.prepare(task_id, version, kind=TaskKind.PREFETCH))
        await until(lambda: self.one.coordinator.said(task_id, Ended))
        return next(
            one.event
            for one in self.one.coordinator.reports.values()
            if one.task_id == task_id and isinstance(one.event, Ended)
        )

    async def deploy(self, task_id: str, version: str) -> None:
        """As after a prefetch: the digest is known."""
        digest = sha256(PACKAGES[version])
        self.one.worker.handle(self.one.prepare(task_id, version, digest=digest))
        await until(lambda: self.one.coordinator.said(task_id, Prepared))
        self.one.worker.handle(self.one.activate(task_id, version))
        await until(lambda: self.one.coordinator.said(task_id, Ended))

    async def on_disk(self, *versions: str) -> None:
        await until(self.one.on_disk, lambda seen: seen == set(versions))

    def fetched(self) -> list[str]:
        return [known.version for known in self.one.journal.load("instance-1").fetched]


@pytest.fixture
async def packages(tmp_path: Path) -> AsyncIterator[PackageServer]:
    async with PackageServer(tmp_path) as running:
        yield running


@pytest.fixture
async def host(tmp_path: Path, packages: PackageServer) -> AsyncIterator[Host]:
    async with PackageSource(packages.ca_file) as source:
        made = Host(tmp_path, packages, source)
        yield made
        await made.one.worker.stop()


async def test_the_attempt_ends_with_the_release_on_disk_and_nothing_was_stopped(
    host: Host,
) -> None:
    await host.one.install("deploy-1", "v1")
    starts = len(host.one.local.driver.starts)
    ended = await host.prefetch("prefetch-1", "v2")
    assert (ended.result, ended.step) == (Result.SUCCEEDED, Step.PREPARED)
    assert ended.digest == sha256(PACKAGES["v2"])
    await host.on_disk("v1", "v2")
    record = host.one.journal.load("instance-1")
    assert record.fetched == (Known("v2", sha256(PACKAGES["v2"])),)
    assert [known.version for known in record.good] == ["v1"], "it is no target of a rollback"
    assert record.work is None
    assert len(host.one.local.driver.starts) == starts
    state = host.one.worker.state
    assert (state.version, [one.version for one in state.fetched]) == ("v1", ["v2"])
    assert [one.version for one in state.retained] == ["v1"]


async def test_it_survives_a_start_of_the_agent_and_the_clean_up_then(host: Host) -> None:
    await host.one.install("deploy-1", "v1")
    await host.prefetch("prefetch-1", "v2")
    await host.start_again()
    await host.on_disk("v1", "v2")
    assert host.fetched() == ["v2"]


async def test_a_deployment_of_it_downloads_nothing_and_makes_it_an_ordinary_release(
    host: Host, packages: PackageServer
) -> None:
    await host.one.install("deploy-1", "v1")
    await host.prefetch("prefetch-1", "v2")
    asked = len(packages.requests)
    await host.deploy("deploy-2", "v2")
    assert len(packages.requests) == asked
    assert host.one.worker.state.version == "v2"
    assert host.fetched() == []
    assert [known.version for known in host.one.journal.load("instance-1").good] == ["v1", "v2"]


async def test_a_damaged_one_is_not_trusted_and_fetched_anew(
    host: Host, packages: PackageServer
) -> None:
    await host.prefetch("prefetch-1", "v2")
    (release,) = host.one.instance.releases.all()
    (release.path / "VERSION").write_text("something else")
    asked = len(packages.requests)
    await host.deploy("deploy-1", "v2")
    assert len(packages.requests) > asked
    assert (host.one.instance.releases.current_link / "VERSION").read_text() == "v2"


async def test_the_newest_two_are_kept_and_other_releases_do_not_push_them_out(
    host: Host,
) -> None:
    for number, version in enumerate(("v2", "v3", "v4"), 1):
        await host.prefetch(f"prefetch-{number}", version)
    await host.on_disk("v3", "v4")
    await until(host.fetched, lambda seen: seen == ["v3", "v4"])
    await host.prefetch("prefetch-4", "v3")
    await until(host.fetched, lambda seen: seen == ["v4", "v3"])
    for number, version in enumerate(("v1", "v2"), 1):
        await host.one.install(f"deploy-{number}", version)
    await host.on_disk("v1", "v2", "v3", "v4")


async def test_a_pinned_one_stays_although_newer_ones_were_fetched(host: Host) -> None:
    host.pins.keep(PinsFrame(pins=[PinnedVersion(service="user-service", version="v1")]))
    for number, version in enumerate(("v1", "v2", "v3", "v4"), 1):
        await host.prefetch(f"prefetch-{number}", version)
    await host.on_disk("v1", "v3", "v4")
    await until(host.fetched, lambda seen: seen == ["v1", "v3", "v4"])
    host.pins.keep(PinsFrame(pins=[]))
    await host.start_again()
    await host.on_disk("v3", "v4")


async def test_what_runs_already_is_not_kept_a_second_time(host: Host) -> None:
    await host.one.install("deploy-1", "v1")
    ended = await host.prefetch("prefetch-1", "v1")
    assert ended.result is Result.SUCCEEDED
    assert host.fetched() == []


async def test_it_stands_in_no_past_because_nothing_ran(host: Host) -> None:
    await host.one.install("deploy-1", "v1")
    await host.prefetch("prefetch-1", "v2")
    await host.prefetch("prefetch-2", "v3")
    await host.deploy("deploy-2", "v3")
    told = [entry.task_id for some in host.one.journal.past.after(0) for entry in some]
    assert told == ["deploy-1", "deploy-2"]


async def test_a_command_that_comes_again_is_answered_from_the_journal(
    host: Host, packages: PackageServer
) -> None:
    await host.prefetch("prefetch-1", "v2")
    asked = len(packages.requests)
    host.one.coordinator.reports.clear()
    assert (await host.prefetch("prefetch-1", "v2")).result is Result.SUCCEEDED
    assert len(packages.requests) == asked


async def test_a_journal_that_cannot_be_written_fails_it(host: Host) -> None:
    await host.one.install("deploy-1", "v1")
    command, gate = host.one.prepare("prefetch-1", "v2", kind=TaskKind.PREFETCH), asyncio.Event()
    host.packages.slow("v2.tar.gz", chunk=10, gate=gate)
    host.one.worker.handle(command)
    (host.folder / "journal").rename(host.folder / "gone")
    gate.set()
    await until(lambda: host.one.coordinator.said("prefetch-1", Ended))
    (told,) = [
        one.event
        for one in host.one.coordinator.reports.values()
        if one.task_id == "prefetch-1" and isinstance(one.event, Ended)
    ]
    assert told.result is Result.FAILED
    assert "the journal can't be written" in told.message
    await host.on_disk("v1")


async def test_a_host_with_trusted_keys_keeps_nothing_that_is_not_signed(
    tmp_path: Path, packages: PackageServer
) -> None:
    terms = Terms(trust=Trust([PublicKey.parse(Signer().public)]))
    async with PackageSource(packages.ca_file, terms) as source:
        host = Host(tmp_path, packages, source)
        ended = await host.prefetch("prefetch-1", "v2")
        assert ended.result is Result.FAILED
        await host.on_disk()
        assert host.fetched() == []
        await host.one.worker.stop()


def test_a_record_of_an_older_agent_has_none(host: Host) -> None:
    path = host.one.journal._path("instance-1")
    host.one.journal.save(host.one.journal.load("instance-1"))
    raw = json.loads(path.read_bytes())
    del raw["fetched"]
    path.write_text(json.dumps(raw))
    assert host.one.journal.load("instance-1").fetched == ()
