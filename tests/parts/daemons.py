"""Real daemons as processes of their own: a coordinator and agents, on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from agent.drivers.process import ProcessDriver
from coordinator.client import AsyncClient
from protocol.access import TokenParams
from tests.parts.waiting import until

BIN = Path(sys.executable).parent


class Daemon:
    """One process that can be started, stopped, killed and started again."""

    def __init__(self, argv: Sequence[str], log: Path) -> None:
        self._argv = list(argv)
        self.log = log
        self.process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    async def start(self) -> None:
        assert self.process is None
        with self.log.open("ab") as out:
            self.process = await asyncio.create_subprocess_exec(
                *self._argv,
                stdout=asyncio.subprocess.PIPE,
                stderr=out,
                stdin=asyncio.subprocess.DEVNULL,
                start_new_session=True,
            )

    async def heard_ready(self) -> None:
        """Wait for the line on stdout that says `ready`."""
        assert self.process is not None
        assert self.process.stdout is not None
        line = (await self.process.stdout.readline()).decode()
        assert "ready" in line, f"{line!r}; it said:\n{self.said()}"

    async def stop(self, number: int = signal.SIGTERM) -> int:
        """End it with a signal and wait; returns the exit status."""
        process = self.process
        if process is None:
            return 0
        self.process = None
        if process.returncode is None:
            process.send_signal(number)
        await process.communicate()
        assert process.returncode is not None
        return process.returncode

    async def kill(self) -> None:
        await self.stop(signal.SIGKILL)

    def said(self) -> str:
        return self.log.read_text() if self.log.exists() else ""

    def events(self) -> list[dict[str, str]]:
        """What it said with `format = "json"`: each line is an event, or this fails."""
        return [json.loads(line) for line in self.said().splitlines()]

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


def write_json(config: Path) -> None:
    """Have the daemon with this configuration write its log as JSON from its next start on."""
    with config.open("a") as out:
        out.write('\n[log]\nformat = "json"\n')


class CoordinatorDaemon(Daemon):
    """`ferryman-coordinator` on a port that stays the same over restarts."""

    def __init__(self, data_dir: Path, *, heartbeat: float = 0.5, discovery: bool = False) -> None:
        self.data_dir = data_dir
        self.url = f"https://127.0.0.1:{free_port()}"
        self.config = data_dir.parent / f"{data_dir.name}.toml"
        self.config.write_text(
            f'listen = "{self.url.removeprefix("https://")}"\n'
            f'data_dir = "{data_dir}"\n'
            f"heartbeat_interval = {heartbeat}\n"
            f"[discovery]\nenabled = {str(discovery).lower()}\n"
        )
        argv = [str(BIN / "ferryman-coordinator"), "--config", str(self.config)]
        super().__init__(argv, data_dir.parent / f"{data_dir.name}.log")

    async def start(self) -> None:
        await super().start()
        await self.heard_ready()

    @property
    def token(self) -> str:
        return (self.data_dir / "admin.token").read_text().strip()

    @property
    def ca_file(self) -> Path:
        return self.data_dir / "ca.pem"

    def client(self) -> AsyncClient:
        return AsyncClient(self.url, self.token, self.ca_file)

    def environment(self) -> dict[str, str]:
        """What `ferryman` needs to find this coordinator."""
        return {
            **os.environ,
            "FERRYMAN_URL": self.url,
            "FERRYMAN_TOKEN": self.token,
            "FERRYMAN_CA_FILE": str(self.ca_file),
        }

    async def join_token(self) -> str:
        async with self.client() as client:
            created = await client.create_token(TokenParams(role="join", ttl=3600))
        return created.secret


@dataclass
class InstanceSpec:
    """One `[[instances]]` table; `health` and `extra` are written as TOML values."""

    instance_id: str
    service: str = "user-service"
    port: int = 0
    command: Sequence[str] = ("./bin/server",)
    health: Mapping[str, Any] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)

    def toml(self) -> str:
        lines = [
            "[[instances]]",
            f'id = "{self.instance_id}"',
            f'service = "{self.service}"',
            f"port = {self.port}",
            'driver = "process"',
            f"command = {json.dumps(list(self.command))}",
            *(f"{key} = {json.dumps(value)}" for key, value in self.extra.items()),
        ]
        if self.health:
            lines.append("[instances.health_check]")
            lines += [f"{key} = {json.dumps(value)}" for key, value in self.health.items()]
        return "\n".join(lines) + "\n"


class AgentDaemon(Daemon):
    """`ferryman-agent` with its own configuration and state; `packages` is its `[packages]`."""

    def __init__(
        self,
        folder: Path,
        host_id: str,
        instances: Sequence[InstanceSpec],
        *,
        coordinator: str | None,
        join_token: str,
        package_ca_file: Path | None = None,
        keep_releases: int = 3,
        packages: Mapping[str, Any] | None = None,
    ) -> None:
        self.host_id = host_id
        self.instances = list(instances)
        self.state_dir = folder / host_id
        self.config = folder / f"{host_id}.toml"
        head = [
            f'host_id = "{host_id}"',
            f'state_dir = "{self.state_dir}"',
            f"keep_releases = {keep_releases}",
        ]
        if join_token:
            head.append(f'join_token = "{join_token}"')
        if coordinator:
            head.append(f'coordinator = "{coordinator}"')
        if package_ca_file:
            head.append(f'package_ca_file = "{package_ca_file}"')
        if packages:
            head += ["[packages]", *(f"{key} = {json.dumps(it)}" for key, it in packages.items())]
        self.config.write_text(
            "\n".join(head) + "\n\n" + "\n".join(spec.toml() for spec in instances)
        )
        argv = [str(BIN / "ferryman-agent"), "--config", str(self.config)]
        super().__init__(argv, folder / f"{host_id}.log")

    async def return_to_work(self) -> None:
        """Start again, and wait until it is connected."""
        before = self.said().count("connected to ")
        await self.start()
        await until(lambda: self.said().count("connected to ") > before)

    def root(self, instance_id: str) -> Path:
        return self.state_dir / "instances" / instance_id

    def release_names(self, instance_id: str) -> list[str]:
        """Everything in the instance's releases/, hidden things and rubbish, too."""
        folder = self.root(instance_id) / "releases"
        return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []

    def versions_on_disk(self, instance_id: str) -> set[str]:
        """The versions whose releases are on the disk."""
        shown = (name for name in self.release_names(instance_id) if not name.startswith("."))
        return {name.rpartition("-")[0] for name in shown}

    def current(self, instance_id: str) -> str:
        """The version that `current` leads to; "" if there is no such link."""
        link = self.root(instance_id) / "current"
        return link.readlink().name.rpartition("-")[0] if link.is_symlink() else ""

    def service_pids(self, instance_id: str) -> list[int]:
        """The processes that run inside the instance's releases."""
        releases = f"{self.root(instance_id)}/releases/"
        return sorted(pid for pid, folder in _working_folders() if folder.startswith(releases))

    async def stop_services(self) -> None:
        """End the services that this agent started; they outlive it."""
        for spec in self.instances:
            await stop_service(self.state_dir, spec.instance_id, spec.command)


async def stop_service(state_dir: Path, instance_id: str, command: Sequence[str]) -> None:
    """End the service of an instance with the driver `process`, whether its agent runs or not."""
    folder = state_dir / "services" / instance_id
    await ProcessDriver(instance_id, command, folder, {}, grace=1.0).stop()


def _working_folders() -> Iterator[tuple[int, str]]:
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            yield int(process.name), os.readlink(process / "cwd")


def free_port() -> int:
    """A port that nobody listens on, below those that the system gives to outgoing connections."""
    while True:
        port = random.randrange(10_000, 32_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


async def connected(client: AsyncClient, *instance_ids: str) -> None:
    """Wait until these instances are known and connected."""

    async def look() -> set[str]:
        hosts = await client.list_hosts(limit=1000)
        return {name for host in hosts.hosts if host.connected for name in host.instances}

    await until(look, lambda seen: seen >= set(instance_ids))
