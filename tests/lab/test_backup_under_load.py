"""Backups that are taken while a fleet deploys, and a restore killed at every point.

What was acknowledged before a backup began is in it; whatever of it had not ended then ends
on the coordinator that is started in place of the first one. The deployments go on all the
while: through the backups, the kill, the restore and the start.
"""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import AsyncExitStack, closing
from pathlib import Path

import pytest

from agent.download import PackageSource
from coordinator.app import Coordinator
from coordinator.backup import backup
from coordinator.client import AsyncClient
from coordinator.config import DiscoverySettings, Settings
from coordinator.data_dir import DATABASE
from coordinator.restore import restore
from protocol.errors import ConflictError, NotFoundError, UnavailableError
from protocol.models import DeployParams, DeployStatus, InstanceQueryParams
from protocol.states import Phase, TaskState
from tests.lab.tally import Tally
from tests.parts.daemons import BIN, CoordinatorDaemon, connected
from tests.parts.fake_driver import FakeDriver
from tests.parts.killed import killed_everywhere
from tests.parts.local_agent import LocalAgent, LocalInstance
from tests.parts.package_server import PackageServer
from tests.parts.packages import tar_gz
from tests.parts.run import run
from tests.parts.waiting import until

pytestmark = pytest.mark.sweep

SERVICE = "user-service"
HOSTS, INSTANCES_EACH = 4, 2
BACKUPS = 4
TASKS_BEFORE_EACH = 8
"""So many deployments more are acknowledged before the next backup is taken."""
FEWEST_KILL_POINTS = 25
FORGOTTEN = "the agent no longer knows this assignment"
"""What was switching when the backup was taken, on a host that has since taken later tasks."""


class Fleet:
    """Hosts that each get one deployment after the other, as fast as they end."""

    def __init__(self, folder: Path, stack: AsyncExitStack) -> None:
        self._folder = folder
        self._stack = stack
        self.coordinator = CoordinatorDaemon(folder / "coordinator")
        self.acknowledged: set[str] = set()
        self.refused = 0
        """How often a deployment was not acknowledged, or its end could not be asked for."""
        self.forgotten = 0
        """Deployments that were acknowledged after the backup that was restored."""
        self.agents: list[LocalAgent] = []
        self.client: AsyncClient
        self._packages: PackageServer

    async def open(self) -> None:
        enter = self._stack.enter_async_context
        self._packages = await enter(PackageServer(self._folder))
        await enter(self.coordinator)
        self.client = await enter(self.coordinator.client())
        source = await enter(PackageSource(self._packages.ca_file))
        token = await self.coordinator.join_token()
        for host in range(HOSTS):
            names = [f"h{host}-i{number}" for number in range(INSTANCES_EACH)]
            agent = LocalAgent(
                self._folder / "hosts",
                f"host-{host}",
                [LocalInstance(name, check_timeout=5.0) for name in names],
                url=self.coordinator.url,
                join_token=token,
                source=source,
            )
            self.agents.append(await enter(agent))
        await self.connected()

    @property
    def instances(self) -> list[str]:
        return [name for agent in self.agents for name in agent.instances]

    def service(self, number: int) -> FakeDriver:
        """The service of an instance of the `number`th host."""
        return next(iter(self.agents[number].instances.values())).driver

    async def connected(self) -> None:
        await connected(self.client, *self.instances)

    async def deploy(self, deploy_id: str, version: str, instances: list[str]) -> None:
        url = self._packages.put(f"{version}.tar.gz", tar_gz({"VERSION": version.encode()}))
        params = DeployParams(
            service=SERVICE,
            version=version,
            instances=instances,
            package_url=url,
            deploy_id=deploy_id,
            timeout=60,
        )
        await self.client.execute_deployment(params)
        self.acknowledged.add(deploy_id)

    async def acknowledges(self, more: int) -> None:
        """Wait until so many more deployments are acknowledged."""
        enough = len(self.acknowledged) + more
        await until(lambda: len(self.acknowledged), lambda seen: seen >= enough)

    async def ended(self, deploy_id: str) -> DeployStatus:
        return await until(
            lambda: self.client.get_deployment_status(deploy_id), lambda seen: seen.status.ended
        )

    async def keep_deploying(self, agent: LocalAgent, enough: asyncio.Event) -> None:
        """One after the other, also while the coordinator is away, or has older ones to end."""
        number = 0
        while not enough.is_set():
            number += 1
            deploy_id = f"{agent.host_id}-{number}"
            try:
                await self.deploy(deploy_id, f"v{number}", list(agent.instances))
                ended = await self.ended(deploy_id)
            except (UnavailableError, ConflictError):
                self.refused += 1
                await asyncio.sleep(0.1)
            except NotFoundError:
                self.forgotten += 1
            else:
                assert ended.status is TaskState.COMPLETED, ended

    async def versions(self) -> dict[str, str]:
        """What the coordinator says that runs, by instance."""
        shown = await self.client.get_service_instances(
            InstanceQueryParams(service_name=SERVICE, limit=1000)
        )
        return {row.instance_id: row.version for row in shown.instances if row.connected}

    def truth(self) -> dict[str, str]:
        """What the hosts' links say."""
        return {name: agent.current(name) for agent in self.agents for name in agent.instances}


