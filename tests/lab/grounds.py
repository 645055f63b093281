"""Where services that misbehave are tried: on loopback (`process`), on a host (`systemd`).

A ground starts one agent with an instance for each kind, does to it what its case says, and
tells what is on its disk and which processes live. It judges nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import NamedTuple

from agent.drivers.procfs import parse_stat
from tests.e2e.conftest import System, running
from tests.lab.fleet import AGENT, LIBRARY, STATE, FleetOnHosts
from tests.lab.host import PYTHON, SystemdHost
from tests.lab.installation import install_agent
from tests.lab.misbehaving import BYSTANDER, HEALTHY_WITHIN, Kind, Spoiled
from tests.lab.network import switch
from tests.parts.operator import Operator
from tests.parts.service import odd_package

_SQUATTER = """
import socket, sys, time
print("waiting", flush=True)
while True:
    place = socket.socket()
    place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        place.bind((sys.argv[1], int(sys.argv[2])))
        place.listen()
        break
    except OSError:
        place.close()
        time.sleep(0.001)
while True:
    place.accept()[0].close()
"""


class Process(NamedTuple):
    """One process, for ever: start time in clock ticks."""

    pid: int
    start: int


class Ground(ABC):
    """One agent and an operator. `ports` are the instances' by name."""

    driver: str
    operator: Operator
    ports: dict[str, int]
    notes: Path
    """Where the services' notes are, as the test reads them."""

    @abstractmethod
    def package(self, version: str, behaviour: str, kind: Kind | None) -> bytes:
        """A version of a service that this ground can run."""

    @abstractmethod
    async def spoil(self, name: str, what: Spoiled) -> None:
        """Do this to the instance's surroundings; back when it is done."""

    @abstractmethod
    async def living(self) -> set[Process]:
        """All processes that live, as their own host numbers them."""

    @abstractmethod
    def journal(self, name: str) -> Path:
        """The agent's record of an instance."""

    @abstractmethod
    def root(self, name: str) -> Path:
        """The folder that holds the instance's releases/ and the link `current`."""

    @abstractmethod
    def output(self, name: str) -> Path:
        """The folder in which the driver keeps the service's output, if it does."""

    def noted(self, name: str, version: str) -> set[Process]:
        """The processes that an instance's service has ever had of a version."""
        notes = self.notes / str(self.ports[name])
        lines = notes.read_text().splitlines() if notes.exists() else []
        words = [line.split() for line in lines]
        return {Process(int(pid), int(start)) for seen, pid, start in words if seen == version}

    def releases(self, name: str) -> set[str]:
        """The versions whose releases are on the disk."""
        found = (self.root(name) / "releases").glob("[!.]*")
        return {path.name.rpartition("-")[0] for path in found}


class Loopback(Ground):
    """Daemons of this machine; the driver `process`."""

    driver = "process"

    def __init__(self, system: System, folder: Path, stack: AsyncExitStack) -> None:
        self.operator = self._system = system
        self.ports = system.ports
        self.notes = folder / "notes"
        self._starters = folder / "starters"
        self._stack = stack

    async def open(self, kinds: Sequence[Kind], stable: float) -> None:
        self.notes.mkdir()
        self._starters.mkdir()
        check = {"timeout": HEALTHY_WITHIN, "stable": stable}
        instances = [self._system.http_instance(BYSTANDER, check=check)]
        for kind in kinds:
            command = ["./bin/server"]
            if wrapped := kind.process.wrapped:
                starter = self._starters / kind.name
                starter.write_text(f"#!/bin/sh\n{wrapped}\n")
                starter.chmod(0o755)
                command.insert(0, str(starter))
            instances.append(self._system.http_instance(kind.name, check=check, command=command))
        self._agent = await self._system.agent("host-a", *instances)

    def package(self, version: str, behaviour: str, kind: Kind | None) -> bytes:
        return odd_package(
            version,
            behaviour,
            notes=str(self.notes),
            elsewhere=self.ports[BYSTANDER],
            spoil=f"rm {self._starters / kind.name}" if kind else "",
            mode=kind.mode if kind else 0o755,
        )

    async def spoil(self, name: str, what: Spoiled) -> None:
        match what:
            case Spoiled.STARTER_GONE:
                (self._starters / name).unlink()
            case Spoiled.STARTER_BARRED:
                (self._starters / name).chmod(0o644)
            case Spoiled.PORT_SQUATTED:
                await self._stack.enter_async_context(_squatter(self.ports[name]))

    async def living(self) -> set[Process]:
        return await asyncio.to_thread(_living_here)

    def journal(self, name: str) -> Path:
        return self._agent.state_dir / "journal" / f"{name}.json"

    def root(self, name: str) -> Path:
        return self._agent.root(name)

    def output(self, name: str) -> Path:
        return self._agent.state_dir / "services" / name


_AGENT = """
host_id = "a"
join_token_file = "/etc/ferryman/join.token"
package_ca_file = "/etc/ferryman/packages-ca.pem"
"""
_INSTANCE = """
[[instances]]
id = "{name}"
service = "user-service"
port = {port}
root = "/srv/{name}"
driver = "systemd"
unit = "{name}.service"
[instances.health_check]
http = "http://127.0.0.1:{port}/healthz"
interval = 0.1
timeout = {timeout}
stable = {stable}
"""
_UNIT = f"""
[Unit]
StartLimitIntervalSec=0
[Service]
Type=exec
WorkingDirectory=/srv/{{name}}/current
ExecStart=/srv/{{name}}/current/bin/server
Environment=PORT={{port}} LD_LIBRARY_PATH={LIBRARY}
"""
_UNITS = "/usr/lib/systemd/system"
_NOTES = "/srv/notes"


