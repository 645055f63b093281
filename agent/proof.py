"""What a pair of key and certificate shows to who believes one authority: TLS itself tells it.

Both ends of a handshake are here, in memory: the pair is used as it will be with the
coordinator, and the coordinator's end verifies it as the coordinator does. So the agent
needs no library for certificates. Dates are not looked at: the host's clock decides nothing.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_NO_CHECK_TIME = 0x200000  # OpenSSL's X509_V_FLAG_NO_CHECK_TIME, to which `ssl` gives no name

_ROUNDS = 8
"""A handshake takes two or three."""


class ProofError(Exception):
    """The pair would not be believed; the text says why."""


def ignore_dates(context: ssl.SSLContext) -> None:
    """Let the context verify certificates whatever the host's clock says."""
    context.verify_flags = ssl.VerifyFlags(context.verify_flags | _NO_CHECK_TIME)


def host_shown(pair: Path, authority_pem: str) -> str:
    """The host id that the pair in one file shows to who believes the authority.

    Raises `ProofError`, and OSError if the file can't be read.
    """
    agent = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    agent.check_hostname = False
    agent.verify_mode = ssl.CERT_NONE
    coordinator = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    coordinator.verify_mode = ssl.CERT_REQUIRED
    coordinator.load_verify_locations(cadata=authority_pem)
    ignore_dates(coordinator)
    try:
        for context in (agent, coordinator):
            context.load_cert_chain(pair)
    except ssl.SSLError:
        raise ProofError("a certificate for another key") from None
    try:
        return _shake_hands(agent, coordinator)
    except ssl.SSLError as error:
        reason = getattr(error, "verify_message", "") or error.reason
        raise ProofError(f"a certificate that its authority does not stand for: {reason}") from None


def _shake_hands(agent: ssl.SSLContext, coordinator: ssl.SSLContext) -> str:
    to_agent, to_coordinator = ssl.MemoryBIO(), ssl.MemoryBIO()
    dialling = agent.wrap_bio(to_agent, to_coordinator)
    answering = coordinator.wrap_bio(to_coordinator, to_agent, server_side=True)
    busy = [dialling, answering]
    for _ in range(_ROUNDS):
        busy = [end for end in busy if not _done(end)]
    if busy:
        raise ProofError("a certificate with which no handshake ends")
    certificate: Mapping[str, Any] = answering.getpeercert() or {}
    subject = {key: value for rdn in certificate.get("subject", ()) for key, value in rdn}
    return str(subject.get("userId") or subject.get("commonName") or "")


def _done(end: ssl.SSLObject) -> bool:
    try:
        end.do_handshake()
    except ssl.SSLWantReadError:
        return False
    return True
