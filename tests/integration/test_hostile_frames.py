"""Agents and coordinators that say what is no frame, or too much: the other side holds.

The coordinator is a process of its own, so that its memory can be looked at.
"""

from __future__ import annotations

import asyncio
import logging
import re
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import psutil
import pytest
from aiohttp import WSMsgType, web

from agent.connection import Connection
from agent.dialogue import Dialogue
from coordinator.client import AsyncClient
from coordinator.pki import Authority
from protocol.codec import decode_from_coordinator, encode
from protocol.messages import Heartbeat, HeartbeatAck, Hello, Inventory, Pins, Welcome
from protocol.models import DeployParams
from protocol.states import TaskState
from tests.integration.test_connection_end import answering
from tests.lab.storm import join
from tests.parts.bad_frames import BAD_FRAMES, TOO_LONG, Bad
from tests.parts.daemons import CoordinatorDaemon, connected
from tests.parts.local_agent import LocalAgent, LocalInstance
from tests.parts.package_server import PackageServer
from tests.parts.packages import tar_gz
from tests.parts.raw_websocket import (
    BINARY,
    CONTINUATION,
    PING,
    TEXT,
    Closed,
    RawWebsocket,
    frame,
)
from tests.parts.waiting import until

pytestmark = pytest.mark.sweep

GROWTH = 64 * 1024 * 1024
FLOODED_FOR = 3.0
GOODBYE = 2.0
"""Seconds that the coordinator waits for a refused host to go."""
PATIENCE = 5.0
"""Seconds in which another agent's heartbeat is answered; its own patience is 15."""
ENDLESS = frame(BINARY, last=False) + frame(CONTINUATION, b"a" * 1024, last=False) * 4097


@dataclass
class Scene:
    """A coordinator, an agent that minds its business, and certificates for those that do not."""

    coordinator: CoordinatorDaemon
    client: AsyncClient
    packages: PackageServer
    good: LocalAgent
    joined: Callable[[str], ssl.SSLContext]

    @asynccontextmanager
    async def greeted(self, host_id: str = "hostile") -> AsyncIterator[RawWebsocket]:
        async with RawWebsocket(self.coordinator.url, self.joined(host_id)) as socket:
            await socket.say(
                frame(BINARY, encode(Hello(host_id=host_id, agent_version="1"))),
                frame(BINARY, encode(Inventory(instances=[]))),
            )
            for told in (Welcome, Pins):
                assert isinstance(decode_from_coordinator((await socket.hear())[1]), told)
            yield socket

    async def deploys(self, name: str) -> None:
        """The good agent is served as if nothing were the matter."""
        url = self.packages.put(f"{name}.tar.gz", tar_gz({"bin/server": (name.encode(), 0o755)}))
        await self.client.execute_deployment(
            DeployParams(
                service="user-service",
                version=name,
                instances=["good-service"],
                package_url=url,
                deploy_id=name,
                timeout=30,
            )
        )
        ended = await until(
            lambda: self.client.get_deployment_status(name), lambda seen: seen.status.ended
        )
        assert ended.status is TaskState.COMPLETED, ended
        hosts = {host.host_id: host for host in (await self.client.list_hosts()).hosts}
        assert hosts["good"].connected
        assert "host good has fallen silent" not in self.coordinator.said()
        assert "Traceback" not in self.coordinator.said()
        for line in self.coordinator.said().splitlines():
            assert re.match(r"(INFO|WARNING) [a-z_.]+: [^\x00-\x1f]+$", line), line

    def memory(self) -> int:
        return int(psutil.Process(self.coordinator.pid).memory_info().rss)

    def cpu(self) -> float:
        """Seconds that the coordinator has worked."""
        times = psutil.Process(self.coordinator.pid).cpu_times()
        return float(times.user + times.system)


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    coordinator = CoordinatorDaemon(tmp_path / "coordinator", heartbeat=5.0)
    authority = Authority.open(coordinator.data_dir)
    join(authority, tmp_path / "good", "good")

    @cache
    def joined(host_id: str) -> ssl.SSLContext:
        return join(authority, tmp_path / host_id, host_id).client_context()

    async with (
        coordinator,
        coordinator.client() as client,
        PackageServer(tmp_path) as packages,
        LocalAgent(
            tmp_path,
            "good",
            [LocalInstance("good-service")],
            url=coordinator.url,
            join_token="",
            package_ca_file=packages.ca_file,
        ) as good,
    ):
        await connected(client, "good-service")
        yield Scene(coordinator, client, packages, good, joined)


# ---- a hostile agent -------------------------------------------------------


async def answered(calm: RawWebsocket, number: int) -> None:
    """Another agent's heartbeat is answered now, and that is the next thing it hears."""
    await calm.say(frame(BINARY, encode(Heartbeat(number=number))))
    async with asyncio.timeout(PATIENCE):
        assert decode_from_coordinator((await calm.hear())[1]) == HeartbeatAck(number=number)


async def test_every_bad_frame_ends_its_connection_with_one_code_and_its_rule(
    scene: Scene,
) -> None:
    await scene.deploys("before")
    before = scene.memory()
    async with scene.greeted("calm") as calm:
        for number, bad in enumerate(BAD_FRAMES):
            async with scene.greeted() as socket:
                coming = asyncio.create_task(socket.say(frame(BINARY, bad.data)))
                await answered(calm, number)
                closed = await socket.closed()
                await coming
                assert closed.code == 1008, bad.name
                said, _, rule = closed.reason.partition("bad frame: ")
                assert said == "", bad.name
                assert re.search(bad.rule, rule), (bad.name, closed)
                await answered(calm, number)
    assert scene.memory() - before < GROWTH
    await scene.deploys("after")


