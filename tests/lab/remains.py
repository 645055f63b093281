"""What a host shows of its one instance: its disk and its processes, without asking its agent.

What must hold is said here for the disk alone; what the coordinator says is not looked at.
An agent at rest has nothing in its folder but what `_at_rest` names: all else is rubbish.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from agent.drivers.procfs import ProcessId, parse_stat
from agent.journal import Journal
from agent.ports import StepError
from agent.releases import Releases
from tests.lab.users import pids

SERVICE_FILES = ("lock", "process", "exit", "output.log", "output.log.1")
"""What the driver keeps of a service."""


@dataclass(frozen=True)
class Remains:
    """An instance under an agent's folder."""

    state_dir: Path
    instance_id: str
    keep_releases: int
    installed: bool
    """Whether a version ran before: `current` has to lead somewhere, then."""
    given_up: Sequence[str] = ()
    """The host's earlier instances; what they left may stay."""

    @property
    def root(self) -> Path:
        """The instance's folder."""
        return self.state_dir / "instances" / self.instance_id

    def restless(self) -> str:
        """What the agent still has to do for it; "" for nothing."""
        path = self.state_dir / "journal" / f"{self.instance_id}.json"
        try:
            record = json.loads(path.read_bytes())
        except OSError as error:
            return str(error)
        if record["work"] or record["unsent"]:
            return "something is in hand or not acknowledged"
        if self._starting():
            return "the service is not in its release yet"
        return "; ".join(self.rubbish())

    def _starting(self) -> bool:
        """Whether the driver has noted a process that is still to become the service."""
        noted = self.state_dir / "services" / self.instance_id / "process"
        with contextlib.suppress(OSError):
            boot, line, *_ = [*noted.read_text().splitlines(), "", ""]
            if (stat := parse_stat(line)) and ProcessId(stat.pid, stat.start, boot).exists():
                return os.readlink(f"/proc/{stat.pid}/cwd") == "/"
        return False

    def torn(self) -> str:
        """What is wrong with the release that `current` leads to; "" if it is whole, or none is.

        It must hold at every moment, also before the agent has looked after its host.
        """
        releases = Releases(self.root)
        current = releases.current()
        if current is None:
            return "current leads nowhere" if self.installed or self._leads_somewhere() else ""
        try:
            releases.verify(current)
        except StepError as error:
            return str(error)
        return ""

    def _leads_somewhere(self) -> bool:
        return (self.root / "current").is_symlink()

    def wrong(self, expected: str) -> Iterator[str]:
        """Where the disk or the processes are not as with this version; "" is none."""
        if torn := self.torn():
            yield torn
        current = Releases(self.root).current()
        if expected == "":
            left = [*self._services(), *(one.path.name for one in Releases(self.root).all())]
            if current is not None or left:
                yield f"something is left although nothing was deployed: {left}"
            return
        if current is None or current.version != expected:
            yield f"current is {current}, not {expected}"
            return
        record = Journal(self.state_dir / "journal").load(self.instance_id)
        if record.current is None or record.current.version != expected:
            yield f"the journal says {record.current}"
        homes = list(self._services())
        if homes != [str(current.path)]:
            yield f"services run in {homes}, not one in {current.path}"

    def _services(self) -> Iterator[str]:
        """The release in which each process of the service runs."""
        prefix = f"{self.root}/releases/"
        for pid in pids():
            with contextlib.suppress(OSError):
                home = os.readlink(f"/proc/{pid}/cwd")
                if home.startswith(prefix):
                    yield home

    def rubbish(self) -> Iterator[str]:
        """Whatever lies on the disk and belongs to no release, journal or identity."""
        folder = self.root / "releases"
        names = set(_names(folder))
        shown = {name for name in names if not name.startswith(".")}
        beside = {f".{name}.{kind}" for name in shown for kind in ("manifest", "proof")}
        for name in names - shown - beside:
            yield f"releases/{name} is rubbish"
        for name in shown:
            if f".{name}.manifest" not in names:
                yield f"releases/{name} has no manifest"
        if len(shown) > self.keep_releases + 1:
            yield f"{len(shown)} releases are kept"
        found = {path.relative_to(self.state_dir).as_posix() for path in _walk(self.state_dir)}
        yield from (f"{name} is rubbish" for name in sorted(found - self._at_rest()))

    def _at_rest(self) -> set[str]:
        """All names that a host with nothing in hand may have, but for those in `releases`."""
        names = {"agent.lock", "agent.pem", "ca.pem", "instances", "journal", "services"}
        names.add("journal/past.jsonl")
        for instance in (*self.given_up, self.instance_id):
            root, service = f"instances/{instance}", f"services/{instance}"
            names |= {root, f"{root}/current", f"{root}/releases", service}
            names |= {f"{service}/{name}" for name in SERVICE_FILES}
            names.add(f"journal/{instance}.json")
        return names


def _walk(folder: Path) -> Iterator[Path]:
    """All that lies in a folder, without what is in `releases`."""
    with contextlib.suppress(FileNotFoundError):
        for entry in os.scandir(folder):
            yield Path(entry.path)
            if entry.is_dir(follow_symlinks=False) and entry.name != "releases":
                yield from _walk(Path(entry.path))


def _names(folder: Path) -> list[str]:
    return os.listdir(folder) if folder.is_dir() else []
