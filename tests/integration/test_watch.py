"""A host watches what it has switched: real processes, a real check, the journal on a disk."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from agent.download import PackageSource
from agent.drivers.process import ProcessDriver
from agent.health import HttpCheck
from agent.instance import Instance
from agent.journal import Journal, Unsent, Watch
from agent.preparer import Preparer
from agent.releases import Releases
from agent.worker import Worker
from protocol.messages import (
    Activate,
    Cancel,
    Ended,
    InstanceState,
    Prepare,
    Prepared,
    Progress,
    Regressed,
    Result,
    StateChanged,
    Step,
)
from protocol.states import InstanceStatus, TaskKind
from tests.parts.daemons import free_port
from tests.parts.package_server import PackageServer
from tests.parts.packages import sha256
from tests.parts.service import service_package
from tests.parts.services import pid_of
from tests.parts.waiting import until

LONG = 600.0


class Link:
    """In place of the connection: it notes what is reported, and acknowledges nothing."""

    def __init__(self) -> None:
        self.reports: list[Unsent] = []
        self.states: list[InstanceState] = []

    def report(self, instance_id: str, report: Unsent, state: InstanceState) -> None:
        self.reports.append(report)
        self.states.append(state)

    def tell(self, frame: Progress | StateChanged) -> None:
        pass

    def of(self, kind: type[Prepared] | type[Ended] | type[Regressed]) -> list[Unsent]:
        return [one for one in self.reports if isinstance(one.event, kind)]


class Host:
    """One instance's worker with a real service, which can be started anew in any boot."""

    def __init__(self, folder: Path, packages: PackageServer, source: PackageSource) -> None:
        self._packages = packages
        self.well = folder / "well"
        self.well.touch()
        self.driver = ProcessDriver(
            "instance-1", ("./bin/server",), folder / "service", {}, under_systemd=False
        )
        port = free_port()
        self.instance = Instance(
            instance_id="instance-1",
            service="user-service",
            port=port,
            address="",
            metadata={},
            releases=Releases(folder / "root"),
            driver=self.driver,
            check=HttpCheck(f"http://127.0.0.1:{port}/healthz"),
            check_interval=0.1,
            check_timeout=30.0,
            check_stable=0.0,
            keep_releases=2,
            started_by_agent=True,
        )
        self.journal = Journal(folder / "journal")
        self.journal.open()
        self._preparer = Preparer(source)
        self.link = Link()
        self.boot = "boot-1"
        self.worker = self._worker()

    def _worker(self) -> Worker:
        return Worker(self.instance, self.journal, self._preparer, self.link, self.boot)

    async def prepared(self, task_id: str, version: str, **options: float) -> str:
        """Have a version prepared; returns its digest."""
        crash_after = options.get("crash_after")
        package = service_package(version, crash_after=crash_after, well_while=self.well)
        self.worker.handle(
            Prepare(
                task_id=task_id,
                instance_id="instance-1",
                attempt=1,
                kind=TaskKind.DEPLOY,
                service="user-service",
                version=version,
                package_url=self._packages.put(f"{version}.tar.gz", package),
                time_left=60,
            )
        )
        await until(lambda: [one for one in self.link.of(Prepared) if one.task_id == task_id])
        return sha256(package)

    async def switched(self, watch: float, **options: float) -> None:
        """Have the first task switched to, healthy, and watched for so long."""
        digest = await self.prepared("deploy-1", "v1", **options)
        self.activate("deploy-1", digest, watch)
        (ended,) = await until(lambda: self.link.of(Ended))
        assert isinstance(ended.event, Ended)
        assert ended.event.result is Result.SUCCEEDED, ended.event.message

    def activate(self, task_id: str, digest: str, watch: float, **options: Any) -> None:
        self.worker.handle(
            Activate(
                task_id=task_id,
                instance_id="instance-1",
                attempt=options.get("attempt", 1),
                digest=digest,
                time_left=60,
                watch=watch,
                renews=options.get("renews", False),
            )
        )

    def renew(self, watch: float, task_id: str = "deploy-1", **options: Any) -> None:
        """Have the watch of what a task has switched to renewed."""
        current = self.journal.load("instance-1").current
        assert current is not None
        digest = options.pop("digest", current.digest)
        self.activate(task_id, digest, watch, renews=True, **options)

    async def restart(self, boot: str = "boot-1") -> None:
        """Start the agent anew; another boot has none of the host's processes."""
        await self.stop()
        if boot != self.boot:
            await self.driver.stop()
        self.boot = boot
        await self.start()

    async def stop(self) -> None:
        await self.worker.stop()

    async def start(self) -> None:
        self.link = Link()
        self.worker = self._worker()
        await self.worker.recover()

    async def started_by_somebody(self) -> None:
        """The service is stopped and started, and not by the agent."""
        await self.driver.stop()
        environment = self.instance.environment("v1")
        await self.driver.start(self.instance.releases.current_link, environment)

    @property
    def watch(self) -> Watch | None:
        """What is watched, by the journal on the disk."""
        return self.journal.load("instance-1").watch

    @property
    def reached(self) -> Step | None:
        """The step of the work in hand, by the journal on the disk."""
        work = self.journal.load("instance-1").work
        return work.step if work else None

    async def regression(self) -> Regressed:
        """Wait for the one that is told."""
        (report,) = await until(lambda: self.link.of(Regressed))
        assert (report.task_id, report.attempt) == ("deploy-1", 1)
        assert isinstance(report.event, Regressed)
        return report.event

    async def over(self) -> None:
        """Wait until nothing is watched any more."""
        await until(lambda: self.watch is None)


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[Host]:
    async with PackageServer(tmp_path) as packages, PackageSource(packages.ca_file) as source:
        made = Host(tmp_path, packages, source)
        yield made
        await made.stop()
        await made.driver.stop()


