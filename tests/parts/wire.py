"""A TCP relay between an agent and its coordinator, in which one direction or both can be blocked.

Bytes that come while it is blocked are kept, as a full network buffer keeps them; the
connections stay open. TLS passes through: an agent verifies the coordinator's fixed name,
whatever address it dials.
"""

from __future__ import annotations

import asyncio
import contextlib
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

_PIECE = 65_536


class Wire:
    """Dial `url` instead of the coordinator's."""

    def __init__(self, to: str) -> None:
        parts = urlsplit(to)
        self._to = (parts.hostname, parts.port)
        self.url = ""
        self._server: asyncio.Server
        self._to_agent = asyncio.Event()
        self._to_agent.set()
        self._to_coordinator = asyncio.Event()
        self._to_coordinator.set()
        self._relays: set[asyncio.Task[None]] = set()
        self._refusing = False
        self.dialled = 0
        """How many connections were asked for, those that were refused included."""

    def freeze(self) -> None:
        """Leave the connections open and let nothing more through, nor a new connection."""
        self.block_to_agent()
        self._to_coordinator.clear()

    def block_to_agent(self) -> None:
        """Let nothing more through to the agent, and no new connection; the other way is free."""
        self._to_agent.clear()
        self._refusing = True

    def mend(self) -> None:
        """Let new connections through. What was blocked before is lost with its connection."""
        self._to_agent = asyncio.Event()
        self._to_agent.set()
        self._to_coordinator = asyncio.Event()
        self._to_coordinator.set()
        self._refusing = False

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._relays.add(task)
        self.dialled += 1
        try:
            if not self._refusing:
                await self._connect(reader, writer)
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()
            self._relays.discard(task)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(*self._to)
        ways = [
            asyncio.create_task(_pump(reader, far_writer, self._to_coordinator)),
            asyncio.create_task(_pump(far_reader, writer, self._to_agent)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.wait(ways)
            far_writer.transport.abort()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._relay, "127.0.0.1", 0)
        self.url = f"https://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.close()
        for task in list(self._relays):
            task.cancel()
        await asyncio.gather(*self._relays, return_exceptions=True)
        await self._server.wait_closed()


async def _pump(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, free: asyncio.Event
) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(_PIECE):
            await free.wait()
            writer.write(data)
            await writer.drain()