class _Fleet(FleetOnHosts):
    """A coordinator's host and an agent's, whose instances are units with a fault each."""

    def planned(self, kinds: Sequence[Kind], stable: float) -> None:
        """Say which instances the agent will have, before it is started."""
        self._units = {BYSTANDER: (), **{kind.name: kind.systemd.unit for kind in kinds}}
        self._stable = stable
        self.ports = {name: port for port, name in enumerate(self._units, 9000)}

    @property
    def instances(self) -> list[str]:
        return list(self.ports)

    def service_url(self, instance_id: str) -> str:
        return f"http://{self.agents['a'].address}:{self.ports[instance_id]}/"

    async def _start_agent(self, host: SystemdHost, token: str, check_timeout: float) -> None:
        times = {"timeout": check_timeout, "stable": self._stable}
        instances = [_INSTANCE.format(name=n, port=p, **times) for n, p in self.ports.items()]
        host.write("/etc/ferryman/join.token", token, mode=0o600)
        host.write("/etc/ferryman/packages-ca.pem", self.packages.ca_file.read_text())
        for name, port in self.ports.items():
            lines = (_UNIT.format(name=name, port=port), *self._units[name], "")
            host.write(f"{_UNITS}/{name}.service", "\n".join(lines))
        host.files(_NOTES).mkdir(parents=True)
        await install_agent(host, _AGENT + "".join(instances))
        await host.run("systemctl", "start", AGENT)


class OnHost(Ground):
    """Daemons on hosts, each with a systemd of its own; the driver `systemd`."""

    driver = "systemd"

    def __init__(self, fleet: _Fleet) -> None:
        self.operator = fleet
        self.ports = fleet.ports
        self._host = fleet.agents["a"]
        self.notes = self._host.files(_NOTES)

    def package(self, version: str, behaviour: str, kind: Kind | None) -> bytes:
        unit = f"/etc/systemd/system/{kind.name}.service" if kind else ""
        return odd_package(
            version,
            behaviour,
            notes=_NOTES,
            elsewhere=self.ports[BYSTANDER],
            spoil=f"ln -s /dev/null {unit}; systemctl daemon-reload",
            mode=kind.mode if kind else 0o755,
            python=PYTHON,
            address="0.0.0.0",
        )

    async def spoil(self, name: str, what: Spoiled) -> None:
        unit = f"{name}.service"
        match what:
            case Spoiled.STARTER_GONE:
                await self._host.run("rm", f"{_UNITS}/{unit}")
            case Spoiled.STARTER_BARRED:
                self._host.files(f"/etc/systemd/system/{unit}").symlink_to("/dev/null")
            case Spoiled.USER_GONE:
                user = "[Service]\nUser=ferryman-ghost\n"
                self._host.write(f"/etc/systemd/system/{unit}.d/user.conf", user)
            case Spoiled.PORT_SQUATTED:
                squat = (PYTHON, "-ISc", _SQUATTER, "0.0.0.0", str(self.ports[name]))
                lines = (f"--setenv=LD_LIBRARY_PATH={LIBRARY}", "--unit=squatter", "--quiet")
                await self._host.run("systemd-run", *lines, *squat)
        await self._host.run("systemctl", "daemon-reload")

    async def living(self) -> set[Process]:
        said = await self._host.run("sh", "-c", "cat /proc/[0-9]*/stat", check=False)
        return _alive(said.output)

    def journal(self, name: str) -> Path:
        return self._host.files(f"{STATE}/journal/{name}.json")

    def root(self, name: str) -> Path:
        return self._host.files(f"/srv/{name}")

    def output(self, name: str) -> Path:
        return self._host.files(f"{STATE}/services/{name}")


@asynccontextmanager
async def ground(
    driver: str, folder: Path, kinds: Sequence[Kind], *, stable: float
) -> AsyncIterator[Ground]:
    """A ground for a driver; what was made for it is gone at the end. `stable` is seconds."""
    async with AsyncExitStack() as stack:
        if driver == "process":
            system = await stack.enter_async_context(running(folder))
            loopback = Loopback(system, folder, stack)
            await loopback.open(kinds, stable)
            yield loopback
        else:
            lan = await stack.enter_async_context(switch())
            fleet = _Fleet(folder, stack, heartbeat=1.0, clocks=False)
            fleet.planned(kinds, stable)
            await fleet.open(lan, ("a",), HEALTHY_WITHIN)
            yield OnHost(fleet)


@asynccontextmanager
async def _squatter(port: int) -> AsyncIterator[None]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-ISc", _SQUATTER, "127.0.0.1", str(port)),
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        await process.stdout.readline()
        yield
    finally:
        process.kill()
        await process.communicate()


def _living_here() -> set[Process]:
    stats = []
    for process in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            stats.append(process.read_text())
    return _alive("".join(stats))


def _alive(stats: str) -> set[Process]:
    read = (parse_stat(line) for line in stats.splitlines())
    return {Process(stat.pid, stat.start) for stat in read if stat and not stat.dead}
