"""A host: files and services that outlive the agent, and the real agent's core on it.

Real are the journal, the releases, the preparer's way from disk, the worker, the executor
and the dialogue. Simulated are the services, the download and the connection's loop. All
that the agent does to its host takes time, before and after it is done, so that a kill
finds it at every step.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from agent.download import PackageSource
from agent.instance import Instance
from agent.journal import Journal, Record
from agent.manifest import Entry, EntryKind
from agent.ports import ServiceState, StepError
from agent.preparer import Preparer
from agent.releases import Release, Releases
from protocol.messages import Prepare
from tests.lab.model.process import here
from tests.parts.fake_driver import FakeDriver

SERVICE = "user-service"


class Place:
    """One instance of a host: its service, and what shall go wrong with it, one at a time."""

    def __init__(self, instance_id: str, root: Path) -> None:
        self.instance_id = instance_id
        self.root = root
        self.service = FakeDriver()
        self.sickness: deque[str] = deque()
        """What the next probes say."""
        self.bad_downloads: deque[StepError] = deque()

    def calm(self) -> None:
        """Nothing goes wrong any more."""
        for misfortunes in (
            self.service.refusals,
            self.service.stubbornness,
            self.sickness,
            self.bad_downloads,
        ):
            misfortunes.clear()

    def serves(self) -> str:
        """The release that runs, as its folder's name; "" if none does."""
        return self.service.starts[-1][0].name if self.service.running else ""

    def linked(self) -> str:
        """The release that `current` names; "" if there is no link."""
        link = self.root / "current"
        return link.readlink().name if link.is_symlink() else ""


@dataclass
class Hands:
    """How long an agent's hands take: each touch lasts up to `longest` seconds."""

    chance: random.Random
    longest: float = 0.4

    async def move(self) -> None:
        await asyncio.sleep(self.chance.uniform(0.01, self.longest))
        here()


class SlowDriver:
    """An agent's way to a place's service. Implements `agent.ports.Driver`."""

    def __init__(self, place: Place, hands: Hands) -> None:
        self._place = place
        self._hands = hands

    async def start(self, current: Path, environment: Mapping[str, str]) -> None:
        await self._hands.move()
        await self._place.service.start(current, environment)
        await self._hands.move()

    async def stop(self) -> None:
        await self._hands.move()
        await self._place.service.stop()
        await self._hands.move()

    async def check_startable(self, current: Path) -> None:
        await self._hands.move()
        await self._place.service.check_startable(current)

    async def last_lines(self) -> str:
        here()
        return await self._place.service.last_lines()

    async def state(self) -> ServiceState:
        here()
        return await self._place.service.state()


class SlowCheck:
    """A health check by the place's sickness. Implements `agent.ports.HealthCheck`."""

    def __init__(self, place: Place, hands: Hands) -> None:
        self._place = place
        self._hands = hands

    async def probe(self, current: Path, timeout: float) -> str:
        await self._hands.move()
        return self._place.sickness.popleft() if self._place.sickness else ""


@dataclass
class Packages:
    """The package server: versions and how often their content was changed."""

    changed: dict[str, int] = field(default_factory=dict)

    def content(self, version: str) -> bytes:
        return f"{version} {self.changed.get(version, 0)}".encode()


class SimulatedPreparer(Preparer):
    """Takes what is on disk as the real one does; a download is a file from `packages`."""

    def __init__(self, places: Mapping[str, Place], packages: Packages, hands: Hands) -> None:
        super().__init__(PackageSource(None))
        self._places = places
        self._packages = packages
        self._hands = hands

    async def prepare(
        self,
        instance: Instance,
        record: Record,
        command: Prepare,
        on_progress: Callable[[int, int | None], None],
    ) -> Release:
        from_disk = command.model_copy(update={"package_url": ""})
        try:
            return await super().prepare(instance, record, from_disk, on_progress)
        except StepError:
            if not command.package_url:
                raise
        await self._hands.move()
        on_progress(1, 2)
        await self._hands.move()
        if failures := self._places[instance.instance_id].bad_downloads:
            raise failures.popleft()
        content = self._packages.content(command.version)
        digest = hashlib.sha256(content).hexdigest()
        if command.digest not in ("", digest):
            raise StepError(f"package changed: expected {command.digest}, got {digest}")
        with instance.releases.stage() as staging:
            (staging.path / "VERSION").write_bytes(content)
            entry = Entry(EntryKind.FILE, "VERSION", len(content), 0o644, digest)
            (staging.path / "VERSION").chmod(0o644)
            release = staging.publish(command.version, digest, [entry])
        await self._hands.move()
        return release


def instance_of(place: Place, hands: Hands) -> Instance:
    """The place as an agent serves it."""
    return Instance(
        instance_id=place.instance_id,
        service=SERVICE,
        port=8080,
        address="10.0.0.5",
        metadata={},
        releases=Releases(place.root),
        driver=SlowDriver(place, hands),
        check=SlowCheck(place, hands),
        check_interval=0.1,
        check_timeout=0.0,
        check_stable=0.0,
        keep_releases=2,
        started_by_agent=True,
    )


class WatchedJournal(Journal):
    """A journal whose every record is shown to `watch` as it is saved or loaded.

    `before` and `after` a save the process may be killed.
    """

    def __init__(self, inner: Journal, watch: JournalWatch) -> None:
        self._inner = inner
        self._watch = watch
        self.past = inner.past

    def open(self) -> None:
        self._inner.open()

    def load(self, instance_id: str) -> Record:
        record = self._inner.load(instance_id)
        self._watch.loaded(record)
        return record

    def save(self, record: Record) -> None:
        here()
        self._watch.before_save()
        here()
        self._inner.save(record)
        self._watch.saved(record)
        here()


class JournalWatch:
    """What is told of a journal; the world overrides it."""

    def loaded(self, record: Record) -> None: ...

    def before_save(self) -> None: ...

    def saved(self, record: Record) -> None: ...