@pytest.mark.timeout(300)
async def test_backups_under_load_hold_all_that_was_acknowledged(
    tmp_path: Path, tally: Tally
) -> None:
    async with AsyncExitStack() as stack:
        fleet = Fleet(tmp_path, stack)
        await fleet.open()
        enough = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            for agent in fleet.agents:
                group.create_task(fleet.keep_deploying(agent, enough))
            promised = await backed_up_under_load(fleet, tmp_path)
            assert len(fleet.acknowledged) >= BACKUPS * TASKS_BEFORE_EACH

            under_way = {}
            for file, acknowledged in promised.items():
                restore(file, data_dir=file.with_suffix(".restored"))
                states = states_in(file.with_suffix(".restored") / DATABASE)
                lost = len(acknowledged - states.keys())
                tally(points=len(acknowledged), lost=lost)
                assert lost == 0
                under_way[file] = [name for name, state in states.items() if state == "in_progress"]
            assert all(under_way.values()), "a backup was taken with nothing under way"

            busiest = max(promised, key=lambda file: len(under_way[file]))
            await fleet.coordinator.kill()
            folder = str(fleet.coordinator.data_dir)
            told = await command("restore", str(busiest), "--data-dir", folder)
            assert "what was there is in" in told
            assert fleet.refused, "nobody deployed while it was away"
            await fleet.coordinator.start()
            await fleet.connected()
            await fleet.acknowledges(TASKS_BEFORE_EACH)
            enough.set()
        for deploy_id in states_in(fleet.coordinator.data_dir / DATABASE):
            for part in (await fleet.ended(deploy_id)).instances:
                assert part.phase is Phase.COMPLETED or FORGOTTEN in part.reason, part
        assert await until(fleet.versions, lambda seen: seen == fleet.truth())
        await fleet.deploy("afterwards", "v-last", fleet.instances)
        assert (await fleet.ended("afterwards")).status is TaskState.COMPLETED
        assert set(fleet.truth().values()) == {"v-last"}
        said = fleet.coordinator.said()
        assert "Traceback" not in said, said[-20_000:]


async def backed_up_under_load(fleet: Fleet, folder: Path) -> dict[Path, set[str]]:
    """Backups taken while every host is being deployed to; what each one must hold.

    During each of them one host is in the middle of a switch for as long as it takes.
    """
    promised = {}
    for number in range(BACKUPS):
        await fleet.acknowledges(TASKS_BEFORE_EACH)
        switching = fleet.service(number).hold("start")
        await switching.reached.wait()
        file, acknowledged = folder / f"{number}.backup", set(fleet.acknowledged)
        await command("backup", str(file), "--data-dir", str(fleet.coordinator.data_dir))
        switching.open()
        promised[file] = acknowledged
        await fleet.acknowledges(1)
    return promised


async def command(*arguments: str) -> str:
    ended = await run(str(BIN / "ferryman-coordinator"), *arguments)
    assert ended.status == 0, ended
    return ended.out


def states_in(database: Path) -> dict[str, str]:
    """The state of each task in a database that is whole."""
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("PRAGMA foreign_key_check").fetchone() is None
        return dict(connection.execute("SELECT task_id, state FROM tasks"))


async def test_a_restore_killed_at_every_point(tmp_path: Path, tally: Tally) -> None:
    before, file, after = tmp_path / "before", tmp_path / "file", tmp_path / "after"
    settings = Settings(
        data_dir=before, listen="127.0.0.1:0", discovery=DiscoverySettings(enabled=False)
    )
    async with Coordinator(settings):
        backup(file, data_dir=before)
    (before / f"{DATABASE}-wal").write_bytes(b"of the old database")
    (before / "admin.token").unlink()
    after.mkdir()
    states = await killed_everywhere(before, file, after)
    assert len(states) >= FEWEST_KILL_POINTS
    assert sorted(set(states), key=states.index) == ["old", "half", "new"]
    tally(points=len(states), wrong=states.count("neither"))
