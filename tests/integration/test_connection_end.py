"""An agent's connection ends when it is told to, whatever else happens in that moment."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import cast

import trustme
from aiohttp import WSMsgType, web

from agent.connection import Connection
from agent.core.backoff import pause
from agent.dialogue import Dialogue
from agent.frames import ConnectionLostError
from agent.worker import Worker
from protocol.codec import encode
from protocol.messages import FIXED_SERVER_NAME, InstanceState, Welcome
from protocol.states import InstanceStatus


class LosesAndIsStopped:
    """In place of a worker: at its second look the connection is lost and the agent stopped."""

    unsent = ()
    in_hand = None
    state = InstanceState(
        instance_id="instance-1", service="user-service", status=InstanceStatus.STOPPED
    )

    def __init__(self) -> None:
        self.looks = 0
        self.running: asyncio.Task[None]

    async def look(self) -> None:
        self.looks += 1
        if self.looks == 2:
            self.running.cancel()
            raise ConnectionLostError("the coordinator stops")


async def greet(request: web.Request) -> web.WebSocketResponse:
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    await socket.receive()
    await socket.send_bytes(encode(Welcome(heartbeat_interval=0.05)))
    while (await socket.receive()).type is WSMsgType.BINARY:
        pass
    return socket


Handler = Callable[[web.Request], Awaitable[web.WebSocketResponse]]


@asynccontextmanager
async def answering(handler: Handler) -> AsyncIterator[tuple[str, ssl.SSLContext]]:
    """Something that answers agents in a coordinator's place: its URL, and whom to trust."""
    authority = trustme.CA()
    own, theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert(FIXED_SERVER_NAME).configure_cert(own)
    authority.configure_trust(theirs)
    app = web.Application()
    app.router.add_get("/v1/agent/connect", handler)
    runner = web.AppRunner(app, shutdown_timeout=0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=own).start()
    yield f"https://127.0.0.1:{runner.addresses[0][1]}", theirs
    await runner.cleanup()


async def test_a_stop_in_the_moment_of_a_loss_is_not_forgotten() -> None:
    async with answering(greet) as (url, tls):
        worker = LosesAndIsStopped()

        async def find_url() -> str:
            return url

        dialogue = Dialogue()
        dialogue.attach({"instance-1": cast(Worker, worker)})
        connection = Connection("host-a", "boot-1", dialogue)
        worker.running = asyncio.create_task(connection.run(lambda: tls, find_url))
        done, _ = await asyncio.wait([worker.running], timeout=30)
        forgotten = not done
        worker.running.cancel()
        await asyncio.wait([worker.running])
    assert not forgotten
    assert worker.looks == 2


async def test_an_agent_that_is_refused_after_its_hello_asks_ever_more_rarely() -> None:
    dialled: list[float] = []
    often_enough = asyncio.Event()

    async def refuse(request: web.Request) -> web.WebSocketResponse:
        dialled.append(asyncio.get_running_loop().time())
        if len(dialled) == 3:
            often_enough.set()
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.receive()
        await socket.close(code=1008, message=b"protocol 9 is not spoken here")
        return socket

    async with answering(refuse) as (url, tls):

        async def find_url() -> str:
            return url

        connection = Connection("host-a", "boot-1", Dialogue(), draw=lambda: 1.0)
        running = asyncio.create_task(connection.run(lambda: tls, find_url))
        await asyncio.wait_for(often_enough.wait(), 30)
        running.cancel()
        await asyncio.wait([running])
    first, second, third = dialled
    assert second - first >= pause(1, 1.0)
    assert third - second >= pause(2, 1.0) > pause(1, 1.0)
