"""In place of an agent: a bare websocket with a host's certificate, frame by frame."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp

from protocol.codec import decode_from_coordinator, encode
from protocol.messages import (
    FIXED_SERVER_NAME,
    Ack,
    Command,
    Heartbeat,
    Hello,
    InstanceState,
    Inventory,
    Report,
    Taken,
    Welcome,
)
from protocol.states import InstanceStatus
from tests.parts.local_agent import LocalAgent

BEAT = 0.1
"""Seconds: less than any heartbeat interval that a test sets."""


class Listener:
    """Tells what it is asked to, and notes what it is sent."""

    def __init__(
        self, instance_id: str, service: str, socket: aiohttp.ClientWebSocketResponse
    ) -> None:
        self._state = InstanceState(
            instance_id=instance_id, service=service, status=InstanceStatus.STOPPED
        )
        self._socket = socket
        self._seq = 0
        self._beating: asyncio.Task[None] | None = None
        self.commands: list[Command] = []

    async def hello(self, host_id: str) -> None:
        """The first frame, and its answer."""
        await self._socket.send_bytes(encode(Hello(host_id=host_id, agent_version="1")))
        frame = decode_from_coordinator(await self._socket.receive_bytes())
        assert isinstance(frame, Welcome)
        self._beating = asyncio.create_task(self._beat())

    async def fall_silent(self) -> None:
        """Send no more heartbeats."""
        if self._beating is not None:
            self._beating.cancel()
            await asyncio.wait([self._beating])

    async def _beat(self) -> None:
        for number in itertools.count(1):
            await self._socket.send_bytes(encode(Heartbeat(number=number)))
            await asyncio.sleep(BEAT)

    async def inventory(self) -> None:
        """The second frame: the instance, with nothing in hand."""
        await self._socket.send_bytes(encode(Inventory(instances=[self._state])))

    async def caught_up(self) -> list[Command]:
        """All commands so far: a report is acknowledged after what was worked off before it.

        What an inventory leads to stands in line behind the report that came with it.
        """
        for _ in range(2):
            self._seq += 1
            report = Report(
                seq=self._seq,
                task_id="no-such-task",
                instance_id=self._state.instance_id,
                attempt=1,
                event=Taken(),
                instance=self._state,
            )
            await self._socket.send_bytes(encode(report))
            await self._until_acknowledged()
        return self.commands

    async def _until_acknowledged(self) -> None:
        while True:
            frame = decode_from_coordinator(await self._socket.receive_bytes())
            if isinstance(frame, Ack):
                assert frame.seq == self._seq
                return
            if isinstance(frame, Command):
                self.commands.append(frame)


@asynccontextmanager
async def listening(
    url: str, agent: LocalAgent, instance_id: str, service: str
) -> AsyncIterator[Listener]:
    """Connect to the coordinator at `url` in place of `agent`; nothing is said yet."""
    identity = await agent.join()
    async with (
        aiohttp.ClientSession() as http,
        http.ws_connect(
            f"{url}/v1/agent/connect",
            ssl=identity.client_context(),
            server_hostname=FIXED_SERVER_NAME,
        ) as socket,
    ):
        listener = Listener(instance_id, service, socket)
        try:
            yield listener
        finally:
            await listener.fall_silent()
