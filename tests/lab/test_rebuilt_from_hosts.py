"""The coordinator's database is gone, or an old one was put back: the hosts tell what happened.

The coordinator is the shipped daemon; the agents are real but for their services, so that a
fleet's past takes seconds to make.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
import sqlite3
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from protocol.errors import ConflictError
from protocol.messages import Ended, PastEntry, Result, Step, TaskTold
from protocol.models import HistoryEntry, InstanceQueryParams, InstanceRollbackParams
from protocol.states import InstanceStatus, Phase, TaskKind, TaskState
from tests.lab.tally import Tally
from tests.parts.daemons import CoordinatorDaemon, connected
from tests.parts.local_agent import LocalAgent, LocalInstance
from tests.parts.operator import Operator
from tests.parts.package_server import PackageServer
from tests.parts.packages import tar_gz
from tests.parts.waiting import until

SERVICE = "user-service"
LONG_PAST = 6_000
KILLS = 2


class Hosts(Operator):
    """A coordinator of its own with `agents`, two instances each."""

    def __init__(self, folder: Path, stack: AsyncExitStack) -> None:
        super().__init__()
        self.folder = folder
        self._stack = stack
        self.agents: dict[str, LocalAgent] = {}
        self.coordinator = CoordinatorDaemon(folder / "coordinator", heartbeat=0.5)

    async def open(self, *hosts: str) -> None:
        self.packages = await self._stack.enter_async_context(PackageServer(self.folder))
        await self._stack.enter_async_context(self.coordinator)
        self.client = await self._stack.enter_async_context(self.coordinator.client())
        token = await self.coordinator.join_token()
        for host in hosts:
            agent = LocalAgent(
                self.folder,
                host,
                [LocalInstance(f"{host}-{n}", check_timeout=0.2) for n in (1, 2)],
                url=self.coordinator.url,
                join_token=token,
                package_ca_file=self.packages.ca_file,
            )
            self.agents[host] = await self._stack.enter_async_context(agent)
        await connected(self.client, *self.names)

    def package(self, version: str, **_: object) -> bytes:
        return tar_gz({"VERSION": version.encode()})

    @property
    def names(self) -> list[str]:
        return [name for agent in self.agents.values() for name in agent.instances]

    def local(self, instance_id: str) -> LocalInstance:
        return self.agents[instance_id[:-2]].instances[instance_id]

    async def roll_back(self, instance_id: str, version: str) -> TaskState:
        params = InstanceRollbackParams(instance_id=instance_id, target_version=version)
        asked = await self.client.rollback_instance(params)
        return (await self.rolled_back(asked.rollback_id)).status

    # ---- the database --------------------------------------------------------

    @property
    def database(self) -> Path:
        return self.coordinator.data_dir / "coordinator.db"

    async def stop(self) -> None:
        """Stop the coordinator. The agents are cut off first, so that they wait for nothing."""
        for agent in self.agents.values():
            await agent.cut_off()
        await self.coordinator.kill()

    async def start(self) -> None:
        await self.coordinator.start()
        for agent in self.agents.values():
            await agent.let_back()

    def lose_database(self) -> None:
        for file in self.database.parent.glob("coordinator.db*"):
            file.unlink()

    def copy_database(self, folder: Path) -> None:
        """As a backup of the stopped coordinator's folder is made."""
        folder.mkdir()
        for file in self.database.parent.glob("coordinator.db*"):
            shutil.copy(file, folder)

    def put_back(self, folder: Path) -> None:
        self.lose_database()
        for file in folder.iterdir():
            shutil.copy(file, self.database.parent)

    def known_rows(self) -> int:
        """How many rows of history are committed."""
        try:
            with closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True)) as asked:
                return int(asked.execute("SELECT count(*) FROM history").fetchone()[0])
        except sqlite3.OperationalError:
            return 0

    # ---- what can be seen ------------------------------------------------------

    async def history(self, instance_id: str) -> list[HistoryEntry]:
        return (await self.client.get_instance_version_history(instance_id, limit=1000)).history

    async def picture(self) -> object:
        """Everything that hosts can tell again, as the coordinator shows it."""
        hosts = await self.client.list_hosts()
        params = InstanceQueryParams(service_name=SERVICE)
        shown = (await self.client.get_service_instances(params)).instances
        return (
            sorted((host.host_id, tuple(host.instances)) for host in hosts.hosts),
            sorted((i.instance_id, i.host_id, i.version, i.status, i.port) for i in shown),
            {name: [_told(row) for row in await self.history(name)] for name in self.names},
        )


