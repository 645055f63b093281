"""One HTTPS connection pool to one coordinator: requests out, envelopes in.

This is the only file that knows aiohttp's exceptions. Whatever keeps an answer from
arriving becomes `UnavailableError` with the URL and what to check; whatever the
coordinator refuses becomes the exception that its `type` names. It never follows a
redirect, so that the token goes to the given URL and nowhere else.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit
from weakref import WeakSet

import aiohttp
from aiohttp.connector import AddrInfoType
from pydantic import BaseModel, ValidationError
from yarl import URL

from protocol import __version__
from protocol.errors import BY_TYPE, FerrymanError, InvalidRequestError, UnavailableError, from_wire

M = TypeVar("M", bound=BaseModel)

SILENCE = 60.0
"""Seconds without a byte after which a stream counts as broken; the coordinator sends a
comment every 15."""

NOT_SENT: Mapping[str, Any] = {"sent": False}
"""The detail of an `UnavailableError` that came before anything was sent."""

_TYPE_OF_STATUS = {cls.code: cls.type for cls in BY_TYPE.values()}


class Transport:
    """Speaks the documented envelope with the coordinator at `url`."""

    def __init__(
        self,
        url: str,
        token: str,
        ca_file: str | Path | None,
        *,
        timeout: float,
        server_name: str | None = None,
    ) -> None:
        self.url = _checked_url(url)
        self._headers = {
            "Authorization": f"Bearer {_checked_token(token)}",
            "Accept": "application/json",
            "User-Agent": f"ferryman/{__version__}",
        }
        self._tls = tls_context(ca_file)
        self._timeout = timeout
        self._server_name = server_name
        self._session: aiohttp.ClientSession | None = None
        self._sockets: WeakSet[socket.socket] = WeakSet()

    async def close(self) -> None:
        """Close every connection; a later request opens a new one.

        A request that broke off leaves its connection saying goodbye by TLS to a peer that
        may never answer: such a socket is shut down, and gone before the event loop is.
        """
        if self._session is not None:
            await self._session.close()
            self._session = None
        for open_ in (one for one in self._sockets if one.fileno() >= 0):
            with suppress(OSError):
                open_.shutdown(socket.SHUT_RDWR)
        for _ in range(100):
            if all(one.fileno() < 0 for one in self._sockets):
                return
            await asyncio.sleep(0)

    async def ask(
        self,
        method: str,
        path: str,
        answer: type[M],
        *,
        query: Mapping[str, str] | None = None,
        body: BaseModel | Mapping[str, Any] | None = None,
        patience: float = 0.0,
    ) -> M:
        """Send one request and return the answer's `data` as `answer`.

        `patience` is how many seconds the answer may take, if that is longer than usual.
        """
        if isinstance(body, BaseModel):
            body = _written(body)
        longest = max(self._timeout, patience)
        limits = aiohttp.ClientTimeout(total=longest, connect=self._timeout)
        async with self._open(method, path, limits, params=query, json=body) as response:
            data = _data_of(self.url, response, await response.read())
        try:
            return answer.model_validate(data)
        except ValidationError as error:
            where = ".".join(str(part) for part in error.errors()[0]["loc"])
            raise UnavailableError(
                f"{self.url} answered something that this client ({__version__}) does not"
                f" understand (in {answer.__name__}: {where or 'data'}); use matching versions"
            ) from None

    async def lines(self, path: str, headers: Mapping[str, str]) -> AsyncIterator[str]:
        """Send one GET and yield the lines of an answer that has no end."""
        limits = aiohttp.ClientTimeout(total=None, connect=self._timeout, sock_read=SILENCE)
        async with self._open("GET", path, limits, headers=headers) as response:
            if response.status != 200:
                _data_of(self.url, response, await response.read())
            async for line in response.content:
                yield line.decode("utf-8", errors="replace").rstrip("\r\n")

    def _new_socket(self, address: AddrInfoType) -> socket.socket:
        family, kind, protocol, _, _ = address
        made = socket.socket(family, kind, protocol)
        self._sockets.add(made)
        return made

    @asynccontextmanager
    async def _open(
        self, method: str, path: str, limits: aiohttp.ClientTimeout, **parts: Any
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        if self._session is None:
            connector = aiohttp.TCPConnector(socket_factory=self._new_socket)
            self._session = aiohttp.ClientSession(headers=self._headers, connector=connector)
        try:
            async with self._session.request(
                method,
                URL(self.url + path, encoded=True),
                ssl=self._tls,
                server_hostname=self._server_name,
                timeout=limits,
                allow_redirects=False,
                **parts,
            ) as response:
                yield response
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            not_sent = isinstance(error, aiohttp.ClientConnectorError)
            raise UnavailableError(
                _why_not(self.url, error, limits.total or self._timeout),
                [NOT_SENT] if not_sent else [],
            ) from None


def _written(params: BaseModel) -> dict[str, Any]:
    """The parameters as a body. Of a model in them only what was given: the rest may be named."""
    body = params.model_dump(mode="json", exclude_none=True)
    for name in body:
        inner = getattr(params, name)
        if isinstance(inner, BaseModel):
            body[name] = inner.model_dump(mode="json", exclude_unset=True)
    return body


def _data_of(url: str, response: aiohttp.ClientResponse, body: bytes) -> Any:
    try:
        envelope = json.loads(body)
    except (ValueError, RecursionError):
        envelope = None
    if not isinstance(envelope, dict) or "data" not in envelope or "message" not in envelope:
        raise UnavailableError(
            f"{url} answered {response.status} with {response.content_type}, which no coordinator"
            " does; check the URL"
        )
    if response.status == 200:
        return envelope["data"]
    raise _refusal(response.status, envelope)


def _refusal(status: int, envelope: Mapping[str, Any]) -> FerrymanError:
    data = envelope["data"] if isinstance(envelope["data"], dict) else {}
    type_ = data.get("type")
    if not isinstance(type_, str) or type_ not in BY_TYPE:
        type_ = _TYPE_OF_STATUS.get(status, FerrymanError.type)
    details = data.get("details")
    kept = [d for d in details if isinstance(d, dict)] if isinstance(details, list) else []
    return from_wire(type_, str(envelope["message"]), kept)


def _why_not(url: str, error: Exception, timeout: float) -> str:
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return _distrust(url, error.certificate_error)
    if isinstance(error, aiohttp.ClientSSLError):
        return f"{url}: TLS failed ({error}); is this the coordinator's port?"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return f"{url}: the host name can't be resolved; check the URL"
    if isinstance(error, aiohttp.ClientConnectorError):
        number = error.os_error.errno
        reason = os.strerror(number) if number else str(error.os_error)
        return f"{url} can't be reached ({reason}); is the coordinator running there?"
    if isinstance(error, TimeoutError):
        return f"{url} did not answer within {timeout:g} s"
    return f"{url}: the connection broke ({error or type(error).__name__})"


def _distrust(url: str, problem: Exception) -> str:
    reason = getattr(problem, "verify_message", "") or str(problem)
    if "mismatch" in reason.lower():
        advice = (
            "use a name or address that it holds, or add this one to the coordinator's [tls] names"
        )
    else:
        advice = "give the coordinator's ca.pem with --ca-file or FERRYMAN_CA_FILE"
    return f"{url}: the certificate is not trusted ({reason}); {advice}"


def _checked_url(url: str) -> str:
    rule = "must be https://HOST[:PORT], such as https://coordinator.example.com:7420"
    problem = InvalidRequestError(f"url: {rule}", [{"field": "url", "message": rule}])
    if not url.isascii() or not url.isprintable() or " " in url:
        raise problem
    try:
        parts = urlsplit(url)
        port_is_sound = parts.port is None or parts.port > 0
    except ValueError:
        raise problem from None
    extra = "@" in parts.netloc or parts.query or parts.fragment
    if parts.scheme != "https" or not parts.hostname or extra or not port_is_sound:
        raise problem
    return url.rstrip("/")


def _checked_token(token: str) -> str:
    if token and token.isascii() and token.isprintable() and " " not in token:
        return token
    rule = "must be one word of printable ASCII, as `ferryman token create` prints it"
    raise InvalidRequestError(f"token: {rule}", [{"field": "token", "message": rule}])


def tls_context(ca_file: str | Path | None) -> ssl.SSLContext:
    """What verifies a server: the authorities in `ca_file`, or else the system's."""
    try:
        return ssl.create_default_context(cafile=str(ca_file) if ca_file else None)
    except ssl.SSLError:
        why = "holds no certificate in PEM"
    except OSError as error:
        why = f"can't be read: {error.strerror}"
    message = f"{ca_file} {why}"
    raise InvalidRequestError(f"ca_file: {message}", [{"field": "ca_file", "message": message}])
