"""What the agent is to its coordinator changes over the live connection, when that asks for it:
a new key and certificate, and whom to believe.

The key is made in a process of its own and stays in memory until its certificate has come
and proved to be one: then both go to disk in one step. The next connection shows them; the
live one goes on. A renewal that fails changes nothing, and the coordinator asks again. Which
authorities to believe is kept at once, before the answer.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable

from agent.identity import EnrollError, Identity, one_certificate
from agent.keys import NewKey
from protocol.messages import (
    Authorities,
    AuthoritiesKept,
    Certificate,
    CertificateRequest,
    RenewCertificate,
    Renewed,
    ToCoordinator,
)

log = logging.getLogger(__name__)

WITHIN = 60.0
"""Seconds for making the key and for the coordinator's answer."""

MAX_SAID = 1000

Say = Callable[[ToCoordinator], None]


class Renewal:
    """Keeps the agent's identity, and changes it."""

    def __init__(self, identity: Identity, new_key: Callable[[str], Awaitable[NewKey]]) -> None:
        """`new_key` makes a key and a certificate request for a host id."""
        self._identity = identity
        self._new_key = new_key
        self._tls = identity.client_context()
        self._answer: asyncio.Future[Certificate] | None = None
        self._work: asyncio.Task[None] | None = None

    def tls(self) -> ssl.SSLContext:
        """TLS with the newest certificate, for the next connection."""
        return self._tls

    @property
    def believed(self) -> tuple[str, ...]:
        """The digests of the authorities that are believed."""
        return self._identity.ca_digests

    def hear(self, frame: RenewCertificate | Certificate | Authorities, say: Say) -> None:
        """Take in what the coordinator said, and answer by `say`; one renewal at a time."""
        match frame:
            case RenewCertificate() if self._work is None:
                self._work = asyncio.create_task(self._renew(say))
                self._work.add_done_callback(self._forget)
            case Certificate() if self._answer is not None and not self._answer.done():
                self._answer.set_result(frame)
            case Authorities():
                say(self._believe(frame))

    def hang_up(self) -> None:
        """The connection is gone; the coordinator asks again on the next."""
        if self._work is not None:
            self._work.cancel()

    async def stop(self) -> None:
        """End what is going on."""
        self.hang_up()
        if self._work is not None:
            await asyncio.wait([self._work])

    def _forget(self, ended: asyncio.Task[None]) -> None:
        self._work = self._answer = None
        if not ended.cancelled():
            ended.result()

    async def _renew(self, say: Say) -> None:
        failure = ""
        try:
            async with asyncio.timeout(WITHIN):
                made = await self._new_key(self._identity.host_id)
                self._answer = asyncio.get_running_loop().create_future()
                say(CertificateRequest(csr=made.request))
                answer = await self._answer
            self._take(answer, made.key)
        except TimeoutError:
            failure = f"no certificate came within {WITHIN:g} s"
        except EnrollError as error:
            failure = error.message
        except OSError as error:
            failure = f"{error.filename or 'disk'}: {error.strerror or error}"
        if failure:
            log.warning("the certificate was not renewed: %s", failure)
        else:
            log.info("the certificate was renewed; the next connection shows it")
        say(Renewed(failure=failure[:MAX_SAID]))

    def _believe(self, told: Authorities) -> AuthoritiesKept:
        """Keep whom to believe. It waits for the disk, so that nothing can come in between."""
        failure = ""
        try:
            self._identity = self._identity.believing(told.pems)
            self._tls = self._identity.client_context()
        except EnrollError as error:
            failure = error.message
        except OSError as error:
            failure = f"{error.filename or 'disk'}: {error.strerror or error}"
        if failure:
            log.warning("what the coordinator's authority is stays as it was: %s", failure)
        else:
            log.info("believed authorities, by their SHA-256: %s", ", ".join(self.believed))
        return AuthoritiesKept(authorities=list(self.believed), failure=failure[:MAX_SAID])

    def _take(self, answer: Certificate, key: str) -> None:
        """Keep the pair. It waits for the disk, so that nothing can come in between."""
        if answer.refusal:
            raise EnrollError(f"the coordinator refused: {answer.refusal}")
        try:
            certificate = one_certificate(answer.pem)
        except ValueError:
            raise EnrollError("the coordinator answered without a certificate") from None
        self._identity = self._identity.renewed(certificate, key)
        self._tls = self._identity.client_context()
