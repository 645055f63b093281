"""A websocket client that says whatever bytes a test likes, with an agent's certificate."""

from __future__ import annotations

import asyncio
import base64
import os
import ssl
import struct
from dataclasses import dataclass
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from protocol.messages import FIXED_SERVER_NAME

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10


@dataclass(frozen=True, slots=True)
class Closed:
    """How the other side closed."""

    code: int
    reason: str


def frame(opcode: int, payload: bytes = b"", *, last: bool = True) -> bytes:
    """One frame of the websocket protocol, masked with zeros."""
    size = len(payload)
    if size < 126:
        length = struct.pack("!B", 0x80 | size)
    elif size < 1 << 16:
        length = struct.pack("!BH", 0x80 | 126, size)
    else:
        length = struct.pack("!BQ", 0x80 | 127, size)
    return bytes([(0x80 if last else 0) | opcode]) + length + bytes(4) + payload


class RawWebsocket:
    """`async with RawWebsocket(url, tls) as socket`."""

    def __init__(self, url: str, tls: ssl.SSLContext) -> None:
        self._url = urlsplit(url)
        self._tls = tls
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter

    async def say(self, *frames: bytes) -> None:
        self._writer.write(b"".join(frames))
        await self._writer.drain()

    async def flood(self, frames: bytes) -> None:
        """Say the same again and again until nobody listens."""
        try:
            while True:
                await self.say(frames)
                await asyncio.sleep(0)
        except ConnectionError:
            pass

    async def hear(self) -> tuple[int, bytes]:
        """The next frame: its opcode and payload."""
        first, size = await self._reader.readexactly(2)
        if size == 126:
            (size,) = struct.unpack("!H", await self._reader.readexactly(2))
        elif size == 127:
            (size,) = struct.unpack("!Q", await self._reader.readexactly(8))
        return first & 0x0F, await self._reader.readexactly(size)

    async def closed(self) -> Closed:
        """Hear until the other side closes."""
        while True:
            opcode, payload = await self.hear()
            if opcode == CLOSE:
                return Closed(int.from_bytes(payload[:2], "big"), payload[2:].decode())

    async def __aenter__(self) -> Self:
        self._reader, self._writer = await asyncio.open_connection(
            self._url.hostname, self._url.port, ssl=self._tls, server_hostname=FIXED_SERVER_NAME
        )
        key = base64.b64encode(os.urandom(16)).decode()
        lines = (
            "GET /v1/agent/connect HTTP/1.1",
            f"Host: {self._url.netloc}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Version: 13",
            f"Sec-WebSocket-Key: {key}",
        )
        await self.say("\r\n".join([*lines, "", ""]).encode())
        answer = await self._reader.readuntil(b"\r\n\r\n")
        assert b" 101 " in answer, answer
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._writer.transport.abort()
