"""A host that is killed, starved and unplugged at every point, with its coordinator.

The agent is a process with the library of faults preloaded; coordinator and package server
run in the test. One scenario after the other happens to the same host, as in life: what an
earlier point left behind is there when the next one comes. `truth` looks at everything that
must hold once a task has ended: the disk, the processes, and what the coordinator says.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from coordinator.app import Coordinator, serve
from coordinator.config import DiscoverySettings, Settings
from protocol.access import TokenParams
from protocol.events import Event
from protocol.models import (
    AssignmentStatus,
    DeployParams,
    InstanceQueryParams,
    InstanceRollbackParams,
    ServiceInstance,
)
from protocol.states import Phase
from tests.lab.faults import Faults
from tests.lab.nursery import Nursery, gone
from tests.lab.remains import Remains
from tests.lab.users import users_of
from tests.lab.volume import Volume
from tests.parts.package_server import PackageServer
from tests.parts.packages import Content, HardLink, Link, tar_gz
from tests.parts.waiting import until

BACK_WITHIN = 10
"""Seconds from the start of the agent until everything is as it must be."""

HOST = "host-a"
SERVICE = "user-service"
QUICK = 0.02
"""Seconds between two looks."""

_SLEEPS = b"#!/bin/sh\nexec sleep 86400\n"
_DIES = b"#!/bin/sh\necho 'fatal: out of ideas' >&2\nexit 3\n"


@dataclass(frozen=True)
class Attempt:
    """A task that was begun, and what must have become of it in the end."""

    task_id: str
    succeeds: bool
    runs: str
    """The version that runs afterwards; "" for none."""
    since: int
    """The last event before it."""


class Victim:
    """One host with one instance, and everything around it."""

    def __init__(self, folder: Path, nursery: Nursery, volume: Volume | None) -> None:
        self.folder = folder
        self.instance_id = "instance-1"
        self.versions = 0
        self.running = ""
        """The version that must run now; "" for none."""
        self.before = ""
        """The one that ran before it."""
        self._nursery = nursery
        self._volume = volume
        self._disk = volume.path if volume else folder
        self.state_dir = self._disk / "agent"
        self.faults = Faults(folder / "faults", self._disk)
        self.log = folder / "agent.log"
        self._pid = 0
        self._logged_before = 0
        """How long the log was when this agent was started."""
        self._boots = 1
        self._instances = 1
        self._keep_releases = 3
        self.coordinator: Coordinator
        self.packages: PackageServer

    @classmethod
    @asynccontextmanager
    async def open(
        cls, folder: Path, library: Path, *, keep_releases: int = 3, volume: Volume | None = None
    ) -> AsyncIterator[Self]:
        """Start everything; the host has joined, and nothing is deployed yet."""
        async with AsyncExitStack() as stack:
            nursery = await stack.enter_async_context(Nursery(library, "agent"))
            victim = cls(folder, nursery, volume)
            victim._keep_releases = keep_releases
            victim.packages = await stack.enter_async_context(PackageServer(folder))
            settings = Settings(
                data_dir=folder / "coordinator",
                listen="127.0.0.1:0",
                heartbeat_interval=0.5,
                discovery=DiscoverySettings(enabled=False),
            )
            victim.coordinator = await stack.enter_async_context(Coordinator(settings))
            victim._url = await stack.enter_async_context(serve(victim.coordinator))
            made = await victim.coordinator.create_token(TokenParams(role="join", ttl=3600))
            victim._token = made.secret
            stack.push_async_callback(victim._end)
            victim.configure(victim.instance_id)
            await victim.start()
            await victim.connected()
            yield victim

    _url = ""
    _token = ""

    def configure(self, instance_id: str) -> None:
        """Declare this one instance; from the agent's next start on."""
        self.instance_id = instance_id
        port = self._url.rpartition(":")[2]
        (self.folder / "agent.toml").write_text(
            f'host_id = "{HOST}"\nstate_dir = "{self.state_dir}"\ncoordinator = "{self._url}"\n'
            f'join_token = "{self._token}"\npackage_ca_file = "{self.packages.ca_file}"\n'
            f"keep_releases = {self._keep_releases}\n\n"
            f'[[instances]]\nid = "{instance_id}"\nservice = "{SERVICE}"\ndriver = "process"\n'
            'command = ["./bin/server"]\n'
            "[instances.health_check]\n"
            f'tcp = "127.0.0.1:{port}"\ninterval = 0.05\ntimeout = 10\nstable = 0.1\n'
        )

    # ---- the agent and its host --------------------------------------------

    async def start(self) -> None:
        """Start the agent."""
        boot = f"boot-{self._boots}"
        config = self.folder / "agent.toml"
        self.log.touch()
        self._logged_before = self.log.stat().st_size
        self._pid = await self._nursery.start(config, self.faults.file, self.log, boot=boot)

    async def died(self) -> None:
        """Wait until the agent is gone."""
        await gone(self._pid)

    async def kill(self) -> None:
        """End the agent; its service goes on."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGKILL)
        await self.died()

    async def boot(self) -> None:
        """After a power cut: no process of the host is left, and its disk is read anew."""
        assert self._volume is not None
        await self.died()
        await self._end_services()
        await self._volume.remount()
        self._boots += 1

    async def _end(self) -> None:
        self.faults.disarm()
        await self.kill()
        await self._end_services()

    async def _end_services(self) -> None:
        while users := users_of(self.state_dir):
            for pid in users:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                await gone(pid)

    def said(self) -> str:
        """The end of what the agent logged."""
        return self.log.read_text()[-3000:]

    async def connected(self) -> None:
        """Wait until this agent is connected; it has taken up what was left, then."""
        await until(self._connected_now, every=QUICK)

    async def _connected_now(self) -> bool:
        # The coordinator alone would do for three heartbeats with what it heard of the last one.
        if b"connected to http" not in self.log.read_bytes()[self._logged_before :]:
            return False
        row = await self._shown()
        return row is not None and row.connected

    async def shown(self) -> ServiceInstance:
        """The instance as the coordinator shows it."""
        row = await self._shown()
        assert row is not None
        return row

    async def _shown(self) -> ServiceInstance | None:
        hosts = await self.coordinator.list_hosts()
        if not any(self.instance_id in host.instances for host in hosts.hosts):
            return None
        params = InstanceQueryParams(service_name=SERVICE, limit=1000)
        rows = (await self.coordinator.get_service_instances(params)).instances
        return next((row for row in rows if row.instance_id == self.instance_id), None)

    # ---- what is done to it ------------------------------------------------

    def runs(self, version: str) -> None:
        """Take note that this version runs, whatever was meant to."""
        if version != self.running:
            self.before, self.running = self.running, version

    async def restart(self) -> None:
        """Kill the agent and start it again."""
        await self.kill()
        await self.start()
        await self.connected()

    async def mend(self) -> None:
        """Bring an instance that is in `error` back to work: the operator deploys anew."""
        attempt = await self.upgrade()
        await self.ended(attempt)
        assert await self.serves() == []

    async def begin_anew(self) -> None:
        """Have an instance on which nothing was deployed yet; the one before is given up."""
        await self.kill()
        await self._end_services()
        self._instances += 1
        self.configure(f"instance-{self._instances}")
        self.running = self.before = ""
        await self.start()
        await self.connected()

    async def upgrade(self, *, broken: bool = False) -> Attempt:
        """Begin to deploy a new version."""
        self.versions += 1
        version = f"v{self.versions}"
        files: dict[str, Content] = {
            "bin/server": (_DIES if broken else _SLEEPS, 0o755),
            "VERSION": version.encode(),
            "bin/again": HardLink("bin/server"),
            "start": Link("bin/server"),
        }
        params = DeployParams(
            deploy_id=f"deploy-{version}",
            service=SERVICE,
            version=version,
            instances=[self.instance_id],
            package_url=self.packages.put(f"{version}.tar.gz", tar_gz(files)),
            timeout=60,
            retry_count=0,
        )
        since = await self.coordinator._store.last_event()
        result = await self.coordinator.execute_deployment(params)
        if not broken:
            self.before, self.running = self.running, version
        return Attempt(result.deploy_id, not broken, self.running, since)

    async def roll_back(self) -> Attempt:
        """Begin to go back to the version before."""
        params = InstanceRollbackParams(instance_id=self.instance_id, target_version=self.before)
        since = await self.coordinator._store.last_event()
        result = await self.coordinator.rollback_instance(params)
        self.before, self.running = self.running, self.before
        return Attempt(result.rollback_id, True, self.running, since)

    # ---- what must hold ----------------------------------------------------

    async def comes_back(self, attempt: Attempt) -> list[str]:
        """Start the agent; what is not as it must be once the attempt has ended, all in time."""
        wrong = []
        async with self.in_time():
            await self.start()
            await self.ended(attempt)
            await self.connected()
            wrong += await self.truth(attempt)
        return wrong

    @asynccontextmanager
    async def in_time(self) -> AsyncIterator[None]:
        """For a block that starts the agent: all of it takes as long as a host has to come back."""
        try:
            async with asyncio.timeout(BACK_WITHIN):
                yield
        except TimeoutError:
            late = f"not back within {BACK_WITHIN} s: {self._remains.restless() or 'at rest'}"
            raise AssertionError(f"{late}\n{self.said()}") from None

    @property
    def _remains(self) -> Remains:
        installed = bool(self.before)
        given_up = [f"instance-{number}" for number in range(1, self._instances)]
        return Remains(self.state_dir, self.instance_id, self._keep_releases, installed, given_up)

    def torn(self) -> str:
        """What is wrong with the release that runs; it must be whole at every moment."""
        return self._remains.torn()

    async def part(self, task_id: str) -> AssignmentStatus:
        """The assignment as the coordinator tells it."""
        if task_id.startswith("rollback-"):
            return (await self.coordinator.get_rollback_status(task_id)).instances[0]
        return (await self.coordinator.get_deployment_status(task_id)).instances[0]

    async def ended(self, attempt: Attempt) -> AssignmentStatus:
        """Wait until it has ended."""
        return await until(
            lambda: self.part(attempt.task_id),
            lambda part: part.phase.ended,
            within=BACK_WITHIN,
            every=QUICK,
        )

    async def at_rest(self, attempt: Attempt) -> AssignmentStatus:
        """Wait until the task has ended and the agent has nothing more to do for it."""
        part = await self.ended(attempt)
        await until(self._remains.restless, lambda left: not left, every=QUICK, within=10)
        return part

    async def serves(self) -> list[str]:
        """What is wrong with the version that should run, and with what is told of it."""
        wrong = list(self._remains.wrong(self.running))
        row = await self.shown()
        if row.version != self.running:
            wrong.append(f"the coordinator shows {row}")
        return wrong

    async def clean(self) -> list[str]:
        """What lies on the disk and should not, once the agent had its chance to tidy."""
        with contextlib.suppress(AssertionError):
            await until(lambda: not self._remains.restless(), every=QUICK, within=5)
        return list(self._remains.rubbish())

    async def truth(self, attempt: Attempt) -> list[str]:
        """Everything that is not as it must be, now that the attempt has ended."""
        wrong = [left] if (left := await self._left()) else []
        wrong += self._remains.wrong(attempt.runs)
        wrong += await self._coordinator_is_wrong(attempt)
        return wrong

    async def _left(self) -> str:
        """What it has not done within 5 s. One look at rest is enough: it may save again later."""
        try:
            return await until(self._remains.restless, lambda left: not left, every=QUICK, within=5)
        except AssertionError:
            return self._remains.restless()

    async def _coordinator_is_wrong(self, attempt: Attempt) -> list[str]:
        wrong = []
        part = await self.part(attempt.task_id)
        if part.phase is not (Phase.COMPLETED if attempt.succeeds else Phase.FAILED):
            wrong.append(f"the assignment is {part}")
        row = await self._shown()
        if row is None or row.version != attempt.runs:
            wrong.append(f"the coordinator shows {row}")
        history = await self.coordinator.get_instance_version_history(self.instance_id)
        told = [one for one in history.history if one.deploy_id == attempt.task_id]
        if len(told) != 1:
            wrong.append(f"the history has {len(told)} rows of {attempt.task_id}")
        ends = [one async for one in self._ends(attempt)]
        if len(ends) != 1:
            wrong.append(f"it was told to have ended by {ends}")
        return wrong

    async def _ends(self, attempt: Attempt) -> AsyncIterator[Event]:
        """The events that tell of the attempt's end."""
        newest = await self.coordinator._store.last_event()
        async for event in self.coordinator.events(attempt.since):
            about = event.kind == "assignment" and event.data["task_id"] == attempt.task_id
            if about and Phase(event.data["phase"]).ended:
                yield event
            if event.seq >= newest:
                return
