"""A coordinator that is killed, unplugged and starved while it deploys to twenty instances.

It is a daemon with the library of faults preloaded. Its hosts are real agents in the test's
own process, with services that only count their starts; so what is looked at in the end is
what each of them did, and what the coordinator makes of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import sqlite3
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Self

from agent.download import PackageSource
from coordinator.client import AsyncClient
from protocol.access import TokenParams
from protocol.errors import FerrymanError, UnavailableError
from protocol.models import DeployParams, DeployStatus
from protocol.states import Phase
from tests.lab.faults import Faults
from tests.lab.nursery import Nursery, gone
from tests.lab.volume import Volume
from tests.parts.daemons import connected, free_port
from tests.parts.local_agent import LocalAgent, LocalInstance
from tests.parts.package_server import PackageServer
from tests.parts.packages import tar_gz
from tests.parts.waiting import until

HOSTS = 4
INSTANCES_ON_EACH = 5
TIMEOUT = 120
SERVICE = "user-service"


class MortalCoordinator:
    """The daemon, its four hosts, and an operator."""

    def __init__(self, folder: Path, nursery: Nursery, volume: Volume | None, on_each: int) -> None:
        self.folder = folder
        self.data_dir = (volume.path if volume else folder) / "coordinator"
        self.faults = Faults(folder / "faults", volume.path if volume else self.data_dir)
        self.log = folder / "coordinator.log"
        self.url = f"https://127.0.0.1:{free_port()}"
        self.instances: dict[str, LocalInstance] = {}
        self.agents: list[LocalAgent] = []
        self.refusals: list[str] = []
        """Why tasks were not acknowledged."""
        self._nursery = nursery
        self._on_each = on_each
        self._volume = volume
        self._pid = 0
        self._versions = 0
        self.client: AsyncClient
        self.packages: PackageServer

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        folder: Path,
        library: Path,
        *,
        volume: Volume | None = None,
        on_each: int = INSTANCES_ON_EACH,
    ) -> AsyncIterator[Self]:
        """Start everything, with so many instances on each host; all are connected."""
        async with AsyncExitStack() as stack:
            nursery = await stack.enter_async_context(Nursery(library, "coordinator"))
            center = cls(folder, nursery, volume, on_each)
            (folder / "coordinator.toml").write_text(
                f'listen = "{center.url.removeprefix("https://")}"\n'
                f'data_dir = "{center.data_dir}"\n'
                "heartbeat_interval = 0.5\n[discovery]\nenabled = false\n"
            )
            await center.start()
            stack.push_async_callback(center.kill)
            await center._furnish(stack)
            yield center
            center.faults.disarm()

    async def _furnish(self, stack: AsyncExitStack) -> None:
        token = (self.data_dir / "admin.token").read_text().strip()
        self.client = await stack.enter_async_context(
            AsyncClient(self.url, token, self.data_dir / "ca.pem")
        )
        self.packages = await stack.enter_async_context(PackageServer(self.folder))
        source = await stack.enter_async_context(PackageSource(self.packages.ca_file))
        made = await self.client.create_token(TokenParams(role="join", ttl=3600))
        for host in range(HOSTS):
            names = [f"instance-{host}-{number}" for number in range(self._on_each)]
            served = [LocalInstance(name) for name in names]
            self.instances.update(zip(names, served, strict=True))
            agent = LocalAgent(
                self.folder,
                f"host-{host}",
                served,
                url=self.url,
                join_token=made.secret,
                source=source,
                keep_releases=1,
            )
            self.agents.append(await stack.enter_async_context(agent))
        await connected(self.client, *self.instances)

    # ---- the daemon --------------------------------------------------------

    async def start(self) -> None:
        """Start it, and wait until it serves."""
        refusal = await self.tries_to_start()
        assert refusal is None, refusal

    async def tries_to_start(self) -> str | None:
        """Start it, and wait until it serves, or has ended: then what it said."""
        told, before = self._told_ready(), len(self.said())
        config = self.folder / "coordinator.toml"
        self._pid = await self._nursery.start(config, self.faults.file, self.log)
        ended = asyncio.create_task(self.died())
        await until(lambda: ended.done() or self._told_ready() > told, every=0.01)
        if ended.done():
            return self.said()[before:]
        ended.cancel()
        return None

    def _told_ready(self) -> int:
        return self.said().count(" ready at ")

    async def died(self) -> None:
        """Wait until it is gone."""
        await gone(self._pid)

    async def kill(self) -> None:
        """End it."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGKILL)
        await self.died()

    async def boot(self) -> None:
        """After a power cut: read the disk anew."""
        assert self._volume is not None
        await self.died()
        await self._volume.remount()

    def said(self) -> str:
        """What it printed and logged."""
        return self.log.read_text() if self.log.exists() else ""

    def is_sound(self) -> bool:
        """Whether its database is whole."""
        return self._read("PRAGMA integrity_check") == [("ok",)]

    def deadlines(self) -> dict[tuple[str, str], float]:
        """The deadline of each assignment of the newest task, as it is saved."""
        rows = self._read(
            "SELECT task_id, instance_id, deadline FROM assignments WHERE deadline IS NOT NULL"
        )
        newest = f"deploy-v{self._versions}"
        return {(task, name): at for task, name, at in rows if task == newest}

    def _read(self, query: str) -> list[tuple[Any, ...]]:
        """Ask a copy of its database: the coordinator must find its own as it left it."""
        with tempfile.TemporaryDirectory() as copy:
            for file in self.data_dir.glob("coordinator.db*"):
                shutil.copy(file, copy)
            with contextlib.closing(sqlite3.connect(f"{copy}/coordinator.db")) as database:
                return database.execute(query).fetchall()

    # ---- what is asked of it -----------------------------------------------

    def new_task(self, *names: str) -> DeployParams:
        """A new version for these (or all) instances."""
        self._versions += 1
        version = f"v{self._versions}"
        data = tar_gz({"VERSION": version.encode()})
        return DeployParams(
            deploy_id=f"deploy-{version}",
            service=SERVICE,
            version=version,
            instances=list(names or self.instances),
            package_url=self.packages.put(f"{version}.tar.gz", data),
            timeout=TIMEOUT,
            retry_count=0,
        )

    async def ask(self, task: DeployParams) -> bool:
        """Ask for it once; whether that was acknowledged."""
        try:
            await self.client.execute_deployment(task)
        except UnavailableError as error:
            self.refusals.append(str(error))
            return False
        return True

    async def insist(self, task: DeployParams) -> None:
        """Ask until it is acknowledged, as whoever got no answer should: it is one task."""

        async def asked() -> bool:
            return await self.ask(task)

        await until(asked)

    async def ended(self, task: DeployParams) -> DeployStatus:
        """Wait for the end of a task that was acknowledged. Raises `NotFoundError` if lost."""

        async def look() -> DeployStatus | None:
            try:
                return await self.client.get_deployment_status(task.deploy_id)
            except UnavailableError:
                return None

        seen = await until(look, lambda seen: seen is not None and seen.status.ended, within=30)
        assert seen is not None
        return seen

    async def is_lost(self, task: DeployParams) -> bool:
        """Whether a task is not known."""
        try:
            await self.client.get_deployment_status(task.deploy_id)
        except FerrymanError:
            return True
        return False

    async def hosts_are_done(self, *tasks: DeployParams) -> None:
        """Wait, without asking the coordinator, until every host has done its part and told."""
        wanted = {name: task.version for task in tasks for name in task.instances}
        await until(lambda: all(self._is_done(*one) for one in wanted.items()))

    def _is_done(self, name: str, version: str) -> bool:
        agent = self._agent_of(name)
        record = json.loads((agent.state_dir / "journal" / f"{name}.json").read_bytes())
        return agent.current(name) == version and not record["work"] and not record["unsent"]

    def _agent_of(self, name: str) -> LocalAgent:
        return next(agent for agent in self.agents if name in agent.instances)

    # ---- what must hold ----------------------------------------------------

    async def wrong(self, task: DeployParams) -> list[str]:
        """What is not as it must be, now that an acknowledged task has ended."""
        status = await self.ended(task)
        found = []
        for part in status.instances:
            name = part.instance_id
            if part.phase is not Phase.COMPLETED or part.attempt != 1:
                found.append(f"{name} is {part}")
            starts = self.starts(name, task.version)
            if starts != 1:
                found.append(f"{name} was started {starts} times with {task.version}")
            if self._agent_of(name).current(name) != task.version:
                found.append(f"{name} has another version as its current one")
        return found + await self._unaccounted(task)

    async def _unaccounted(self, task: DeployParams) -> list[str]:
        """What is wrong with the evidence: one row for a task that is stored, in a whole chain."""
        rows = (await self.client.list_audit(limit=1000)).rows
        about = [row for row in rows if row.object_id == task.deploy_id]
        created = [row for row in about if "was_there" not in row.after]
        verdict = await self.client.verify_audit()
        found = [] if verdict.sound else [f"audit row {verdict.broken_seq}: {verdict.problem}"]
        return found if len(created) == 1 else [*found, f"{task.deploy_id} was created by {about}"]

    def starts(self, name: str, version: str) -> int:
        """How often an instance's service was started with a version."""
        started = (folder for folder, _ in self.instances[name].driver.starts)
        return sum(folder.name.rpartition("-")[0] == version for folder in started)
