"""An agent inside the test's own process: all of it is real but the services.

Journal, releases, worker, connection and enrolment (mutual TLS) are the agent's own; each
instance has a `FakeDriver` and a `FakeCheck`, so that a deployment takes milliseconds.
What is left out of `agent.app.run`: settings files, drivers, and announcing on the LAN.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from agent import csr
from agent.connection import Connection
from agent.dialogue import Dialogue
from agent.download import PackageSource
from agent.enroll import enroll
from agent.identity import Identity, tidy
from agent.instance import Instance
from agent.journal import Journal, Known
from agent.keys import NewKey
from agent.pins import Pins
from agent.preparer import Preparer
from agent.releases import Releases
from agent.renewal import Renewal
from agent.worker import Worker
from tests.parts.fake_driver import FakeDriver
from tests.parts.waiting import until

BOOT = "this-boot"


class FakeCheck:
    """Healthy unless the version that `current` names is in `sick`, by its reason."""

    def __init__(self) -> None:
        self.sick: dict[str, str] = {}
        self.probed: list[str] = []
        """The version at each probe, the oldest first."""

    async def probe(self, current: Path, timeout: float) -> str:
        version = version_at(current)
        self.probed.append(version)
        return self.sick.get(version, "")


@dataclass(eq=False)
class LocalInstance:
    """One instance of a `LocalAgent`, and the levers of its service. Times are seconds."""

    instance_id: str
    service: str = "user-service"
    port: int = 8080
    address: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    check_timeout: float = 0.1
    driver: FakeDriver = field(default_factory=FakeDriver)
    check: FakeCheck = field(default_factory=FakeCheck)

    def under(self, root: Path, keep_releases: int) -> Instance:
        return Instance(
            instance_id=self.instance_id,
            service=self.service,
            port=self.port,
            address=self.address,
            metadata=self.metadata,
            releases=Releases(root),
            driver=self.driver,
            check=self.check,
            check_interval=0.02,
            check_timeout=self.check_timeout,
            check_stable=0.0,
            keep_releases=keep_releases,
        )


class LocalAgent:
    """One host. `source` may be shared by many agents; else it is made of `package_ca_file`."""

    def __init__(
        self,
        folder: Path,
        host_id: str,
        instances: Sequence[LocalInstance],
        *,
        url: str,
        join_token: str,
        package_ca_file: Path | None = None,
        source: PackageSource | None = None,
        keep_releases: int = 3,
        draw: Callable[[], float] = random.random,
        new_key: Callable[[str], Awaitable[NewKey]] | None = None,
    ) -> None:
        self._draw = draw
        self.new_key = new_key or new_key_here
        self.host_id = host_id
        self.state_dir = folder / host_id
        self.instances = {one.instance_id: one for one in instances}
        self._url = url
        self.join_token = join_token
        self._package_ca_file = package_ca_file
        self._shared_source = source
        self._keep_releases = keep_releases
        self._stack = contextlib.AsyncExitStack()
        self._connection = Connection(host_id, BOOT, Dialogue(), draw)
        self._renewal: Renewal
        self.pins = Pins()
        self._link: asyncio.Task[None] | None = None
        self._workers: dict[str, Worker] = {}

    async def start(self) -> None:
        """Join at the first start, take up what the last run left, and connect."""
        tidy(self.state_dir)
        self._renewal = Renewal(await self.join(), self.new_key)
        journal = Journal(self.state_dir / "journal")
        journal.open()
        source = self._shared_source or PackageSource(self._package_ca_file)
        if self._shared_source is None:
            self._stack.push_async_callback(source.close)
        dialogue = Dialogue()
        self._connection = Connection(self.host_id, BOOT, dialogue, self._draw)
        self.pins = Pins.open(self.state_dir / "pins.json")
        self._workers = workers = {}
        for name, local in self.instances.items():
            instance = local.under(self.root(name), self._keep_releases)
            worker = Worker(instance, journal, Preparer(source, self.pins), dialogue, BOOT)
            self._stack.push_async_callback(worker.stop)
            await worker.recover()
            workers[name] = worker
        dialogue.attach(workers, journal.past, self._renewal, self.pins)
        self._connect()

    async def stop(self) -> None:
        """End as an agent does that is told to: what is in hand is left to the next start."""
        await self.cut_off()
        await self._renewal.stop()
        await self._stack.aclose()

    async def cut_off(self) -> None:
        """Take the network to the coordinator away; the agent works on."""
        link, self._link = self._link, None
        if link is not None:
            if link.done():
                link.result()
            link.cancel()
            await asyncio.wait([link])

    async def let_back(self) -> None:
        """Give the network back."""
        self._connect()

    async def join(self) -> Identity:
        """The host's identity; without one it joins."""
        known = Identity.load(self.state_dir)
        return known or await enroll(
            self.state_dir, self.host_id, self._url, self.join_token, _key_and_request_here
        )

    async def verify(self, instance_id: str) -> None:
        """Look through the instance's releases, as the agent does in the background, and tell."""
        verifier = self._workers[instance_id].verifier
        await until(verifier.at_rest)
        for release in Releases(self.root(instance_id)).all():
            known = Known(release.version, release.digest)
            await asyncio.to_thread(verifier.look, known, lambda: False)
        verifier.tell()

    def root(self, instance_id: str) -> Path:
        """The folder that holds the instance's releases/ and the link `current`."""
        return self.state_dir / "instances" / instance_id

    def current(self, instance_id: str) -> str:
        """The version that `current` names; "" if there is no such link."""
        return version_at(self.root(instance_id) / "current")

    def on_disk(self, instance_id: str) -> set[str]:
        """The versions whose releases are on the disk."""
        return {release.version for release in Releases(self.root(instance_id)).all()}

    async def find_url(self) -> str:
        """Where the coordinator is; asked before each dial."""
        return self._url

    def _connect(self) -> None:
        self._link = asyncio.create_task(self._connection.run(self._renewal.tls, self.find_url))

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()


def version_at(current: Path) -> str:
    """The version of the release that a link leads to; "" if there is no link."""
    return current.resolve().name.rpartition("-")[0] if current.is_symlink() else ""


async def new_key_here(host_id: str) -> NewKey:
    """A new key and a request, made without a process."""
    return NewKey.of(csr_here("-", host_id))


async def _key_and_request_here(file: Path, host_id: str) -> str:
    return csr_here(str(file), host_id)


def csr_here(key_file: str, host_id: str) -> str:
    """What the process of `agent.csr` does, without the process: a load test has many hosts."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        assert csr.main([key_file, host_id]) == 0
    return said.getvalue()
