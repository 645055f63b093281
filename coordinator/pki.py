"""The coordinator's certificate authority in its data folder.

`ca.key` and `ca.pem` are made once, and replaced by a rotation only: every agent and every
join token rests on them. While one is under way there are two authorities, both believed;
one of them signs. What has to change with it (TLS, the announcement) follows by `follow`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from ssl import SSLContext

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from coordinator import authority_files as files
from coordinator.authority_files import Pairs, PkiError
from coordinator.server_pair import canonical, ensure_server, own_names
from coordinator.server_tls import ServerTls
from coordinator.x509 import (
    AGENT_LIFE,
    Life,
    agent_life,
    host_id_of,
    names_of,
    new_agent,
    out_of_date,
    requested_key,
    signed_by,
)
from protocol.errors import InvalidRequestError
from protocol.names import check_name
from protocol.states import RotationPhase

__all__ = ["Authority", "PkiError", "host_id_of", "out_of_date", "own_names"]

_log = logging.getLogger(__name__)


def _utc_now() -> datetime:
    return datetime.now(UTC)


class Authority:
    """The open authority. What it tells is public; keys are not shown."""

    def __init__(
        self,
        folder: Path,
        pairs: Pairs,
        names: frozenset[str],
        now: Callable[[], datetime],
        agent_life: timedelta,
    ) -> None:
        """Use `Authority.open`."""
        self.folder = folder
        self._pairs = pairs
        self._names = names
        self._now = now
        self._agent_life = agent_life
        self._followers: list[Callable[[], None]] = []

    @classmethod
    def open(
        cls,
        folder: Path,
        names: Iterable[str] = (),
        now: Callable[[], datetime] = _utc_now,
        agent_life: timedelta = AGENT_LIFE,
    ) -> Authority:
        """Open the authority in `folder`, or make it; make the server's certificate if needed.

        `names` are added to the host's own names and addresses; an agent's certificate is
        good for `agent_life`, and never longer than the authority. Raises `PkiError` for
        files that contradict each other or can't be read or written.
        """
        wanted = frozenset(map(canonical, names)) | own_names()
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            pairs = files.open_pairs(folder, now())
            ensure_server(folder, pairs, wanted, now())
        except OSError as error:
            named = error.filename or folder
            raise PkiError(f"{named}: {error.strerror or error}") from None
        return cls(folder, pairs, wanted, now, agent_life)

    # ---- what it is ----------------------------------------------------------

    @property
    def phase(self) -> RotationPhase:
        """How far a rotation is."""
        return self._pairs.phase

    @property
    def ca_pem(self) -> bytes:
        """The certificate of the authority that signs."""
        return self._pairs.signing.pem

    @property
    def ca_digest(self) -> str:
        """SHA-256 of that certificate (DER), in lower-case hex."""
        return self._pairs.signing.digest

    @property
    def older_pem(self) -> bytes:
        """The certificate of the authority that has signed before and is still believed, or b""."""
        return self._pairs.present.pem if self.phase is RotationPhase.SWITCHED else b""

    @property
    def believed(self) -> tuple[tuple[str, bytes, datetime], ...]:
        """(digest, PEM, end) of each authority that is believed, the one of `ca.pem` first."""
        return tuple((p.digest, p.pem, p.certificate.not_valid_after_utc) for p in self._pairs.all)

    @property
    def digests(self) -> tuple[str, ...]:
        """The digests of all authorities that are believed, the one of `ca.pem` first."""
        return tuple(pair.digest for pair in self._pairs.all)

    def issuer_of(self, certificate_der: bytes) -> str:
        """The digest of the believed authority that has signed a certificate; "" for none."""
        certificate = x509.load_der_x509_certificate(certificate_der)
        for pair in self._pairs.all:
            if signed_by(certificate, pair.certificate):
                return pair.digest
        return ""

    # ---- what it does ----------------------------------------------------------

    def server_names(self, company: tuple[Path, Path] | None = None) -> frozenset[str]:
        """The names and addresses that the certificates of `server_context` are for."""
        shown = [self.folder / "server.pem", *([company[0]] if company else [])]
        return frozenset().union(*(names_of(files.read_certificate(file)) for file in shown))

    def sign_agent(
        self, csr_pem: bytes, host_id: str, older: Life | None = None, generation: int = 0
    ) -> bytes:
        """Return a certificate (PEM) for the key in the request and for `host_id`.

        `older` is the life of the host's present certificate, if it has one to be renewed, and
        `generation` the host's: the certificate is refused once the host has a later one.
        Whatever else the request asks for is ignored. Raises `InvalidRequestError`
        naming `csr` if it is malformed, or `host_id` if that is no valid id.
        """
        try:
            check_name(host_id)
        except ValueError as error:
            told = {"field": "host_id", "message": str(error)}
            raise InvalidRequestError(f"host_id: {error}", [told]) from None
        signing, key = self._pairs.signing, requested_key(csr_pem)
        life = agent_life(signing.certificate, self._now(), self._agent_life, older)
        made = new_agent(
            signing.certificate, signing.key, key, host_id, life, generation=generation
        )
        return made.public_bytes(serialization.Encoding.PEM)

    def renewal_due(self, life: Life, now: datetime) -> bool:
        """Whether less than half of a life is left, and a new certificate would end later."""
        late = life.ends - now < self._agent_life / 2
        return late and life.ends < self._pairs.signing.certificate.not_valid_after_utc

    def server_context(self, company: tuple[Path, Path] | None = None) -> SSLContext:
        """The TLS of the one port: people come without a certificate, agents with ours.

        `company` is a (certificate chain, key) of its own for people and programs. Raises
        `PkiError`.
        """
        tls = ServerTls(self.folder, lambda: self._pairs.known, company)
        self.follow(tls.refresh)
        return tls.context

    # ---- its rotation ------------------------------------------------------------

    def follow(self, changed: Callable[[], None]) -> None:
        """Call `changed` whenever the authorities have changed."""
        self._followers.append(changed)

    def begin(self) -> None:
        """Make the next authority; both are believed from now on. Raises `PkiError`."""
        self._step(lambda: files.begin(self.folder, self._pairs, self._now()))

    def switch(self) -> None:
        """Let the next authority sign. Raises `PkiError`; then the present one signs on.

        The server's pair comes first: a start that finds it without the switch makes another.
        """

        def work() -> Pairs:
            crossed = files.crossed(self._pairs, self._now())
            ensure_server(self.folder, crossed, self._names, self._now())
            files.switch(self.folder, crossed)
            return crossed

        self._step(work)

    def finish(self) -> None:
        """Forget the authority that has signed before the switch.

        Raises `PkiError`; it can be done again, and a start brings it to its end.
        """
        self._step(lambda: files.finish(self.folder, self._pairs))

    def abort(self) -> None:
        """Forget the next authority. Raises `PkiError`; it can be done again."""
        self._step(lambda: files.abort(self.folder, self._pairs))

    def _step(self, work: Callable[[], Pairs]) -> None:
        """It waits for the disk, so that nothing can come in between."""
        try:
            self._pairs = work()
        except OSError as error:
            named = error.filename or self.folder
            raise PkiError(f"{named}: {error.strerror or error}") from None
        try:
            ensure_server(self.folder, self._pairs, self._names, self._now())
        except OSError as error:
            _log.warning("%s: %s; the next start makes it", error.filename, error.strerror)
        for changed in self._followers:
            changed()