@pytest.mark.parametrize(
    ("said", "closed"),
    [
        (frame(TEXT, b"{}"), Closed(1008, "frames are binary")),
        (frame(TEXT, b"\xff\xfe"), Closed(1007, "")),
        (frame(BINARY, TOO_LONG), Closed(1009, "")),
        (ENDLESS, Closed(1009, "")),
        (frame(CONTINUATION, b"a"), Closed(1002, "")),
        (frame(3, b"a"), Closed(1002, "")),
        (frame(PING, b"a" * 126), Closed(1002, "")),
    ],
    ids=["text", "text that is none", "long", "fragments", "no begin", "unknown", "long ping"],
)
async def test_what_breaks_a_rule_of_the_carrier_is_closed_with_its_code(
    scene: Scene, said: bytes, closed: Closed
) -> None:
    async with scene.greeted() as socket:
        talking = asyncio.create_task(socket.say(said))
        assert await socket.closed() == closed
        talking.cancel()
        await asyncio.wait([talking])
    await scene.deploys("after")


@pytest.mark.parametrize(
    "flood",
    [
        frame(PING) * 10_000,
        frame(PING, b"a" * 125) * 1_000,
        frame(BINARY, b"", last=False) + frame(CONTINUATION, b"", last=False) * 10_000,
        frame(BINARY, encode(Heartbeat(number=1))) * 1_000,
        frame(BINARY, encode(Inventory(instances=[]))) * 1_000,
    ],
    ids=["empty pings", "pings", "fragments that never end", "heartbeats", "inventories"],
)
async def test_a_flood_is_read_slowly_and_kept_nowhere(scene: Scene, flood: bytes) -> None:
    await scene.deploys("before")
    before = scene.memory()
    async with scene.greeted() as socket:
        flooding = asyncio.create_task(socket.flood(flood))
        await asyncio.sleep(FLOODED_FOR)
        assert scene.memory() - before < GROWTH
        await scene.deploys("meanwhile")
        flooding.cancel()
        await asyncio.wait([flooding])
    await scene.deploys("after")
    assert scene.memory() - before < GROWTH


async def test_what_a_refused_host_goes_on_to_say_is_not_read(scene: Scene) -> None:
    async with scene.greeted() as socket:
        await socket.say(frame(BINARY, b"\xc1"))
        flooding = asyncio.create_task(socket.flood(frame(BINARY, b"\xc1") * 1_000))
        before = scene.cpu()
        await asyncio.sleep(GOODBYE)
        used = scene.cpu() - before
        flooding.cancel()
        await asyncio.wait([flooding])
    assert used < GOODBYE / 4, "it only waits until the host has gone"


async def test_who_is_silent_after_the_flood_is_heard_again(scene: Scene) -> None:
    async with scene.greeted() as socket:
        await socket.say(*[frame(BINARY, encode(Heartbeat(number=n))) for n in range(2_000)])
        numbers: list[int] = []
        while len(numbers) < 2_000:
            heard = decode_from_coordinator((await socket.hear())[1])
            assert isinstance(heard, HeartbeatAck)
            numbers.append(heard.number)
        assert numbers == list(range(2_000))


# ---- a hostile coordinator -------------------------------------------------


async def _agent_meets(
    said: list[tuple[WSMsgType, bytes]], caplog: pytest.LogCaptureFixture
) -> tuple[int | None, str]:
    """How the agent closes when this follows the welcome, and what it logs."""
    closes: list[int | None] = []

    async def handler(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.receive_bytes()
        await socket.send_bytes(encode(Welcome(heartbeat_interval=0.2)))
        for kind, data in said:
            await socket.send_frame(data, kind)
        while (await socket.receive()).type is WSMsgType.BINARY:
            pass
        closes.append(socket.close_code)
        return socket

    caplog.set_level(logging.INFO)
    async with answering(handler) as (url, tls):

        async def find_url() -> str:
            return url

        connection = Connection("host-a", "boot-1", Dialogue(), lambda: 0.0)
        running = asyncio.create_task(connection.run(lambda: tls, find_url))
        try:
            await until(lambda: closes)
            await until(lambda: "connection lost" in caplog.text)
        finally:
            running.cancel()
            await asyncio.wait([running])
    lost = [m for m in caplog.messages if m.startswith("connection lost")]
    return closes[0], lost[0]


@pytest.mark.parametrize("bad", BAD_FRAMES, ids=lambda bad: bad.name)
async def test_an_agent_closes_on_a_bad_frame_with_the_same_code(
    bad: Bad, caplog: pytest.LogCaptureFixture
) -> None:
    code, log = await _agent_meets([(WSMsgType.BINARY, bad.data)], caplog)
    assert code == 1008
    assert "bad frame from the coordinator: " in log
    assert log.isprintable()


async def test_an_agent_closes_on_text(caplog: pytest.LogCaptureFixture) -> None:
    code, log = await _agent_meets([(WSMsgType.TEXT, b"{}")], caplog)
    assert code == 1008
    assert log.endswith("bad frame from the coordinator: frames are binary")


async def test_an_agent_reads_no_frame_that_is_too_long(
    caplog: pytest.LogCaptureFixture,
) -> None:
    _, log = await _agent_meets([(WSMsgType.BINARY, TOO_LONG)], caplog)
    assert log.startswith("connection lost: ")


async def test_pings_are_no_sign_of_life(caplog: pytest.LogCaptureFixture) -> None:
    pings = [(WSMsgType.PING, b"")] * 2_000
    _, log = await _agent_meets(pings, caplog)
    assert log == "connection lost: the coordinator was silent for 0.6 s"


def test_no_coordinator_makes_an_agent_run_in_circles() -> None:
    with pytest.raises(ValueError, match="heartbeat_interval"):
        Welcome(heartbeat_interval=1e-9)
