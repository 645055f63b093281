"""A real HTTPS package server with faults that a test can order."""

from __future__ import annotations

import asyncio
import re
import ssl
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from types import TracebackType

import trustme
from aiohttp import web

_PIECE = 256 * 1024

Script = Callable[[web.Request], Awaitable[web.StreamResponse]]
"""Answers a request as a test likes."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request as it was answered (status 0: by a script); `range` is the header or ""."""

    name: str
    range: str
    status: int
    at: float = field(default_factory=time.monotonic, compare=False)


@dataclass(slots=True)
class _Faults:
    """What a test ordered for one name."""

    statuses: list[int] = field(default_factory=list)
    retry_after: str = ""
    script: Script | None = None
    bodies: list[bytes] = field(default_factory=list)
    redirect: str = ""
    truncate_at: int = 0
    truncate_times: int = 0
    chunk: int = 0
    gate: asyncio.Event | None = None
    promised: int = 0


class PackageServer:
    """Serves packages from memory on the address `host`, with ranges and strong ETags.

    `folder` gets the authority's certificate (`ca_file`). It may be stopped and started
    again: the port stays. Its certificate is good until `not_after`, for `names`, too.
    """

    def __init__(
        self,
        folder: Path,
        authority: trustme.CA | None = None,
        *,
        ranges: bool = True,
        lengths: bool = True,
        host: str = "127.0.0.1",
        port: int = 0,
        not_after: datetime | None = None,
        names: Sequence[str] = (),
    ) -> None:
        self.authority = authority or trustme.CA()
        self.ca_file = folder / "packages-ca.pem"
        self.authority.cert_pem.write_to_path(self.ca_file)
        self.requests: list[Request] = []
        self.queries: list[str] = []
        """What stood behind the `?` of each request that no script answered."""
        self._ranges = ranges
        self._lengths = lengths
        self._files: dict[str, bytes] = {}
        self._faults: dict[str, _Faults] = {}
        self._host = host
        self._port = port
        self._runner: web.AppRunner | None = None
        self._stopping = asyncio.Event()
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        own = self.authority.issue_cert(host, "localhost", *names, not_after=not_after)
        own.configure_cert(self._context)

    async def __aenter__(self) -> PackageServer:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listen; after a `stop`, on the same port again."""
        self._stopping.clear()
        app = web.Application()
        app.router.add_get("/{name:.*}", self._answer)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0)
        await self._runner.setup()
        site = web.TCPSite(
            self._runner, self._host, self._port, ssl_context=self._context, reuse_address=True
        )
        await site.start()
        self._port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Close the port and all connections. Stopping a stopped server is no error."""
        self._stopping.set()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def put(self, name: str, data: bytes) -> str:
        """Serve `data` under `name`; returns its URL."""
        self._files[name] = data
        return self.url(name)

    def url(self, name: str, host: str = "") -> str:
        """The URL of a name, served or not; `host` is one of the certificate's names."""
        return f"https://{host or self._host}:{self._port}/{name}"

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._port

    def fail(self, name: str, *statuses: int, retry_after: str = "") -> None:
        """Answer the next requests with these statuses and `Retry-After`, then serve."""
        fault = self._fault(name)
        fault.statuses += statuses
        fault.retry_after = retry_after

    def truncate(self, name: str, at: int, times: int = 1) -> None:
        """Break the connection after `at` bytes of the body, `times` times."""
        fault = self._fault(name)
        fault.truncate_at, fault.truncate_times = at, times

    def redirect(self, name: str, to: str) -> None:
        """Answer with a redirect to `to`, which may be relative."""
        self._fault(name).redirect = to

    def slow(self, name: str, *, chunk: int, gate: asyncio.Event) -> None:
        """Send `chunk` bytes of the body, then wait for `gate` before the rest."""
        fault = self._fault(name)
        fault.chunk, fault.gate = chunk, gate

    def promise(self, name: str, length: int) -> None:
        """Promise a body of so many bytes, whatever is sent then."""
        self._fault(name).promised = length

    def script(self, name: str, answer: Script) -> str:
        """Have every request answered by `answer`; returns the URL."""
        self._fault(name).script = answer
        return self.url(name)

    def vary(self, name: str, bodies: list[bytes]) -> None:
        """Answer the n-th request from now with the n-th body; the last one repeats."""
        self._fault(name).bodies = list(bodies)

    def _fault(self, name: str) -> _Faults:
        return self._faults.setdefault(name, _Faults())

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"]
        fault = self._fault(name)
        asked = request.headers.get("Range", "")
        if fault.script is not None:
            self.requests.append(Request(name, asked, 0))
            return await self._play(fault.script, request)
        response, body = self._choose(name, fault, request)
        self.requests.append(Request(name, asked, response.status))
        self.queries.append(request.query_string)
        if response.status not in (200, 206):
            return response
        if fault.promised:
            response.content_length = fault.promised
        await response.prepare(request)
        await self._send(request, response, body, fault)
        return response

    async def _play(self, script: Script, request: web.Request) -> web.StreamResponse:
        """Let the script answer, until it has or the server stops."""
        playing = asyncio.ensure_future(script(request))
        try:
            await _first(asyncio.wait([playing]), self._stopping.wait())
        finally:
            if not playing.done():
                playing.cancel()
                _hang_up(request)
        return await playing

    def _choose(
        self, name: str, fault: _Faults, request: web.Request
    ) -> tuple[web.StreamResponse, bytes]:
        if fault.statuses:
            headers = {"Retry-After": fault.retry_after} if fault.retry_after else {}
            return web.Response(status=fault.statuses.pop(0), headers=headers), b""
        if fault.redirect:
            return web.Response(status=302, headers={"Location": fault.redirect}), b""
        if fault.bodies:
            body = fault.bodies.pop(0) if len(fault.bodies) > 1 else fault.bodies[0]
        elif name in self._files:
            body = self._files[name]
        else:
            return web.Response(status=404), b""
        return self._part(body, request)

    def _part(self, body: bytes, request: web.Request) -> tuple[web.StreamResponse, bytes]:
        """The whole body, or the range of it that was asked for under the right ETag."""
        etag = f'"{sha256(body).hexdigest()[:16]}"'
        response = web.StreamResponse(headers={"ETag": etag})
        if self._ranges:
            response.headers["Accept-Ranges"] = "bytes"
            match = re.fullmatch(r"bytes=(\d+)-", request.headers.get("Range", ""))
            if match and request.headers.get("If-Range", etag) == etag:
                start = int(match[1])
                if start >= len(body):
                    return web.Response(status=416), b""
                response.set_status(206)
                response.headers["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
                body = body[start:]
        if self._lengths:
            response.content_length = len(body)
        else:
            response.enable_chunked_encoding()
        return response, body

    async def _send(
        self, request: web.Request, response: web.StreamResponse, body: bytes, fault: _Faults
    ) -> None:
        if fault.truncate_times:
            fault.truncate_times -= 1
            await response.write(body[: fault.truncate_at])
            _hang_up(request)
            return
        sent = 0
        if fault.gate is not None and not fault.gate.is_set():
            sent = fault.chunk
            await response.write(body[:sent])
            await _first(fault.gate.wait(), self._stopping.wait())
            if not fault.gate.is_set():
                _hang_up(request)
                return
        for at in range(sent, len(body), _PIECE):
            await response.write(body[at : at + _PIECE])
        await response.write_eof()


def _hang_up(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.close()


async def _first(*waits: Coroutine[object, object, object]) -> None:
    """Wait until one of them is over."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
