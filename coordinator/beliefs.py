"""Hosts are told which authorities to believe, over the connection that they have verified.

Each connection begins with the host saying which it believes, so that nothing has to be
remembered for those that were away: who believes others than it should is told, and told
again after a while if it could not keep them. A host never forgets the authority that its
connection rests on before the coordinator has.
"""

from __future__ import annotations

import logging

from coordinator.pki import Authority
from coordinator.ports import Clock
from coordinator.session import Session
from protocol.messages import AUTHORITIES_MINOR, Authorities, AuthoritiesKept

log = logging.getLogger(__name__)

TELL_AGAIN = 300.0
"""Seconds until a host is told again that has not kept what it was told."""


class Beliefs:
    """Tells hosts, and hears what they kept."""

    def __init__(self, authority: Authority, clock: Clock, tell_again: float = TELL_AGAIN) -> None:
        self._authority = authority
        self._clock = clock
        self._tell_again = tell_again

    def look(self, session: Session) -> None:
        """Tell the host if it believes others than it should, and was not told just now."""
        now = self._clock.now().steady
        if session.told_at is None or now - session.told_at >= self._tell_again:
            self.tell(session)

    def tell(self, session: Session) -> None:
        """Tell the host now; not one that believes what it should, or is too old to be told."""
        if session.minor < AUTHORITIES_MINOR or self._right(session):
            return
        if session.put(Authorities(pems=[pem.decode() for _, pem, _ in self._authority.believed])):
            session.told_at = self._clock.now().steady
            session.told = self._authority.digests

    def kept(self, session: Session, kept: AuthoritiesKept) -> None:
        """Take in what the host believes now; what has changed since it was told is told again."""
        session.believes = tuple(kept.authorities)
        session.trouble = kept.failure
        if kept.failure:
            log.warning("host %s did not keep the authorities: %s", session.host_id, kept.failure)
        if self._right(session):
            session.told_at = None
        elif session.told != self._authority.digests:
            self.tell(session)

    def _right(self, session: Session) -> bool:
        return set(session.believes) == set(self._authority.digests)
