"""What went wrong on the network, in words for people.

An exception's own text may hold a URL with its query, which may be a signature: only
what is known to be harmless of it is shown.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Mapping
from typing import Any

import aiohttp

NETWORK_ERRORS = (aiohttp.ClientError, TimeoutError, OSError)
"""What aiohttp raises when a request or a body fails."""


def reason_of(error: Exception) -> str:
    """Return why a request failed, without the URL."""
    for kind, say in _REASONS.items():
        if isinstance(error, kind):
            return say if isinstance(say, str) else say(error)
    return f"the connection failed ({type(error).__name__})"


def _certificate(error: Any) -> str:
    detail = getattr(error.certificate_error, "verify_message", "") or "not valid"
    return f"the server's certificate is not trusted ({detail})"


def _connect(error: Any) -> str:
    return f"can't connect ({_system_text(error.os_error) or 'no address answered'})"


def _system(error: Any) -> str:
    return f"the connection failed ({_system_text(error) or type(error).__name__})"


def _system_text(error: OSError) -> str:
    # asyncio puts "Connect call failed" and the address where the system's text belongs.
    if error.errno is not None and error.errno in errno.errorcode:
        return os.strerror(error.errno)
    return error.strerror or ""


_REASONS: Mapping[type[Exception], str | Callable[[Any], str]] = {
    # The first match counts: subclasses stand before their bases.
    aiohttp.ClientConnectorCertificateError: _certificate,
    aiohttp.ClientConnectorDNSError: "the host name is not known",
    TimeoutError: "the server did not answer in time",
    aiohttp.ClientSSLError: "TLS could not be set up",
    aiohttp.ClientConnectorError: _connect,
    aiohttp.ServerDisconnectedError: "the server closed the connection",
    aiohttp.ClientPayloadError: "the server closed the connection",
    aiohttp.ClientResponseError: "the server's answer is not valid HTTP",
    OSError: _system,
}
