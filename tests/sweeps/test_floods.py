"""One client or agent that floods: the others' requests and heartbeats take at most twice as long.

Quiet and flooded rounds take turns, so that whatever else the machine does is in both. What is
compared is the 99th percentile. The control takes the limits away, and is to be much worse.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest

from coordinator.pki import Authority
from protocol.access import TokenParams
from protocol.codec import encode
from protocol.messages import Heartbeat, Hello, Inventory
from tests.lab.flooding import FLOODS, HOST, Target, flood
from tests.lab.storm import join
from tests.lab.tally import Tally
from tests.lab.unlimited import UnlimitedCoordinator
from tests.parts.daemons import CoordinatorDaemon
from tests.parts.raw_websocket import BINARY, RawWebsocket, frame

pytestmark = [pytest.mark.sweep, pytest.mark.alone]

ROUNDS = 3
ROUND = 5.0
"""Seconds, each of a quiet round and of a flooded one."""
PAUSE = 0.01
IN_A_ROW = 10
AT_REST = 0.1
"""Seconds that nothing takes any more, so often in a row, once a flood is over."""
AT_MOST = 2.0
NOISE = 0.003
"""Seconds that a percentile of so few milliseconds may move by itself."""


@dataclass
class Took:
    """Seconds that each request and each heartbeat took."""

    status: list[float] = field(default_factory=list)
    heartbeat: list[float] = field(default_factory=list)

    @property
    def p99(self) -> tuple[float, float]:
        return _p99(self.status), _p99(self.heartbeat)


def _p99(took: list[float]) -> float:
    return sorted(took)[len(took) * 99 // 100]


class Others:
    """A client with a token and an agent that mind their business."""

    def __init__(self, socket: RawWebsocket, http: aiohttp.ClientSession, url: str) -> None:
        self._socket = socket
        self._http = http
        self._url = url

    async def live(self, seconds: float, took: Took) -> None:
        until = time.monotonic() + seconds
        await asyncio.gather(self._ask(until, took.status), self._beat(until, took.heartbeat))

    async def come_to_rest(self) -> None:
        """Wait until what the last flood has left behind is worked off."""
        quick = 0
        while quick < IN_A_ROW:
            took = Took()
            await self.live(PAUSE / 2, took)
            quick = quick + 1 if max(took.status + took.heartbeat) < AT_REST else 0

    async def _ask(self, until: float, took: list[float]) -> None:
        while (began := time.monotonic()) < until:
            async with self._http.get(f"{self._url}/v1/system/health") as answer:
                assert answer.status == 200
                await answer.read()
            took.append(time.monotonic() - began)
            await asyncio.sleep(PAUSE)

    async def _beat(self, until: float, took: list[float]) -> None:
        while (began := time.monotonic()) < until:
            await self._socket.say(frame(BINARY, encode(Heartbeat(number=1))))
            await self._socket.hear()
            took.append(time.monotonic() - began)
            await asyncio.sleep(PAUSE)


@asynccontextmanager
async def others(coordinator: CoordinatorDaemon, tls: ssl.SSLContext) -> AsyncIterator[Others]:
    headers = {"Authorization": f"Bearer {coordinator.token}"}
    trusted = ssl.create_default_context(cafile=coordinator.ca_file)
    async with (
        RawWebsocket(coordinator.url, tls) as socket,
        aiohttp.ClientSession(headers=headers, connector=aiohttp.TCPConnector(ssl=trusted)) as http,
    ):
        await socket.say(
            frame(BINARY, encode(Hello(host_id="good", agent_version="1"))),
            frame(BINARY, encode(Inventory(instances=[]))),
        )
        await socket.hear()
        yield Others(socket, http, coordinator.url)


async def measured(kind: str, folder: Path, coordinator: CoordinatorDaemon) -> tuple[Took, Took]:
    """How long things take when it is quiet, and while one floods."""
    authority = Authority.open(coordinator.data_dir)
    good = join(authority, folder / "good", "good")
    join(authority, folder / HOST, HOST)
    quiet, flooded = Took(), Took()
    async with coordinator:
        async with coordinator.client() as client:
            token = (await client.create_token(TokenParams(role="viewer"))).secret
        target = Target(coordinator.url, coordinator.ca_file, token, folder / HOST)
        async with others(coordinator, good.client_context()) as alive:
            await alive.live(ROUND / 2, Took())
            for _ in range(ROUNDS):
                await alive.come_to_rest()
                await alive.live(ROUND, quiet)
                async with flood(kind, target):
                    await alive.live(ROUND, flooded)
        assert "Traceback" not in coordinator.said()
    return quiet, flooded


def _told(kind: str, quiet: Took, flooded: Took) -> str:
    parts = [
        f"{what} p99 {before * 1000:.1f} -> {then * 1000:.1f} ms (x{then / before:.1f})"
        for what, before, then in zip(("status", "heartbeat"), quiet.p99, flooded.p99, strict=True)
    ]
    return f"{kind}: {', '.join(parts)}"


@pytest.mark.timeout(120)
@pytest.mark.parametrize("kind", FLOODS)
async def test_the_others_take_at_most_twice_as_long(
    tmp_path: Path, kind: str, tally: Tally
) -> None:
    coordinator = CoordinatorDaemon(tmp_path / "coordinator", heartbeat=5.0)
    quiet, flooded = await measured(kind, tmp_path, coordinator)
    print(f"\n{_told(kind, quiet, flooded)}")
    wrong = [
        then
        for before, then in zip(quiet.p99, flooded.p99, strict=True)
        if then > AT_MOST * before + NOISE
    ]
    tally(points=len(flooded.status) + len(flooded.heartbeat), lost=0, wrong=len(wrong))
    assert not wrong, _told(kind, quiet, flooded)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("kind", ["requests with a token", "changed states"])
async def test_without_the_limits_the_others_take_far_longer(tmp_path: Path, kind: str) -> None:
    coordinator = UnlimitedCoordinator(tmp_path / "coordinator", heartbeat=5.0)
    quiet, flooded = await measured(kind, tmp_path, coordinator)
    print(f"\ncontrol without limits, {_told(kind, quiet, flooded)}")
    assert any(then > AT_MOST * before for before, then in zip(quiet.p99, flooded.p99, strict=True))
