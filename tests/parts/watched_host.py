"""One instance's worker with a real service, whose watches are looked at."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

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
from protocol.states import TaskKind
from tests.parts.daemons import free_port
from tests.parts.package_server import PackageServer
from tests.parts.packages import sha256
from tests.parts.service import service_package
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


@asynccontextmanager
async def watched_host(folder: Path) -> AsyncIterator[Host]:
    """A host with its packages; it is stopped at the end of the block."""
    async with PackageServer(folder) as packages, PackageSource(packages.ca_file) as source:
        made = Host(folder, packages, source)
        yield made
        await made.stop()
        await made.driver.stop()