# ---- what is a regression ----------------------------------------------------


async def test_one_that_ends_is_told_with_its_last_lines(host: Host) -> None:
    await host.switched(LONG, crash_after=4.0)
    told = await host.regression()
    assert "exited with status 3" in told.message
    assert "fatal: out of ideas" in told.message
    assert told.digest == host.journal.load("instance-1").good[0].digest
    assert host.link.states[-1].status is InstanceStatus.ERROR
    assert host.watch is None


async def test_one_that_somebody_restarts_is_told_though_it_is_well(host: Host) -> None:
    await host.switched(LONG)
    await host.started_by_somebody()
    assert "it restarted" in (await host.regression()).message
    assert (await host.driver.state()).running, "nothing is put back by the host alone"


async def test_one_that_falls_sick_is_told_after_some_probes(host: Host) -> None:
    await host.switched(LONG)
    host.well.unlink()
    told = await host.regression()
    assert "/healthz answered 500; 3 probes in a row failed" in told.message
    assert host.link.states[-1].status is InstanceStatus.RUNNING


async def test_one_that_stays_well_ends_the_watch_without_a_word(host: Host) -> None:
    await host.switched(2.0)
    assert host.watch is not None
    await host.over()
    assert not host.link.of(Regressed)
    host.well.unlink()
    await host.driver.stop()
    await host.restart()
    assert not host.link.of(Regressed)


async def test_without_a_word_of_it_nothing_is_watched(host: Host) -> None:
    await host.switched(0.0)
    assert host.watch is None


# ---- told once, and again until it is acknowledged ----------------------------


async def test_it_is_told_once_and_kept_until_it_is_acknowledged(host: Host) -> None:
    await host.switched(LONG)
    await host.started_by_somebody()
    await host.regression()
    await host.started_by_somebody()
    await host.restart()
    kept = [one for one in host.worker.unsent if isinstance(one.event, Regressed)]
    assert len(kept) == 1
    assert host.worker.unsent[-1] == kept[0], "its end is told before"
    assert host.watch is None
    assert not host.link.reports, "the connection asks for it"
    for one in host.worker.unsent:
        host.worker.acknowledged(one.number)
    await host.restart()
    assert host.worker.unsent == ()


async def test_a_repeated_command_is_answered_with_all_that_became_of_it(host: Host) -> None:
    """As a coordinator asks that has lost what it had acknowledged."""
    await host.switched(LONG)
    await host.started_by_somebody()
    await host.regression()
    for one in host.worker.unsent:
        host.worker.acknowledged(one.number)
    await host.restart()
    host.activate("deploy-1", "ab" * 32, LONG)
    assert [type(one.event) for one in host.link.reports] == [Ended, Regressed]


# ---- it outlives the agent and the host's power -------------------------------


async def test_it_survives_a_restart_of_the_agent(host: Host) -> None:
    await host.switched(LONG)
    before = host.watch
    await host.restart()
    assert host.watch == before
    host.well.unlink()
    assert "answered 500" in (await host.regression()).message


@pytest.mark.parametrize("what", ["ended", "restarted"])
async def test_what_happened_while_the_agent_was_away_is_seen(host: Host, what: str) -> None:
    await host.switched(LONG)
    await host.stop()
    await (host.driver.stop() if what == "ended" else host.started_by_somebody())
    await host.start()
    told = await host.regression()
    assert ("it restarted" in told.message) is (what == "restarted")


async def test_what_happened_after_its_time_is_nobodys_business(host: Host) -> None:
    await host.switched(2.0)
    await host.stop()
    watch = host.watch
    assert watch is not None
    loop = asyncio.get_running_loop()
    await until(lambda: loop.time() > watch.until)
    await host.started_by_somebody()
    await host.start()
    await host.over()
    assert not host.link.of(Regressed)


async def test_a_boot_of_the_host_is_no_regression_and_the_watch_goes_on(host: Host) -> None:
    await host.switched(LONG)
    before = host.watch
    assert before is not None
    await host.restart("boot-2")
    new = await pid_of(host.driver)
    now = await until(
        lambda: host.watch, lambda watch: watch and watch.boot_id == "boot-2" and watch.generation
    )
    assert now is not None
    assert now.generation.startswith(f"{new}-")
    assert now.left <= before.left
    assert not host.link.of(Regressed)
    await host.started_by_somebody()
    assert "it restarted" in (await host.regression()).message