def _told(row: HistoryEntry) -> tuple[str, ...]:
    return row.deploy_id, row.action, row.version, row.status


@pytest.fixture
async def fleet(tmp_path: Path) -> AsyncIterator[Hosts]:
    async with AsyncExitStack() as stack:
        yield Hosts(tmp_path, stack)


async def live_a_little(fleet: Hosts) -> None:
    """Two upgrades of all, one that fails on one instance, a cancelled one, and rollbacks."""
    await fleet.deployed("v1", fleet.names)
    await fleet.deployed("v2", fleet.names)
    fleet.local("a-2").check.sick["v3"] = "no database"
    third = await fleet.deployed("v3", ["a-1", "a-2", "b-1"])
    assert (third.progress.completed, third.progress.failed) == (2, 1)
    assert await fleet.roll_back("b-1", "v1") is TaskState.COMPLETED
    gate = asyncio.Event()
    url = fleet.put("v4")
    fleet.packages.slow(f"{SERVICE}-v4.tar.gz", chunk=20, gate=gate)
    fourth = await fleet.deploy("v4", ["b-2"], url=url)
    await fleet.reached(fourth, Phase.PREPARING)
    await fleet.client.cancel_deployment(fourth)
    gate.set()
    await fleet.ended(fourth)
    await until(
        lambda: "cancelled" in (fleet.agents["b"].state_dir / "journal/past.jsonl").read_text()
    )


async def test_an_empty_database_is_filled_by_the_hosts_that_connect(
    fleet: Hosts, tally: Tally, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "agent.connection")
    await fleet.open("a", "b")
    await live_a_little(fleet)
    before = await fleet.picture()
    times = {name: [row.timestamp for row in await fleet.history(name)] for name in fleet.names}

    await fleet.stop()
    fleet.lose_database()
    await fleet.start()
    await connected(fleet.client, *fleet.names)

    assert await fleet.picture() == before
    now = datetime.now(UTC)
    for name in fleet.names:
        rows = await fleet.history(name)
        told = [row.timestamp for row in rows]
        assert told == sorted(told, reverse=True)
        for row, first in zip(rows, times[name], strict=True):
            assert row.reason.startswith("told by its host: ")
            assert abs((row.timestamp - first).total_seconds()) < 5
            assert row.timestamp <= now
    assert caplog.text.count("telling the coordinator what ended here") == len(fleet.agents)
    for agent in fleet.agents.values():
        await agent.cut_off()
        await agent.let_back()
    await fleet.deployed("v5", ["b-2"])
    assert caplog.text.count("telling the coordinator what ended here") == len(fleet.agents)
    assert [_told(row) for row in (await fleet.history("b-2"))[1:]] == before[2]["b-2"]  # type: ignore[index]

    await fleet.packages.stop()
    assert await fleet.roll_back("a-1", "v2") is TaskState.COMPLETED
    assert fleet.agents["a"].current("a-1") == "v2"
    with pytest.raises(ConflictError, match="already runs v2"):
        await fleet.roll_back("a-2", "v2")
    tally(points=1)


@pytest.mark.sweep
async def test_what_is_in_hand_when_the_database_is_lost_ends_and_is_in_the_history(
    fleet: Hosts, tally: Tally
) -> None:
    await fleet.open("a")
    await fleet.deployed("v1", fleet.names)
    gate = asyncio.Event()
    fleet.packages.slow(f"{SERVICE}-v2.tar.gz", chunk=20, gate=gate)
    url = fleet.put("v2")
    preparing = await fleet.deploy("v2", ["a-1"], url=url)
    await fleet.reached(preparing, Phase.PREPARING)
    starting = fleet.local("a-2").driver.hold("start")
    third = await fleet.deploy("v3", ["a-2"])
    await fleet.at_step(third, "start")

    await fleet.stop()
    fleet.lose_database()
    await fleet.start()
    await connected(fleet.client, *fleet.names)
    await until(lambda: fleet.history("a-1"), lambda rows: len(rows) == 2)
    starting.open()
    await until(lambda: fleet.history("a-2"), lambda rows: len(rows) == 2)
    gate.set()

    first, second = await fleet.history("a-1"), await fleet.history("a-2")
    assert _told(first[0]) == (preparing, "deploy", "v2", "cancelled")
    assert _told(second[0]) == (third, "deploy", "v3", "success")
    assert (await fleet.instance("a-2")).version == "v3"
    done = await fleet.deployed("v4", fleet.names)
    assert done.status is TaskState.COMPLETED, done
    tally(points=2)


