"""Agents' certificates are renewed over the live connection, past half of their life, and
when another authority signs than theirs.

The coordinator decides when, by its own clock, and signs for exactly the host whose session
asked, once for each time that it was asked to. A certificate leaves once the audit trail has its
row. A renewal that fails changes nothing: the old certificate stays good until it ends, and the
host is asked again. All of it is in the session; a new connection shows which certificate the
host has.
"""

from __future__ import annotations

import logging
import ssl
from typing import Final

from coordinator.audit import Audit
from coordinator.pki import Authority
from coordinator.ports import Clock
from coordinator.session import Session, Signed
from coordinator.x509 import Life, fingerprint_of
from protocol.errors import InvalidRequestError
from protocol.messages import (
    RENEWAL_MINOR,
    Certificate,
    CertificateRequest,
    RenewCertificate,
    Renewed,
)

log = logging.getLogger(__name__)

ASK_AGAIN = 300.0
"""Seconds until a host is asked again that has not renewed."""

RENEW: Final = "renew_certificate"


class Renewals:
    """Asks hosts for new keys, and certifies them."""

    _audit: Audit

    def __init__(self, authority: Authority, clock: Clock, ask_again: float = ASK_AGAIN) -> None:
        self._authority = authority
        self._clock = clock
        self._ask_again = ask_again

    def attach(self, audit: Audit) -> None:
        """Name who keeps evidence; before the first agent."""
        self._audit = audit

    def look(self, session: Session) -> None:
        """Ask the host to renew if it is time to."""
        now = self._clock.now()
        if session.asked_at is not None and now.steady - session.asked_at < self._ask_again:
            return
        if self._authority.renewal_due(session.life, now.wall) or self._of_the_older(session):
            self.ask(session)

    def _of_the_older(self, session: Session) -> bool:
        """Whether the host believes the authority that signs, and shows one of another's."""
        signing = self._authority.ca_digest
        return session.issuer != signing and signing in session.believes

    def ask(self, session: Session) -> bool:
        """Ask the host to renew now; False if its agent is too old for it or does not read.

        A host that is in the middle of it goes on with that.
        """
        if session.minor < RENEWAL_MINOR or not session.put(RenewCertificate()):
            return False
        session.asked_at = self._clock.now().steady
        session.owes_request = True
        return True

    def answer(self, session: Session, request: CertificateRequest) -> None:
        """Sign the request of a host that was asked for one; ignore any other."""
        if not session.owes_request:
            log.warning("host %s sent a certificate request unasked: ignored", session.host_id)
            self._refused(session, "nobody asked it to renew")
            return
        session.owes_request = False
        try:
            pem = self._authority.sign_agent(
                request.csr.encode(), session.host_id, session.life, session.generation
            )
        except InvalidRequestError as error:
            self._refused(session, error.message)
            session.put(Certificate(refusal=error.message))
            return
        signed = Signed(Life.of_pem(pem), self._authority.ca_digest)
        row = self._audit.by_host(
            session.host_id,
            session.address,
            RENEW,
            before={"ends_at": session.life.ends, "authority": session.issuer},
            after={
                "ends_at": signed.life.ends,
                "authority": signed.issuer,
                "fingerprint": fingerprint_of(ssl.PEM_cert_to_DER_cert(pem.decode())),
            },
        )
        self._audit.save(row, lambda: _hand_out(session, signed, pem.decode()))

    def _refused(self, session: Session, why: str) -> None:
        host_id = session.host_id
        self._audit.host_refused(host_id, session.address, RENEW, host_id, why)

    def ended(self, session: Session, renewed: Renewed) -> None:
        """Take in how it ended on the host."""
        signed, session.signed = session.signed, None
        if renewed.failure:
            session.owes_request = False
            session.trouble = renewed.failure
            log.warning(
                "host %s did not renew its certificate: %s", session.host_id, renewed.failure
            )
        elif signed is not None:
            session.life, session.issuer, session.trouble = signed.life, signed.issuer, ""
            session.asked_at = None
            until = f"{signed.life.ends:%Y-%m-%dT%H:%M:%SZ}"
            log.info("host %s renewed its certificate: good until %s", session.host_id, until)


def _hand_out(session: Session, signed: Signed, pem: str) -> None:
    session.signed = signed
    session.put(Certificate(pem=pem))
