"""The ways in which package servers misbehave, and what must come of each.

A kind's deployment has `TIMEOUT` and may be retried once. Nothing here deploys.
"""

from __future__ import annotations

import asyncio
import gzip
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from aiohttp import web

from tests.parts.daemons import free_port
from tests.parts.package_server import PackageServer
from tests.parts.packages import header, sha256, tar, tar_gz
from tests.parts.service import service_package

TIMEOUT = 16
"""Seconds of every deployment, retries included."""

BALLAST = random.Random(3).randbytes(300_000)
GOOD = service_package("v2", ballast=BALLAST)
HTML = b"<!doctype html><title>Sign in</title>" * 50
LIES = {"Accept-Ranges": "bytes", "ETag": '"always-the-same"'}


@dataclass(frozen=True, slots=True)
class Site:
    """Servers of every sort: the one that is trusted, two that are not, two that speak no TLS."""

    packages: PackageServer
    foreign: PackageServer
    expired: PackageServer
    mute: str
    plain: str


@dataclass(frozen=True, slots=True)
class Kind:
    """One fault. `order` makes a server of the site have it and returns the URL to deploy.

    `says` is in the error message; `attempts` is how many there are with one retry allowed.
    """

    name: str
    order: Callable[[Site, str], str]
    says: str = ""
    attempts: int = 1
    succeeds: bool = False
    digest: str = ""
    not_before: float = 0.0
    """Seconds that must lie between the first request and the second."""


@asynccontextmanager
async def site(folder: Path, packages: PackageServer) -> AsyncIterator[Site]:
    """Open all servers; `packages` is the one whose authority the agents trust."""
    for name in ("foreign", "expired"):
        (folder / name).mkdir()
    yesterday = datetime.now(UTC) - timedelta(days=1)
    silent = await asyncio.start_server(_hear_out, "127.0.0.1", 0)
    greeting = await asyncio.start_server(_greet, "127.0.0.1", 0)
    async with (
        PackageServer(folder / "foreign") as foreign,
        PackageServer(folder / "expired", packages.authority, not_after=yesterday) as expired,
        silent,
        greeting,
    ):
        yield Site(packages, foreign, expired, _address(silent), _address(greeting))


def _address(server: asyncio.Server) -> str:
    return f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/v2.tar.gz"


async def _hear_out(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while await reader.read(1000):
        continue
    writer.close()


async def _greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"220 mail.example ready\r\n")
    await writer.drain()
    writer.close()


# ---- orders ----------------------------------------------------------------


def _statuses(site: Site, name: str, *statuses: int, retry_after: str = "") -> str:
    site.packages.fail(name, *statuses, retry_after=retry_after)
    return site.packages.put(name, GOOD)


def _bytes(site: Site, name: str, *, data: bytes) -> str:
    return site.packages.put(name, data)


def _cut(site: Site, name: str, *, at: int, times: int) -> str:
    site.packages.truncate(name, at, times)
    return site.packages.put(name, GOOD)


def _promise(site: Site, name: str, *, length: int) -> str:
    site.packages.promise(name, length)
    return site.packages.put(name, GOOD)


def _redirect(site: Site, name: str, *, to: str) -> str:
    site.packages.redirect(name, to or f"/{name}")
    return site.packages.url(name)


def _rebuilt_each_time(site: Site, name: str) -> str:
    bodies = [service_package("v2", ballast=BALLAST + bytes([number])) for number in range(50)]
    site.packages.vary(name, bodies)
    site.packages.truncate(name, 100_000, 99)
    return site.packages.url(name)


def _script(site: Site, name: str, *, play: Callable[[web.Request], Awaitable[_Answer]]) -> str:
    return site.packages.script(name, play)


# ---- scripts ---------------------------------------------------------------

_Answer = web.StreamResponse


async def _begun(request: web.Request, length: int | None, **headers: str) -> _Answer:
    answer = web.StreamResponse(headers=headers)
    answer.content_length = length
    await answer.prepare(request)
    return answer


async def _stall(request: web.Request) -> _Answer:
    answer = await _begun(request, len(GOOD))
    await answer.write(GOOD[:1000])
    await asyncio.Event().wait()
    return answer


async def _drip(request: web.Request) -> _Answer:
    answer = await _begun(request, len(GOOD))
    for byte in GOOD:
        await answer.write(bytes([byte]))
        await asyncio.sleep(1)
    return answer


async def _endless_archive(request: web.Request) -> _Answer:
    answer = await _begun(request, None)
    number = 0
    while True:
        await answer.write(header(f"part-{number}", bytes(65_536)))
        await asyncio.sleep(0.1)
        number += 1


async def _hang_up_early(request: web.Request) -> _Answer:
    answer = await _begun(request, len(GOOD) + 1000)
    await answer.write(GOOD)
    if request.transport is not None:
        request.transport.close()
    return answer


