"""One client or agent that says as much as it can: a process of its own.

`python -m tests.lab.flooding KIND URL CA_FILE TOKEN STATE_DIR` floods from another address of
loopback until it is killed.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from agent.identity import Identity
from protocol.codec import encode
from protocol.messages import (
    Ended,
    Heartbeat,
    Hello,
    InstanceState,
    Inventory,
    Progress,
    Report,
    Result,
    StateChanged,
    Step,
)
from protocol.states import InstanceStatus
from tests.parts.raw_websocket import BINARY, PING, RawWebsocket, frame
from tests.parts.small_room import request

SOURCE = "127.0.0.66"
HOST = "flooding"
CONNECTIONS = 16
PIPELINED = 8
BEGUN = b"begun\n"


@dataclass(frozen=True)
class Target:
    """Whom, and with what."""

    url: str
    ca_file: Path
    token: str
    state_dir: Path

    @asynccontextmanager
    async def dialled(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        parts = urlsplit(self.url)
        tls = ssl.create_default_context(cafile=self.ca_file)
        reader, writer = await asyncio.open_connection(
            parts.hostname, parts.port, ssl=tls, local_addr=(SOURCE, 0)
        )
        try:
            yield reader, writer
        finally:
            writer.transport.abort()


async def _requests(target: Target, said: bytes) -> None:
    """Pipelines on many connections, all of them read."""

    async def one() -> None:
        async with target.dialled() as (reader, writer):
            while True:
                writer.write(said * PIPELINED)
                await writer.drain()
                if not await reader.read(1 << 20):
                    return

    while True:
        await asyncio.gather(*(one() for _ in range(CONNECTIONS)), return_exceptions=True)


async def _dials(target: Target) -> None:
    """New connections, one after the other on many tasks."""

    async def one() -> None:
        while True:
            with contextlib.suppress(OSError):
                async with target.dialled():
                    pass

    await asyncio.gather(*(one() for _ in range(CONNECTIONS)))


async def _agent(target: Target, said: bytes) -> None:
    identity = Identity.load(target.state_dir)
    assert identity is not None
    state = _state()
    while True:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, AssertionError):
            async with RawWebsocket(target.url, identity.client_context()) as socket:
                await socket.say(
                    frame(BINARY, encode(Hello(host_id=HOST, agent_version="1"))),
                    frame(BINARY, encode(Inventory(instances=[state]))),
                )
                reading = asyncio.create_task(_read_all(socket))
                try:
                    await socket.flood(said)
                finally:
                    reading.cancel()


async def _read_all(socket: RawWebsocket) -> None:
    with contextlib.suppress(OSError, asyncio.IncompleteReadError):
        while True:
            await socket.hear()


def _state(status: InstanceStatus = InstanceStatus.RUNNING) -> InstanceState:
    return InstanceState(instance_id="flooding-service", service="flooded", status=status)


def _frames(*frames: Heartbeat | Progress | StateChanged | Report) -> bytes:
    return b"".join(frame(BINARY, encode(one)) for one in frames) * 50


_WORK = {"task_id": "unknown", "instance_id": "flooding-service", "attempt": 1}
_REPORTS = [
    Report(
        **_WORK,
        seq=number,
        event=Ended(result=Result.FAILED, step=Step.PREPARE),
        instance=_state(),
    )
    for number in range(1, 9)
]
_CHANGES = [StateChanged(instance=_state(status)) for status in InstanceStatus]

FLOODS: Mapping[str, Callable[[Target], Awaitable[None]]] = {
    "requests with a token": lambda at: _requests(
        at, request("/v1/host", f"Authorization: Bearer {at.token}")
    ),
    "requests without a token": lambda at: _requests(at, request("/v1/host")),
    "requests with a wrong token": lambda at: _requests(
        at, request("/v1/host", "Authorization: Bearer ferryman-viewer-wrong")
    ),
    "dials": _dials,
    "heartbeats": lambda at: _agent(at, _frames(Heartbeat(number=1))),
    "pings": lambda at: _agent(at, frame(PING) * 100),
    "bad frames": lambda at: _agent(at, frame(BINARY, b"\xc1")),
    "progress": lambda at: _agent(at, _frames(Progress(**_WORK, step=Step.PREPARE))),
    "changed states": lambda at: _agent(at, _frames(*_CHANGES)),
    "reports for unknown tasks": lambda at: _agent(at, _frames(*_REPORTS)),
}


@asynccontextmanager
async def flood(kind: str, target: Target) -> AsyncIterator[None]:
    """Flood for as long as the block runs."""
    arguments = [kind, target.url, str(target.ca_file), target.token, str(target.state_dir)]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.lab.flooding", *arguments),
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        assert await process.stdout.readline() == BEGUN
        yield
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


def main() -> None:
    kind, url, ca_file, token, state_dir = sys.argv[1:]
    print(BEGUN.decode(), end="", flush=True)
    asyncio.run(_run(FLOODS[kind], Target(url, Path(ca_file), token, Path(state_dir))))


async def _run(work: Callable[[Target], Awaitable[None]], target: Target) -> None:
    await work(target)


if __name__ == "__main__":
    main()
