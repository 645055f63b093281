"""A fleet on real hosts: a coordinator and agents under their shipped units, and an operator.

Each agent finds the coordinator by mDNS. Agent host `a` has the instance `unit-a`, a unit
of the operator's own that the driver `systemd` starts and stops, and `command-a`, which
the agent starts itself (driver `process`). The operator sits at a desk on the same switch.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from agent.journal import Journal, Record
from agent.releases import Releases
from coordinator.client import AsyncClient
from protocol.access import TokenParams
from protocol.messages import Step
from protocol.models import ServiceInstance
from protocol.states import InstanceStatus, TaskState
from tests.lab.desk import desk
from tests.lab.host import PYTHON, PYTHON_ENVIRONMENT, SystemdHost
from tests.lab.installation import enable, install_agent, install_coordinator
from tests.lab.network import Switch, switch
from tests.parts.daemons import connected
from tests.parts.operator import Operator
from tests.parts.package_server import PackageServer
from tests.parts.service import service_package
from tests.parts.waiting import until

AGENT = "ferryman-agent.service"
COORDINATOR = "ferryman-coordinator.service"
UNIT_PORT = 8080
COMMAND_PORT = 8081
STATE = "/var/lib/ferryman-agent"
LIBRARY = PYTHON_ENVIRONMENT["LD_LIBRARY_PATH"]

_COORDINATOR = """
listen = "{address}:7420"
heartbeat_interval = {heartbeat}
"""

_AGENT = """
host_id = "{name}"
join_token_file = "/etc/ferryman/join.token"
package_ca_file = "/etc/ferryman/packages-ca.pem"

[[instances]]
id = "unit-{name}"
service = "user-service"
port = {unit_port}
root = "/srv/user-service"
driver = "systemd"
unit = "user-service.service"
[instances.health_check]
http = "http://127.0.0.1:{unit_port}/healthz"
interval = 0.1
timeout = {timeout}
stable = 1
"""

_COMMAND = """
[[instances]]
id = "command-{name}"
service = "user-service"
port = {command_port}
driver = "process"
command = ["./bin/server"]
environment = {{ LD_LIBRARY_PATH = "{library}" }}
[instances.health_check]
http = "http://127.0.0.1:{command_port}/healthz"
interval = 0.1
timeout = {timeout}
stable = 1
"""

_OPERATORS_UNIT = f"""
[Unit]
Description=The user service, started by the host and by Ferryman

[Service]
Type=exec
WorkingDirectory=/srv/user-service/current
ExecStart=/srv/user-service/current/bin/server
Environment=PORT={UNIT_PORT} LD_LIBRARY_PATH={LIBRARY}

