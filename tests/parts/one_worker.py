"""One worker on a real disk with a real package server; a test gives the commands by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from agent.download import PackageSource
from agent.instance import Instance
from agent.journal import Journal, Unsent
from agent.pins import Pins
from agent.preparer import Preparer
from agent.worker import Worker
from protocol.messages import (
    Activate,
    Ended,
    InstanceState,
    Prepare,
    Prepared,
    Progress,
    StateChanged,
)
from protocol.states import TaskKind
from tests.parts.local_agent import BOOT, LocalInstance
from tests.parts.package_server import PackageServer
from tests.parts.packages import sha256, tar_gz
from tests.parts.waiting import until

PACKAGES = {version: tar_gz({"VERSION": version.encode()}) for version in ("v1", "v2", "v3", "v4")}


class Coordinator:
    """In place of the connection: it notes what is reported, and acknowledges nothing."""

    def __init__(self) -> None:
        self.reports: dict[int, Unsent] = {}
        self.states: list[InstanceState] = []
        """How the instance looked each time that this was told by itself."""

    def report(self, instance_id: str, report: Unsent, state: InstanceState) -> None:
        self.reports[report.number] = report

    def tell(self, frame: Progress | StateChanged) -> None:
        if isinstance(frame, StateChanged):
            self.states.append(frame.instance)

    def said(self, task_id: str, kind: type[Prepared] | type[Ended]) -> bool:
        return any(
            one.task_id == task_id and isinstance(one.event, kind) for one in self.reports.values()
        )


class OneWorker:
    """One worker on a real disk, with a real package server, and commands by hand.

    `local` is the service that a worker before it in the same folder served.
    """

    def __init__(
        self,
        folder: Path,
        packages: PackageServer,
        source: PackageSource,
        local: LocalInstance | None = None,
        pins: Pins | None = None,
    ) -> None:
        self.local = local or LocalInstance("instance-1")
        self.instance: Instance = self.local.under(folder / "root", keep_releases=1)
        self.journal = Journal(folder / "journal")
        self.journal.open()
        self.preparer = Preparer(source, pins)
        self.packages = packages
        self.coordinator = Coordinator()
        self.worker = Worker(self.instance, self.journal, self.preparer, self.coordinator, BOOT)

    def prepare(self, task_id: str, version: str, **other: Any) -> Prepare:
        """The command to prepare a version, with `other` fields than an honest one has."""
        fields = {
            "task_id": task_id,
            "instance_id": "instance-1",
            "attempt": 1,
            "kind": TaskKind.DEPLOY,
            "service": "user-service",
            "version": version,
            "package_url": self.packages.put(f"{version}.tar.gz", PACKAGES[version]),
            "time_left": 60,
        }
        return Prepare(**{**fields, **other})

    def activate(self, task_id: str, version: str) -> Activate:
        return Activate(
            task_id=task_id,
            instance_id="instance-1",
            attempt=1,
            digest=sha256(PACKAGES[version]),
            time_left=60,
        )

    async def install(self, task_id: str, version: str) -> None:
        self.worker.handle(self.prepare(task_id, version))
        await until(lambda: self.coordinator.said(task_id, Prepared))
        self.worker.handle(self.activate(task_id, version))
        await until(lambda: self.coordinator.said(task_id, Ended))

    def on_disk(self) -> set[str]:
        return {release.version for release in self.instance.releases.all()}
