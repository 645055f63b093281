"""Questions to a coordinator over HTTPS, by a host that has no certificate yet.

One question is one request with a bounded answer. Nothing here decides whom to believe: the
caller brings the TLS. What an unverified coordinator shows proves nothing.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import Collection
from typing import Any

import aiohttp

from agent.identity import EnrollError, one_certificate
from protocol.lines import one_line
from protocol.messages import FIXED_SERVER_NAME

ANSWER_WITHIN = 30.0
"""Seconds for one question."""

MAX_ANSWER = 65_536


async def shown_authorities(url: str) -> list[str]:
    """The certificates (PEM) of the authorities that the coordinator at `url` claims to have.

    The one that signs is the first; while it is rotated the older one follows. They come over
    TLS that verifies nothing, and nothing is sent. Raises `EnrollError`.
    """
    unverified = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    unverified.check_hostname = False
    unverified.verify_mode = ssl.CERT_NONE
    answer = await ask("GET", f"{url}/v1/agent/authority", unverified)
    shown = [certificate_in(answer, "authority", url)]
    if answer.get("older"):
        shown.append(certificate_in(answer, "older", url))
    return shown


def certificate_in(answer: dict[str, Any], key: str, url: str) -> str:
    """The certificate (PEM) in an answer; raises `EnrollError` if there is none."""
    text = answer.get(key)
    try:
        return one_certificate(text if isinstance(text, str) else "")
    except ValueError:
        raise EnrollError(f"{url} answered without a certificate in `{key}`") from None


async def ask(
    method: str,
    url: str,
    tls: ssl.SSLContext,
    body: dict[str, str] | None = None,
    *,
    may_pass: Collection[int] = (),
) -> dict[str, Any]:
    """Ask, and return the `data` of the answer's envelope.

    Raises `EnrollError`; what was refused with a status of `may_pass` is `passing`, too.
    """
    limit = aiohttp.ClientTimeout(total=ANSWER_WITHIN)
    try:
        async with (
            aiohttp.ClientSession(timeout=limit) as session,
            session.request(
                method,
                url,
                json=body,
                ssl=tls,
                server_hostname=FIXED_SERVER_NAME,
                allow_redirects=False,
            ) as response,
        ):
            return _data(url, response.status, await _body(response), may_pass)
    except aiohttp.ClientConnectorCertificateError as error:
        raise EnrollError(
            f"{url}: its certificate does not verify: {error.certificate_error}"
        ) from None
    except TimeoutError:
        raise EnrollError(f"{url}: no answer within {ANSWER_WITHIN:g} s", passing=True) from None
    except aiohttp.ClientError as error:
        raise EnrollError(f"{url} can't be reached: {error}", passing=True) from None


async def _body(response: aiohttp.ClientResponse) -> bytes:
    raw = bytearray()
    async for piece in response.content.iter_any():
        raw += piece
        if len(raw) > MAX_ANSWER:
            raise EnrollError(f"{response.url} did not answer as a coordinator does: too long")
    return bytes(raw)


def _data(url: str, status: int, raw: bytes, may_pass: Collection[int]) -> dict[str, Any]:
    try:
        envelope = json.loads(raw)
    except (ValueError, RecursionError):
        envelope = None
    envelope = envelope if isinstance(envelope, dict) else {}
    if status != 200:
        said = one_line(str(envelope.get("message") or f"HTTP {status}"), longest=500)
        if status == 401:
            raise EnrollError(f"{url}: the join token was refused: {said}")
        passing = status >= 500 or status in (408, 429) or status in may_pass
        raise EnrollError(f"{url}: {said}", passing=passing)
    data = envelope.get("data")
    if not isinstance(data, dict):
        raise EnrollError(f"{url} did not answer as a coordinator does")
    return data