[Install]
WantedBy=multi-user.target
"""


class FleetOnHosts(Operator):
    """What a scenario needs; `agents` are the agents' hosts by name. Times are seconds."""

    def __init__(
        self,
        folder: Path,
        stack: AsyncExitStack,
        *,
        heartbeat: float,
        clocks: bool,
        own_user: bool = False,
    ) -> None:
        super().__init__()
        self._own_user = own_user
        self.heartbeat = heartbeat
        self._clocks = clocks
        self.coordinator: SystemdHost
        self.agents: dict[str, SystemdHost] = {}
        self._folder = folder
        self._stack = stack

    async def open(self, lan: Switch, names: tuple[str, ...], check_timeout: float) -> None:
        """Boot all hosts and start the daemons; back when every instance is connected."""
        place = await self._stack.enter_async_context(desk(lan))
        self.packages = PackageServer(self._folder, host=place.address)
        await self._stack.enter_async_context(self.packages)
        self.coordinator = SystemdHost("coordinator", lan)
        self.agents = {name: SystemdHost(name, lan) for name in names}
        async with asyncio.TaskGroup() as tasks:
            for host in (self.coordinator, *self.agents.values()):
                tasks.create_task(self._stack.enter_async_context(host))
        await self._start_coordinator()
        created = await self.client.create_token(TokenParams(role="join", ttl=3600))
        async with asyncio.TaskGroup() as tasks:
            for host in self.agents.values():
                tasks.create_task(self._start_agent(host, created.secret, check_timeout))
        await connected(self.client, *self.instances)

    async def _start_coordinator(self) -> None:
        host = self.coordinator
        config = _COORDINATOR.format(address=host.address, heartbeat=self.heartbeat)
        await install_coordinator(host, config, clocks=self._clocks)
        await host.run("systemctl", "start", COORDINATOR)
        data = host.files("/var/lib/ferryman")
        token = (data / "admin.token").read_text().strip()
        client = AsyncClient(f"https://{host.address}:7420", token, data / "ca.pem")
        self.client = await self._stack.enter_async_context(client)

    async def _start_agent(self, host: SystemdHost, token: str, check_timeout: float) -> None:
        config = (_AGENT if self._own_user else _AGENT + _COMMAND).format(
            name=host.name,
            unit_port=UNIT_PORT,
            command_port=COMMAND_PORT,
            library=LIBRARY,
            timeout=check_timeout,
        )
        own_user = self._own_user
        await install_agent(host, config, clocks=self._clocks, own_user=own_user)
        host.write("/etc/ferryman/join.token", token, mode=0o600)
        if own_user:
            await host.run("chown", "ferryman-agent", "/etc/ferryman/join.token")
        host.write("/etc/ferryman/packages-ca.pem", self.packages.ca_file.read_text())
        host.write("/etc/systemd/system/user-service.service", _OPERATORS_UNIT)
        await enable(host, "user-service.service")
        await host.run("systemctl", "start", AGENT)

    async def mended(self) -> None:
        """Undo what a scenario left behind: unfinished tasks, and what its hosts had lost."""
        agents = self.agents.values()
        await self.coordinator.heal(*agents)
        for host in (self.coordinator, *agents):
            await host.heal()
            await host.free_disk()
            if self._clocks:
                host.clock(timedelta())
            if not host.powered:
                await host.power_on()
        for task in (await self.client.list_deployments()).deployments:
            if not task.status.ended:
                await self.client.cancel_deployment(task.deploy_id)
        await connected(self.client, *self.instances)
        for task in (await self.client.list_deployments()).deployments:
            await self.ended(task.deploy_id)

    @property
    def instances(self) -> list[str]:
        """Every instance's id."""
        return [name for host in self.agents for name in self.on(host)]

    def on(self, host_id: str) -> list[str]:
        """The ids of a host's instances: driver `systemd`, and driver `process` under root."""
        kinds = ("unit",) if self._own_user else ("unit", "command")
        return [f"{kind}-{host_id}" for kind in kinds]

    def package(self, version: str, **behaviour: Any) -> bytes:
        """A version of the service that a host can run and that the LAN can ask."""
        return service_package(version, python=PYTHON, address="0.0.0.0", **behaviour)

    def service_url(self, instance_id: str) -> str:
        """Where the instance's service answers on the LAN."""
        kind, _, name = instance_id.partition("-")
        port = UNIT_PORT if kind == "unit" else COMMAND_PORT
        return f"http://{self.agents[name].address}:{port}/"

    async def answers(self, instances: Iterable[str] = ()) -> set[str]:
        """The versions that these (or all) instances' services answer over the network."""
        return {await self.serving(name) for name in instances or self.instances}

    async def shown(self, instances: Iterable[str] = ()) -> set[tuple[InstanceStatus, bool, str]]:
        """Status, whether connected, and version of these (or all) instances."""
        rows = [await self.instance(name) for name in instances or self.instances]
        return {(row.status, row.connected, row.version) for row in rows}

    async def everywhere(self, version: str, instances: Iterable[str] = ()) -> None:
        """Deploy to these (or all) instances; all of them serve it afterwards."""
        names = list(instances or self.instances)
        done = await self.deployed(version, names)
        assert done.status is TaskState.COMPLETED, [part.error_message for part in done.instances]
        assert await self.answers(names) == {version}

    async def seen_away_in_time(self, instance_id: str) -> ServiceInstance:
        """Wait until the instance is shown as not connected: within three heartbeats."""
        looked = datetime.now(UTC)
        while (row := await self.instance(instance_id)).connected:
            last_seen_connected, looked = looked, datetime.now(UTC)
            assert last_seen_connected - row.last_heartbeat <= timedelta(seconds=3 * self.heartbeat)
        assert row.reason.startswith("agent not connected: silent since ")
        return row

    def journal_file(self, instance_id: str) -> str:
        """Where the instance's record is on its host."""
        return f"{STATE}/journal/{instance_id}.json"

    def journal(self, instance_id: str) -> Record:
        """What the instance's agent has on its disk about it, whether it runs or not."""
        return Journal(self._host_of(instance_id).files(f"{STATE}/journal")).load(instance_id)

    def steps(self) -> set[Step | None]:
        """Where every instance's agent is, by its journal; None is nothing in hand."""
        works = [self.journal(name).work for name in self.instances]
        return {work.step if work else None for work in works}

    def releases(self, instance_id: str) -> Releases:
        """The instance's releases, as they are on its host's disk."""
        kind, _, _ = instance_id.partition("-")
        root = "/srv/user-service" if kind == "unit" else f"{STATE}/instances/{instance_id}"
        return Releases(self._host_of(instance_id).files(root))

    async def intact(self, instance_id: str) -> str:
        """Wait until it runs and is connected; return its one version, which all agree on.

        The service answers it, the coordinator shows it, and `current` names a release of it
        that is whole.
        """
        shown = await until(
            lambda: self.instance(instance_id),
            lambda row: (row.status, row.connected) == (InstanceStatus.RUNNING, True),
        )
        releases = self.releases(instance_id)
        current = releases.current()
        assert current is not None, f"{instance_id}: no current release"
        releases.verify(current)
        assert await self.serving(instance_id) == current.version == shown.version
        return current.version

    def _host_of(self, instance_id: str) -> SystemdHost:
        return self.agents[instance_id.partition("-")[2]]

    async def pids(self) -> list[int]:
        """Each service's main process, as its host numbers it; 0 for none."""
        return [
            await main_pid(host, unit)
            for name, host in self.agents.items()
            for unit in ("user-service.service", f"ferryman-instance-command-{name}.service")
        ]


async def main_pid(host: SystemdHost, unit: str) -> int:
    """The main process of a unit, as its host numbers it; 0 if there is none."""
    shown = await host.run("systemctl", "show", "--property=MainPID", "--value", unit)
    return int(shown.output)


async def replaced(host: SystemdHost, unit: str, pid: int) -> None:
    """Wait until the unit has another main process than `pid`."""
    await until(lambda: main_pid(host, unit), lambda seen: seen not in (0, pid))


@asynccontextmanager
async def fleet_on_hosts(
    folder: Path,
    *names: str,
    heartbeat: float = 1.0,
    check_timeout: float = 20.0,
    clocks: bool = False,
    own_user: bool = False,
) -> AsyncIterator[FleetOnHosts]:
    """A coordinator host and one agent host for each name; all is gone at the end.

    With `clocks` the wall clocks of the daemons can be set. With `own_user` agents are not
    root, and have the driver `systemd` only.
    """
    async with AsyncExitStack() as stack:
        lan = await stack.enter_async_context(switch())
        fleet = FleetOnHosts(folder, stack, heartbeat=heartbeat, clocks=clocks, own_user=own_user)
        await fleet.open(lan, names, check_timeout)
        yield fleet
