"""The coordinator on the LAN: where it is, once it has proven itself.

An announcement is only a suggestion. What it names is believed when it completes a TLS
handshake as the fixed name under the given authority; nothing else is sent before that.
"""

from __future__ import annotations

import asyncio
import hashlib
import ssl
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from coordinator.client.transport import tls_context
from protocol.discovery import (
    CA_DIGITS,
    COORDINATOR_TYPE,
    CoordinatorSighting,
    DiscoveryError,
    Lookout,
)
from protocol.endpoints import parse_endpoint
from protocol.errors import InvalidRequestError, UnavailableError
from protocol.messages import FIXED_SERVER_NAME

HANDSHAKE = 2.0
"""Seconds that an announced address has for proving itself."""


async def find_coordinator(
    ca_file: Path | None, timeout: float, interfaces: Sequence[str] | None = None
) -> tuple[str, str]:
    """Return the URL of the first coordinator that proves itself, and the name to verify there.

    Looks for at most `timeout` seconds. Raises `InvalidRequestError` without a `ca_file`,
    `UnavailableError` if none was found or this machine can't use mDNS.
    """
    if ca_file is None:
        raise InvalidRequestError(
            "ca_file: required for discovery: without the coordinator's ca.pem nobody on the LAN"
            " could be believed",
            [{"field": "ca_file", "message": "required for discovery"}],
        )
    tls = tls_context(ca_file)
    try:
        async with Lookout((COORDINATOR_TYPE,), interfaces) as lookout:
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout):
                    return await _first_proven(lookout, tls), FIXED_SERVER_NAME
            seen = len(lookout.found)
    except DiscoveryError as error:
        raise UnavailableError(str(error)) from None
    raise UnavailableError(
        f"no coordinator of the authority in {ca_file} was found on the LAN within {timeout:g} s"
        f" ({seen} others announced themselves); give its address with --url or FERRYMAN_URL"
    )


async def _first_proven(lookout: Lookout, tls: ssl.SSLContext) -> str:
    ours = {
        hashlib.sha256(der).hexdigest()[:CA_DIGITS] for der in tls.get_ca_certs(binary_form=True)
    }
    while True:
        sighting = await lookout.arrivals.get()
        if isinstance(sighting, CoordinatorSighting) and sighting.ca in ours:
            for url in sighting.urls:
                if await _proves_itself(url, tls):
                    return url


async def _proves_itself(url: str, tls: ssl.SSLContext) -> bool:
    host, port = parse_endpoint(url.removeprefix("https://"))
    try:
        async with asyncio.timeout(HANDSHAKE):
            _, writer = await asyncio.open_connection(
                host, port, ssl=tls, server_hostname=FIXED_SERVER_NAME
            )
    except (OSError, TimeoutError):
        return False
    writer.transport.abort()
    with suppress(OSError):
        await writer.wait_closed()
    return True
