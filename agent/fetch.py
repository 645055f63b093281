"""One streaming pass from a URL to a published release.

The event loop feeds a pipe; a worker thread hashes what comes, and hands it to a process
without rights, which decompresses, checks and writes. The release gets its name only when
the whole body was read, and digest and signature are right. Whatever ends the pass early,
cancellation too, stops the thread and the process, and removes the staging folder before
this returns.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from agent.download import PackageSource, PackageStream
from agent.limits import LIMITS, Limits
from agent.lowest_rate import LowestRate
from agent.memory import give_back_memory
from agent.pace import Doing, Pace
from agent.package_bytes import Arriving
from agent.pipe import AbortedError, Pipe
from agent.ports import StepError
from agent.refused import TruncatedError
from agent.releases import Release, Releases
from agent.trust import Seal
from agent.turns import Turn
from agent.unpack_apart import unpack_apart
from agent.walls import unpack_user
from protocol.room import ROOM

Progress = Callable[[int, int | None], None]
"""Called on the event loop with bytes received and bytes in all; often, so keep it cheap."""


async def fetch_release(
    source: PackageSource,
    releases: Releases,
    *,
    version: str,
    url: str,
    service: str = "",
    digest: str = "",
    on_progress: Progress = lambda done, total: None,
    limits: Limits = LIMITS,
    until: float | None = None,
) -> Release:
    """Download, verify, unpack and publish the package at `url` as the release of `version`.

    `digest` is the SHA-256 that the package must have, "" to take what comes. `service` is
    what its signature must name, if the source's terms ask for one. Waits while other packages
    of this agent are being taken in. At `until`, a time of the event loop's clock, it is given
    up with what took so long. Raises `StepError`; no part of the package is left on disk then.
    """
    terms = source.terms
    pace = Pace()
    try:
        async with (
            asyncio.timeout_at(until),
            source.turns.open,
            _no_longer_than(terms.max_seconds, pace),
        ):
            pace.now(Doing.ANSWER)
            seal = await _seal(source, url, service, version)
            async with source.open(url) as stream:
                await asyncio.to_thread(_check_room, releases, stream.length)
                most = min(limits.unpacked, terms.max_bytes)
                _check_size(stream.length or 0, most)
                pipe = Pipe()
                take_in = partial(
                    _take_in,
                    pipe,
                    stream.length,
                    releases,
                    seal,
                    version=version,
                    digest=digest,
                    limits=limits,
                )
                turn, rate = Turn(source.turns), LowestRate(terms.min_rate, source.rate_window)
                feed = _Feed(pipe, stream, turn, pace, rate, most, on_progress)
                return await _both(source, feed, take_in)
    except TimeoutError:
        raise StepError(f"timed out while preparing: {pace.why()}") from None


@asynccontextmanager
async def _no_longer_than(seconds: float, pace: Pace) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(seconds) as limit:
            yield
    except TimeoutError:
        if not limit.expired():
            raise
        raise StepError(f"max_seconds is over ({seconds:g} s): {pace.why()}") from None


async def _seal(source: PackageSource, url: str, service: str, version: str) -> Seal | None:
    """The package's signature, looked at as far as that goes without the package."""
    trust = source.terms.trust
    if not trust.needs_signatures:
        return None
    signature = await source.signature_of(url)
    return await asyncio.to_thread(trust.seal, signature, service, version)


async def _both(source: PackageSource, feed: _Feed, take_in: Callable[[], Release]) -> Release:
    """Feed the pipe and take the package in, until both are over."""
    loop = asyncio.get_running_loop()
    work: asyncio.Future[Any] = loop.run_in_executor(source.turns.threads, take_in)
    feeding: asyncio.Future[Any] = asyncio.ensure_future(feed.run())
    try:
        await asyncio.wait({feeding, work}, return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            await feeding
        release: Release = await asyncio.shield(work)
        return release
    finally:
        feeding.cancel()
        feed.pipe.abort()
        await _settle(feeding, work)
        feed.turn.give_back()
        give_back_memory()


@dataclass(frozen=True, slots=True)
class _Feed:
    """Puts the whole body into the pipe, or as much as the worker wants."""

    pipe: Pipe
    stream: PackageStream
    turn: Turn
    pace: Pace
    rate: LowestRate
    most: int
    on_progress: Progress

    async def run(self) -> None:
        stream, pace = self.stream, self.pace
        self._tell()
        while data := await self._next():
            _check_size(stream.received, self.most)
            pace.now(Doing.TURN)
            await self.turn.take()
            pace.now(Doing.DISK)
            wanted = await self.pipe.put(data)
            self._tell()
            if not wanted:
                return
        pace.now(Doing.DISK)
        self.pipe.end()

    async def _next(self) -> bytes:
        self.pace.now(Doing.BYTES)
        with self.turn.given_back_after(), self.rate.waiting():
            data = await self.stream.read()
        self.rate.got(len(data))
        return data

    def _tell(self) -> None:
        self.pace.got(self.stream.received, self.stream.length)
        self.on_progress(self.stream.received, self.stream.length)


async def _settle(*parts: asyncio.Future[Any]) -> None:
    """Wait until all parts are over, even if this task is cancelled meanwhile."""
    cancelled = None
    while any(not part.done() for part in parts):
        try:
            await asyncio.wait(parts)
        except asyncio.CancelledError as error:
            cancelled = error
    for part in parts:
        if not part.cancelled():
            part.exception()
    if cancelled:
        raise cancelled


def _check_size(size: int, most: int) -> None:
    if size > most:
        raise StepError(
            f"package refused: larger than allowed: {size} bytes, at most {most} are accepted"
        )


def _check_room(releases: Releases, length: int | None) -> None:
    if length is None:
        return
    free = releases.free_bytes()
    if free < ROOM * length:
        raise StepError(
            f"no space for a package of {length} bytes: {ROOM * length} must be free, {free} are"
        )


def _take_in(
    pipe: Pipe,
    length: int | None,
    releases: Releases,
    seal: Seal | None,
    *,
    version: str,
    digest: str,
    limits: Limits,
) -> Release:
    """The worker thread: from bytes to a release."""
    try:
        with releases.stage() as staging:
            package = Arriving(seal.through(pipe.read) if seal else pipe.read, pipe.wait)
            entries = unpack_apart(
                package, length, staging.path, unpack_user(), limits=limits, check=pipe.check
            )
            if digest and package.digest != digest:
                raise StepError(f"package changed: expected sha256 {digest}, got {package.digest}")
            signed = seal.check() if seal else None
            pipe.check()
            return staging.publish(version, package.digest, entries, signed)
    except AbortedError:
        raise StepError("the download was given up") from None
    except TruncatedError as error:
        # Without a length nobody can tell a cut connection from a package that is short.
        raise StepError(error.message, passing=length is None) from None
    finally:
        pipe.leave()
