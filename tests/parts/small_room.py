"""A whole coordinator behind its real port, with TLS, with limits as small as a test likes."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from coordinator.app import LIMITS, Coordinator, Limits, serve
from coordinator.config import DiscoverySettings, Settings, TlsSettings
from protocol.access import TokenParams

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(frozen=True)
class Room:
    """Where it is, and tokens for it."""

    coordinator: Coordinator
    url: str
    tls: ssl.SSLContext
    admin: str

    async def token(self, role: str) -> str:
        """A new token with this role."""
        return (await self.coordinator.create_token(TokenParams(role=role))).secret  # type: ignore[arg-type]

    async def dial(self, source: str = "127.0.0.1", *, tls: bool = True) -> Stream:
        """A connection from this address of loopback."""
        parts = urlsplit(self.url)
        secure = {"ssl": self.tls, "server_hostname": "localhost"} if tls else {}
        return await asyncio.open_connection(
            parts.hostname,
            parts.port,
            local_addr=(source, 0),
            **secure,  # type: ignore[arg-type]
        )

    async def is_let_in(self, source: str = "127.0.0.1") -> bool:
        """Whether a stranger of this address gets an answer."""
        try:
            reader, writer = await self.dial(source)
        except OSError:
            return False
        writer.write(request("/livez"))
        answered = (await reader.read(12)) == b"HTTP/1.1 200"
        writer.transport.abort()
        return answered


@asynccontextmanager
async def room(
    folder: Path, limits: Limits = LIMITS, names: tuple[str, ...] = ()
) -> AsyncIterator[Room]:
    settings = Settings(
        data_dir=folder / "coordinator",
        listen="127.0.0.1:0",
        discovery=DiscoverySettings(enabled=False),
        tls=TlsSettings(names=names),
    )
    async with Coordinator(settings, limits=limits) as coordinator, serve(coordinator) as url:
        tls = ssl.create_default_context(cafile=settings.data_dir / "ca.pem")
        admin = (settings.data_dir / "admin.token").read_text().strip()
        yield Room(coordinator, url, tls, admin)


def bearer(token: str) -> str:
    """The header that shows a token."""
    return f"Authorization: Bearer {token}"


def request(path: str, *headers: str, method: str = "GET", body: bytes = b"") -> bytes:
    """One request as bytes."""
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", *headers]
    if body or method == "POST":
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


async def answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """The next answer's status and body."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(
        int(line.split(b":")[1])
        for line in head.split(b"\r\n")
        if b"content-length" in line.lower()
    )
    return int(head.split()[1]), await reader.readexactly(length)


async def ends(reader: asyncio.StreamReader) -> None:
    """Wait until the other side has ended the connection, whatever it still says."""
    try:
        while await reader.read(65_536):
            pass
    except OSError:
        pass
