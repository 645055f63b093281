"""Joining: from a join token to a certificate, without a secret for the wrong coordinator.

First the coordinator's authority is fetched over TLS that verifies nothing, and compared
with the SHA-256 in the token. Only then, over TLS that this authority verifies, the token
goes out with a certificate request; the answer names the authority to keep. The token
stands in no log, URL, argument or message.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from agent.identity import (
    KEY_FILE,
    EnrollError,
    Identity,
    digest_of_certificate,
    save,
    trusting,
)
from agent.keys import key_and_request
from agent.questions import ask, certificate_in, shown_authorities
from agent.strangers import pinned, stranger

__all__ = ["EnrollError", "Identity", "JoinToken", "enroll"]

JOIN_TOKEN_RULE = "ferryman-join-1.<64 hex digits>.<secret>, as `ferryman token create` prints it"  # noqa: S105 - a description

_TOKEN = re.compile(r"ferryman-join-1\.([0-9a-f]{64})\.[A-Za-z0-9_-]{16,256}", re.ASCII)


@dataclass(frozen=True, slots=True)
class JoinToken:
    """A join token taken apart: all of it, and the digest of the authority to expect."""

    text: str = field(repr=False)
    ca_digest: str

    @classmethod
    def parse(cls, text: str) -> JoinToken:
        """Read a token's text; raises `EnrollError` saying what one looks like."""
        found = _TOKEN.fullmatch(text.strip())
        if not found:
            raise EnrollError(f"the join token is malformed: it must be {JOIN_TOKEN_RULE}")
        return cls(text.strip(), found[1])


async def enroll(
    state_dir: Path,
    host_id: str,
    url: str,
    token_text: str,
    make_request: Callable[[Path, str], Awaitable[str]] | None = None,
) -> Identity:
    """Join the coordinator at `url` (https://HOST:PORT) and keep the identity in `state_dir`.

    `make_request` makes the key in a file and returns the certificate request, PEM; by
    default a process of its own does, since the library for it costs memory.

    Raises `EnrollError`: `passing` if the coordinator can't be reached or can't work now;
    otherwise the token is malformed or refused, or another coordinator answered, or the token
    is of another one than this host trusts already.
    """
    token = JoinToken.parse(token_text)
    trusted = pinned(state_dir)
    if trusted and token.ca_digest not in trusted:
        raise stranger("the coordinator of the join token", token.ca_digest, trusted, state_dir)
    authority = await _fetch_authority(url, token.ca_digest)
    try:
        _make_folder(state_dir)
        make = make_request or key_and_request
        csr = await make(state_dir / KEY_FILE, host_id)
        body = {"token": token.text, "host_id": host_id, "csr": csr}
        answer = await ask("POST", f"{url}/v1/agent/enroll", trusting(authority), body)
        signed_by = certificate_in(answer, "authority", url)
        return save(state_dir, host_id, signed_by, certificate_in(answer, "certificate", url))
    except OSError as error:
        where = error.filename or state_dir
        raise EnrollError(f"{where}: {error.strerror or error}") from None


def _make_folder(state_dir: Path) -> None:
    state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)


async def _fetch_authority(url: str, expected: str) -> str:
    """The authority's certificate, if it is the one that the token names.

    While a coordinator rotates its authority it has an older one, too, and shows both; its
    answer to the token then tells which one to keep.
    """
    shown = await shown_authorities(url)
    for authority in shown:
        if digest_of_certificate(authority) == expected:
            return authority
    found = digest_of_certificate(shown[0])
    raise EnrollError(
        f"{url} is not the coordinator of the join token: its authority has the SHA-256 "
        f"{found}, the token names {expected}. No secret was sent"
    )