async def _other_rest_same_etag(request: web.Request) -> _Answer:
    """Half of one package and, by a range request, the rest of another of the same length."""
    asked = request.headers.get("Range", "")
    if not asked:
        answer = await _begun(request, len(_ONE), **LIES)
        await answer.write(_ONE[: len(_ONE) // 2])
        if request.transport is not None:
            request.transport.close()
        return answer
    start = int(asked.removeprefix("bytes=").removesuffix("-"))
    told = {"Content-Range": f"bytes {start}-{len(_TWO) - 1}/{len(_TWO)}", **LIES}
    answer = web.StreamResponse(status=206, headers=told)
    answer.content_length = len(_TWO) - start
    await answer.prepare(request)
    await answer.write(_TWO[start:])
    return answer


_ONE, _TWO = (tar({"bin/server": BALLAST[:100_000], "end": end}) for end in (b"one", b"two"))


# ---- the table -------------------------------------------------------------

KINDS = (
    Kind(
        "connection-refused",
        lambda site, name: f"https://127.0.0.1:{free_port()}/{name}",
        "can't connect (Connection refused)",
        attempts=2,
    ),
    Kind(
        "unknown-host",
        lambda site, name: f"https://packages.invalid/{name}",
        "the host name is not known",
        attempts=2,
    ),
    Kind(
        "impossible-host",
        lambda site, name: f"https://packages..example/{name}",
        "the package URL is not a valid https:// URL",
    ),
    Kind(
        "accepts-and-is-mute",
        lambda site, name: site.mute,
        "timed out while preparing: the server did not answer for ",
        attempts=2,
    ),
    Kind("no-tls", lambda site, name: site.plain, "TLS could not be set up", attempts=2),
    Kind(
        "another-authority",
        lambda site, name: site.foreign.put(name, GOOD),
        "the server's certificate is not trusted (",
    ),
    Kind(
        "expired-certificate",
        lambda site, name: site.expired.put(name, GOOD),
        "the server's certificate is not trusted (certificate has expired)",
    ),
    Kind("404", lambda site, name: site.packages.url(name), "the server answered 404"),
    Kind("403", lambda site, name: _statuses(site, name, *[403] * 9), "the server answered 403"),
    Kind(
        "429-then-fine",
        lambda site, name: _statuses(site, name, 429, retry_after="3"),
        attempts=2,
        succeeds=True,
        not_before=3.0,
    ),
    Kind(
        "429-always",
        lambda site, name: _statuses(site, name, *[429] * 9, retry_after="3"),
        "the server answered 429 (retry after 3 s)",
        attempts=2,
        not_before=3.0,
    ),
    Kind(
        "429-for-an-hour",
        lambda site, name: _statuses(site, name, *[429] * 9, retry_after="3600"),
        "the server answered 429 (retry after 3600 s)",
    ),
    Kind(
        "500-always",
        lambda site, name: _statuses(site, name, *[500] * 9),
        "the server answered 500",
        attempts=2,
    ),
    Kind(
        "500-sometimes",
        lambda site, name: _statuses(site, name, 500),
        attempts=2,
        succeeds=True,
    ),
    Kind("breaks-off-once", partial(_cut, at=100_000, times=1), succeeds=True),
    Kind(
        "breaks-off-always",
        partial(_cut, at=0, times=99),
        "bytes: the server closed the connection; gave up after 2 resumes",
        attempts=2,
    ),
    Kind(
        "truncated-file",
        partial(_bytes, data=GOOD[:-500]),
        "package refused: the compressed data ends in the middle",
    ),
    Kind(
        "stalls-at-a-byte",
        partial(_script, play=_stall),
        f"s after 1000 of {len(GOOD)} bytes",
    ),
    Kind("one-byte-a-second", partial(_script, play=_drip), "the server was too slow: "),
    Kind(
        "endless",
        partial(_script, play=_endless_archive),
        "no end of the package came, and the server told no length: ",
    ),
    Kind(
        "a-member-without-end",
        partial(_bytes, data=header("big", b"", size=30 * 1024**3) + bytes(100_000)),
        "bytes; at most 21474836480 are accepted",
    ),
    Kind(
        "length-too-long",
        partial(_script, play=_hang_up_early),
        f"of {len(GOOD) + 1000} bytes: the server closed",
        attempts=2,
    ),
    Kind(
        "length-too-short",
        partial(_promise, length=len(GOOD) - 500),
        "package refused: the compressed data ends in the middle",
    ),
    Kind("length-absurd", partial(_promise, length=10**15), "no space for a package of "),
    Kind("login-page", partial(_bytes, data=HTML), "package refused: it is not an archive"),
    Kind(
        "gzip-of-something-else",
        partial(_bytes, data=gzip.compress(HTML)),
        "package refused: it is not an archive",
    ),
    Kind("redirect-loop", partial(_redirect, to=""), "more than 3 redirects"),
    Kind(
        "redirect-to-http",
        partial(_redirect, to="http://127.0.0.1:1/v2.tar.gz?signature=secret"),
        "redirects to http://127.0.0.1:1/v2.tar.gz, which is not https: refused",
    ),
    Kind(
        "changes-between-ranges",
        _rebuilt_each_time,
        "the package changed meanwhile and can't be resumed",
        attempts=2,
    ),
    Kind(
        "changes-under-one-etag",
        partial(_script, play=_other_rest_same_etag),
        f"package changed: expected sha256 {sha256(_ONE)}, got ",
        digest=sha256(_ONE),
    ),
    Kind(
        "another-package",
        partial(_bytes, data=tar_gz({"bin/server": b"another"})),
        f"package changed: expected sha256 {sha256(GOOD)}, got ",
        digest=sha256(GOOD),
    ),
)
"""Every kind that one host can meet; "changes between hosts" takes two."""
