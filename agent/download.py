"""A package over HTTPS as one stream of bytes, resumed where it broke off.

Https at every hop, at most three redirects, no compression on the way, no proxy, no cookie;
every host and address is checked by the source's terms. A break in the
middle is resumed only if the server takes ranges and has a strong ETag, and only with the
same ETag: what comes out is one body or an error, never a mixture.

Every failure is a `StepError` with its own reason. Nothing here looks at the bytes.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import aiohttp
from aiohttp.abc import AbstractResolver
from yarl import URL

from agent.connector import CheckedConnector, refusal_in
from agent.lowest_rate import RATE_WINDOW
from agent.minisign import MAX_SIGNATURE_BYTES
from agent.network_reasons import NETWORK_ERRORS, reason_of
from agent.package_url import parse_url, redirected, shown_url, signature_url
from agent.ports import StepError
from agent.retry_after import asked_pause
from agent.terms import Terms
from agent.turns import Turns

MAX_REDIRECTS = 3
MAX_RESUMES = 5
MAX_FRUITLESS = 2
"""Resumes in a row that may bring no byte."""
CONNECT_TIMEOUT = 10.0
READ_TIMEOUT = 30.0
"""Seconds without a byte; a resume does not wait longer either, whatever the server asks for."""
ANSWER_TIMEOUT = CONNECT_TIMEOUT + READ_TIMEOUT
"""Seconds from the look-up of a name to the last header, of a signature to its last byte."""
RESUME_PAUSE = 0.2
"""Seconds before the first resume; doubled before each further one."""

_READ_BUFFER = 256 * 1024
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_CONTENT_RANGE = re.compile(r"bytes (\d{1,20})-(\d{1,20})/(\d{1,20}|\*)", re.ASCII)


class PackageSource:
    """Opens packages. One for each agent; it owns the connections, and the turns at unpacking.

    `ca_file` is trusted besides the system's authorities; `resolver` looks up names instead
    of the system.
    """

    def __init__(
        self,
        ca_file: Path | None,
        terms: Terms | None = None,
        *,
        read_timeout: float = READ_TIMEOUT,
        answer_timeout: float = ANSWER_TIMEOUT,
        resume_pause: float = RESUME_PAUSE,
        rate_window: float = RATE_WINDOW,
        resolver: AbstractResolver | None = None,
    ) -> None:
        self.terms = terms or Terms()
        self._ca_file = ca_file
        self._resolver = resolver
        self._timeout = aiohttp.ClientTimeout(
            # `connect` bounds the look-up of the name, too; `sock_connect` does not.
            total=None,
            connect=CONNECT_TIMEOUT,
            sock_connect=CONNECT_TIMEOUT,
            sock_read=read_timeout,
        )
        self._answer_timeout = answer_timeout
        self.read_timeout = read_timeout
        self.resume_pause = resume_pause
        self.rate_window = rate_window
        self.turns = Turns()
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close all connections. Nothing can be fetched afterwards."""
        self.turns.close()
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def __aenter__(self) -> PackageSource:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    @asynccontextmanager
    async def open(self, url: str) -> AsyncIterator[PackageStream]:
        """Begin to download the package at `url`. Raises `StepError`."""
        start = parse_url(url)
        response = await self.request(start)
        try:
            if response.status != 200:
                raise _refused(response.url, response)
            stream = PackageStream(self, start, response)
        except BaseException:
            response.close()
            raise
        try:
            yield stream
        finally:
            stream.close()

    async def signature_of(self, url: str) -> bytes:
        """Return what stands beside the package at `url` as its signature. Raises `StepError`."""
        beside = signature_url(parse_url(url))
        try:
            async with asyncio.timeout(self._answer_timeout):
                return await self._small(beside, MAX_SIGNATURE_BYTES)
        except NETWORK_ERRORS as error:
            raise StepError(
                f"no signature: {shown_url(beside)}: {reason_of(error)}", passing=True
            ) from None
        except StepError as error:
            raise StepError(
                f"no signature: {error.message}",
                passing=error.passing,
                retry_after=error.retry_after,
            ) from None

    async def _small(self, url: URL, most: int) -> bytes:
        response = await self.request(url)
        try:
            if response.status != 200:
                raise _refused(response.url, response)
            data = b""
            while len(data) <= most and (more := await response.content.readany()):
                data += more
        finally:
            response.close()
        if len(data) > most:
            raise StepError(f"{shown_url(url)}: larger than the {most} bytes that are accepted")
        return data

    async def request(self, url: URL, rest: Rest | None = None) -> aiohttp.ClientResponse:
        """Ask for `url`, following redirects by hand; an answer from 300 on is an error.

        What `rest` asks for is told only to the origin that it is of.
        """
        for _ in range(MAX_REDIRECTS + 1):
            self._check_allowed(url)
            headers = rest.headers if rest and rest.origin == url.origin() else {}
            response = await self._get(url, headers)
            if response.status not in _REDIRECTS:
                if response.status >= 300:
                    response.close()
                    raise _refused(url, response)
                return response
            response.close()
            url = redirected(url, response.headers.get("Location", ""))
        raise StepError(f"{shown_url(url)}: more than {MAX_REDIRECTS} redirects")

    def _check_allowed(self, url: URL) -> None:
        if why := self.terms.hosts.refuse_host(url.raw_host or "", url.port or 0):
            raise StepError(f"{shown_url(url)}: refused: {why}")

    async def _get(self, url: URL, headers: Mapping[str, str]) -> aiohttp.ClientResponse:
        try:
            async with asyncio.timeout(self._answer_timeout):
                return await self._open_session().get(url, headers=headers, allow_redirects=False)
        except NETWORK_ERRORS as error:
            raise _unreachable(url, error) from None

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=CheckedConnector(self.terms.hosts, self._trust(), self._resolver),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"Accept-Encoding": "identity", "User-Agent": "ferryman-agent"},
                timeout=self._timeout,
                auto_decompress=False,
                read_bufsize=_READ_BUFFER,
                trust_env=False,
            )
        return self._session

    def _trust(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        if self._ca_file is not None:
            try:
                context.load_verify_locations(self._ca_file)
            except (OSError, ssl.SSLError) as error:
                why = error.strerror or "no certificates in it"
                raise StepError(f"package_ca_file {self._ca_file}: {why}") from None
        return context


@dataclass(frozen=True, slots=True)
class Rest:
    """The headers that ask for the rest of a body, and the origin that began to send it."""

    origin: URL
    headers: Mapping[str, str]


class PackageStream:
    """One package while it comes in."""

    def __init__(self, source: PackageSource, url: URL, response: aiohttp.ClientResponse) -> None:
        self._source = source
        self._url = url
        self._response = response
        self._origin = response.url.origin()
        self._etag = _strong_etag(response)
        self._takes_ranges = response.headers.get("Accept-Ranges", "").lower() == "bytes"
        self._resumes = 0
        self._fruitless = 0
        self.length = response.content_length
        """Bytes of the whole package; None if the server does not say."""
        self.received = 0

    async def read(self) -> bytes:
        """Return the next bytes, b"" at the end. Raises `StepError` if it breaks off for good."""
        while True:
            try:
                data = await self._response.content.readany()
                if not data and self.length is not None and self.received != self.length:
                    raise aiohttp.ClientPayloadError("too few bytes")
            except NETWORK_ERRORS as error:
                await self._resume(error)
                continue
            if data:
                self._fruitless = 0
                self.received += len(data)
                self._check_length()
            return data

    def close(self) -> None:
        """Drop the connection if the body was not read to its end."""
        self._response.close()

    def _check_length(self) -> None:
        if self.length is not None and self.received > self.length:
            raise self._broken("the server sent more than it promised")

    async def _resume(self, error: Exception) -> None:
        """Ask for the rest, a few times if need be. Raises `StepError` if there is no way."""
        self._response.close()
        reason = reason_of(error)
        if isinstance(error, TimeoutError):
            reason = f"stalled for {self._source.read_timeout:g} s"
        if not self._takes_ranges or not self._etag:
            raise self._broken(f"{reason}; the server can't resume it")
        headers = {"Range": f"bytes={self.received}-", "If-Range": self._etag}
        rest = Rest(self._origin, headers)
        asked = 0.0
        while self._resumes < MAX_RESUMES and self._fruitless < MAX_FRUITLESS:
            await asyncio.sleep(max(asked, self._source.resume_pause * 2**self._resumes))
            self._resumes += 1
            self._fruitless += 1
            try:
                self._response = await self._source.request(self._url, rest)
            except StepError as again:
                asked = again.retry_after
                if again.passing and asked <= READ_TIMEOUT:
                    continue
                raise self._broken(f"{reason}; to resume it: {again}", asked) from None
            self._check_rest(self._response)
            return
        raise self._broken(f"{reason}; gave up after {self._resumes} resumes", asked)

    def _check_rest(self, response: aiohttp.ClientResponse) -> None:
        """Raise unless the answer is the missing rest of the very same body."""
        if response.status != 206 or _strong_etag(response) != self._etag:
            raise self._broken("the package changed meanwhile and can't be resumed")
        match = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
        if match is None or int(match[1]) != self.received:
            raise self._broken("the server resumed it at a wrong place")
        whole = int(match[2]) + 1 if match[3] == "*" else int(match[3])
        if self.length not in (None, whole) or int(match[2]) + 1 != whole:
            raise self._broken("the server resumed it with another length")
        self.length = whole

    def _broken(self, reason: str, retry_after: float = 0.0) -> StepError:
        whole = "" if self.length is None else f" of {self.length}"
        return StepError(
            f"{shown_url(self._url)}: broke off after {self.received}{whole} bytes: {reason}",
            passing=True,
            retry_after=retry_after,
        )


def _refused(url: URL, response: aiohttp.ClientResponse) -> StepError:
    status = response.status
    passing = status >= 500 or status in (408, 429)
    pause = asked_pause(response.headers) if passing else 0.0
    text = f"{shown_url(url)}: the server answered {status}"
    if pause:
        text += f" (retry after {pause:g} s)"
    return StepError(text, passing=passing, retry_after=pause)


def _unreachable(url: URL, error: Exception) -> StepError:
    if why := refusal_in(error):
        return StepError(f"{shown_url(url)}: refused: {why}")
    untrusted = isinstance(error, aiohttp.ClientConnectorCertificateError)
    return StepError(f"{shown_url(url)}: {reason_of(error)}", passing=not untrusted)


def _strong_etag(response: aiohttp.ClientResponse) -> str:
    """The strong ETag of an answer; "" for none or a weak one."""
    etag = response.headers.get("ETag", "")
    return etag if len(etag) > 2 and etag[0] == etag[-1] == '"' else ""