def long_past(instance_id: str) -> str:
    """So many entries as no host has in a year."""
    ended = Ended(result=Result.SUCCEEDED, step=Step.COMMIT, message="healthy", digest="a" * 64)
    entry = PastEntry(
        number=1,
        at=datetime(2026, 1, 1, tzinfo=UTC),
        task_id="d-1",
        instance_id=instance_id,
        attempt=1,
        task=TaskTold(kind=TaskKind.DEPLOY, service=SERVICE, version="v1"),
        ended=ended,
    )
    entries = (
        entry.model_copy(update={"number": n, "task_id": f"old-{n}"})
        for n in range(1, LONG_PAST + 1)
    )
    return "".join(f"{entry.model_dump_json()}\n" for entry in entries)


@pytest.mark.sweep
@pytest.mark.timeout(300)
async def test_a_coordinator_killed_in_the_middle_of_the_telling_completes_it(
    fleet: Hosts, tally: Tally
) -> None:
    await fleet.open("a")
    agent = fleet.agents["a"]
    await agent.stop()
    (agent.state_dir / "journal" / "past.jsonl").write_text(long_past("a-1"))
    await agent.start()
    expected = [f"old-{n}" for n in range(1, LONG_PAST + 1)]
    await until(fleet.known_rows, lambda rows: rows == LONG_PAST)

    caught: list[int] = []
    while len(caught) < KILLS:
        await fleet.stop()
        fleet.lose_database()
        await fleet.start()
        await until(fleet.known_rows, every=0.001)
        await fleet.coordinator.kill()
        if (rows := fleet.known_rows()) < LONG_PAST:
            caught.append(rows)
        await fleet.stop()
        await fleet.start()
        await until(fleet.known_rows, lambda rows: rows == LONG_PAST)
        await connected(fleet.client, "a-1")
        with closing(sqlite3.connect(fleet.database)) as asked:
            found = asked.execute("SELECT task_id FROM history ORDER BY seq").fetchall()
        assert [row[0] for row in found] == expected
    print(f"killed after {caught} of {LONG_PAST} rows")
    tally(points=len(caught))


async def upgraded_since(fleet: Hosts, backup: Path) -> str:
    """A backup that was made during a switch, after which life went on; returns the task."""
    await fleet.open("a")
    await fleet.deployed("v1", ["a-1"])
    starting = fleet.local("a-1").driver.hold("start")
    task = await fleet.deploy("v2", ["a-1"])
    await fleet.at_step(task, "start")
    await fleet.stop()
    fleet.copy_database(backup)
    starting.open()
    await fleet.start()
    assert (await fleet.ended(task)).status is TaskState.COMPLETED
    await fleet.deployed("v3", ["a-1"])
    assert await fleet.roll_back("a-1", "v1") is TaskState.COMPLETED
    return task


@pytest.mark.sweep
async def test_what_happened_since_a_backup_is_merged_into_it(
    fleet: Hosts, tally: Tally, tmp_path: Path
) -> None:
    task = await upgraded_since(fleet, tmp_path / "backup")
    before = await fleet.picture()

    await fleet.stop()
    fleet.put_back(tmp_path / "backup")
    await fleet.start()
    ended = await fleet.ended(task)

    assert ended.status is TaskState.COMPLETED, ended
    assert await fleet.picture() == before
    again = await fleet.deployed("v3", ["a-1"], deploy_id="later")
    assert again.status is TaskState.COMPLETED
    tally(points=1)


@pytest.mark.sweep
async def test_a_host_that_lost_its_past_says_that_it_does_not_know(
    fleet: Hosts, tally: Tally, tmp_path: Path
) -> None:
    task = await upgraded_since(fleet, tmp_path / "backup")
    await fleet.stop()
    fleet.put_back(tmp_path / "backup")
    agent = fleet.agents["a"]
    await agent.stop()
    (agent.state_dir / "journal" / "past.jsonl").unlink()
    await fleet.coordinator.start()
    await agent.start()

    ended = await fleet.ended(task)

    assert ended.status is TaskState.FAILED
    assert "how it ended is not known here" in ended.instances[0].error_message
    shown = await fleet.instance("a-1")
    assert (shown.version, shown.status) == ("v1", InstanceStatus.RUNNING), "nothing was undone"
    tally(points=1)