async def test_a_switch_that_outlives_the_agent_is_watched_as_it_was_asked(host: Host) -> None:
    digest = await host.prepared("deploy-1", "v1")
    host.well.unlink()
    host.activate("deploy-1", digest, LONG)
    await until(lambda: host.reached is Step.CHECK)
    await host.restart()
    host.well.touch()
    await until(lambda: host.link.of(Ended))
    watch = host.watch
    assert watch is not None
    assert watch.left == LONG
    await host.started_by_somebody()
    await host.regression()


# ---- it is renewed -------------------------------------------------------------


async def test_a_renewed_watch_goes_on_and_tells_how_long_it_had_lasted(host: Host) -> None:
    await host.switched(LONG)
    before = host.watch
    assert before is not None
    host.renew(2 * LONG)
    renewed = host.watch
    assert renewed is not None
    assert renewed.asked is not None
    assert renewed.until == pytest.approx(asyncio.get_running_loop().time() + 2 * LONG, abs=5)
    assert renewed.asked - LONG == pytest.approx(renewed.until - before.until)
    assert host.link.of(Ended), "and it is answered how the attempt ended"
    since = before.until - LONG
    await host.started_by_somebody()
    fell = asyncio.get_running_loop().time()
    told = await host.regression()
    assert told.after is not None
    assert told.after == pytest.approx(fell - since, abs=5)


async def test_a_watch_is_never_made_shorter(host: Host) -> None:
    await host.switched(LONG)
    before = host.watch
    host.renew(1.0)
    now = host.watch
    assert before is not None
    assert now is not None
    assert (now.until, now.asked) == (before.until, LONG)


async def test_a_renewal_in_time_lets_the_running_watch_go_on(host: Host) -> None:
    await host.switched(3.0)
    host.renew(LONG)
    watch = host.watch
    assert watch is not None
    first_end = watch.until - LONG + 3.0
    await until(lambda: asyncio.get_running_loop().time() > first_end)
    await host.started_by_somebody()
    assert "it restarted" in (await host.regression()).message


async def test_a_watch_that_is_over_begins_anew_and_knows_not_how_long_it_was_none(
    host: Host,
) -> None:
    await host.switched(1.0)
    await host.over()
    host.renew(LONG)
    running = await pid_of(host.driver)
    watch = await until(lambda: host.watch, lambda watch: watch and watch.generation)
    assert watch is not None
    assert watch.generation.startswith(f"{running}-")
    assert watch.asked is None
    await host.restart()
    await host.started_by_somebody()
    assert (await host.regression()).after is None


async def test_what_ended_while_nobody_watched_is_told_when_a_watch_begins(host: Host) -> None:
    await host.switched(1.0)
    await host.over()
    await host.driver.stop()
    host.renew(LONG)
    told = await host.regression()
    assert told.after is None


async def test_what_has_regressed_is_told_again_and_not_watched(host: Host) -> None:
    await host.switched(LONG)
    await host.started_by_somebody()
    await host.regression()
    reports = len(host.link.reports)
    host.renew(LONG)
    assert [type(one.event) for one in host.link.reports[reports:]] == [Ended, Regressed]
    assert host.watch is None


@pytest.mark.parametrize(
    "other", [{"task_id": "deploy-0"}, {"attempt": 2}, {"digest": "ab" * 32}], ids=repr
)
async def test_another_attempt_or_release_renews_nothing(host: Host, other: dict[str, Any]) -> None:
    await host.switched(1.0)
    await host.over()
    before = host.journal.load("instance-1")
    host.renew(LONG, **other)
    assert host.journal.load("instance-1") == before, "it refuses nothing either"


async def test_what_another_task_has_in_hand_is_not_watched_for_the_one_before(host: Host) -> None:
    await host.switched(1.0)
    await host.over()
    await host.prepared("deploy-2", "v2")
    host.renew(LONG)
    assert host.watch is None


# ---- what ends it, and what it leaves free ------------------------------------


async def test_the_next_switch_ends_it_without_a_word(host: Host) -> None:
    await host.switched(LONG)
    digest = await host.prepared("deploy-2", "v2")
    watch = host.watch
    assert watch is not None
    assert watch.task_id == "deploy-1", "to prepare the next one changes nothing"
    host.activate("deploy-2", digest, 0.0)
    await until(lambda: [one for one in host.link.of(Ended) if one.task_id == "deploy-2"])
    assert host.watch is None
    host.well.unlink()
    await host.driver.stop()
    await host.restart()
    assert not host.link.of(Regressed)


@pytest.mark.parametrize("meanwhile", ["prepared", "given up"])
async def test_it_goes_on_while_another_task_prepares(host: Host, meanwhile: str) -> None:
    await host.switched(LONG)
    await host.prepared("deploy-2", "v2")
    if meanwhile == "given up":
        host.worker.handle(Cancel(task_id="deploy-2", instance_id="instance-1", attempt=1))
    await host.started_by_somebody()
    await host.regression()
    in_hand = host.worker.in_hand
    assert (in_hand is None) is (meanwhile == "given up")
