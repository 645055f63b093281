"""Who the agent is to its coordinator: its key and certificate, and the coordinator's authority.

`agent.pem` holds a line `host-id: ID`, the certificate and its key. It is only ever replaced by
a rename, so that a crash leaves the old pair or the new one, whole; it being there means:
joined. The authority in `ca.pem` is the only one that the agent believes from then on; while
the coordinator rotates it, the file holds the next one, too, and is replaced in the same way.
Version 0.1.0 had the key in `agent.key`, where joining still makes it; the first renewal
brings the two together. Nothing here talks to anybody.
"""

from __future__ import annotations

import hashlib
import logging
import re
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from agent.proof import ProofError, host_shown, ignore_dates
from protocol.durable import sync_folder, write_durably
from protocol.messages import MAX_AUTHORITIES
from protocol.names import check_name

log = logging.getLogger(__name__)

KEY_FILE, CERTIFICATE_FILE, AUTHORITY_FILE = "agent.key", "agent.pem", "ca.pem"
_DRAFT = "agent.pem.new"
_DRAFT_OF_0_1_0 = ".agent.pem.new"

_PEM = re.compile(
    r"-----BEGIN CERTIFICATE-----\s+[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----\s*", re.ASCII
)
_HOST_ID = re.compile(r"\Ahost-id: (\S+)\n")


class EnrollError(Exception):
    """Joining or renewing failed, or what it left is damaged.

    `passing` says that trying again may help.
    """

    def __init__(self, message: str, *, passing: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.passing = passing


@dataclass(frozen=True, slots=True)
class Identity:
    """This agent, as its coordinator knows it."""

    state_dir: Path
    host_id: str
    ca_digests: tuple[str, ...]
    """SHA-256 (DER, in hex) of each authority that is believed, one or two: which coordinator
    to look for."""

    @classmethod
    def load(cls, state_dir: Path) -> Identity | None:
        """Return the identity in `state_dir`, or None if the host has not joined.

        Raises `EnrollError` if it can't be used, naming the file and the way out.
        """
        try:
            certificate = (state_dir / CERTIFICATE_FILE).read_text(encoding="ascii")
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise _damaged(state_dir / CERTIFICATE_FILE, error) from None
        try:
            authority = (state_dir / AUTHORITY_FILE).read_text(encoding="ascii")
            digests = digests_of(authority)
        except (OSError, ValueError) as error:
            raise _damaged(state_dir / AUTHORITY_FILE, error) from None
        found = _HOST_ID.match(certificate)
        if not found:
            raise _damaged(state_dir / CERTIFICATE_FILE, "it does not tell the host id")
        identity = cls(state_dir, found[1], digests)
        identity.client_context()
        return identity

    def client_context(self) -> ssl.SSLContext:
        """TLS that shows the agent's certificate and believes only its coordinator's authorities.

        Use it with `server_hostname=FIXED_SERVER_NAME`, whatever the address is. Raises
        `EnrollError` if the files do not fit.
        """
        authority = self.state_dir / AUTHORITY_FILE
        certificate, key = self.state_dir / CERTIFICATE_FILE, self.state_dir / KEY_FILE
        try:
            context = trusting(authority.read_text(encoding="ascii"))
        except OSError as error:
            raise _damaged(authority, error) from None
        try:
            if _holds_key(certificate):
                context.load_cert_chain(certificate)
            else:
                context.load_cert_chain(certificate, key)
        except OSError as error:
            raise _damaged(certificate, f"with its key: {error.strerror or error}") from None
        return context

    def renewed(self, certificate_pem: str, key_pem: str) -> Identity:
        """Put a new pair in the place of the old one, and return the identity with it.

        Raises `EnrollError` if the certificate is not one of the authority for this key and this
        host, and OSError. Whatever it raises, one of the two pairs is there and whole.
        """
        authority = (self.state_dir / AUTHORITY_FILE).read_text(encoding="ascii")
        _switch(self.state_dir, self.host_id, authority, certificate_pem + key_pem)
        return self

    def believing(self, authorities: Sequence[str]) -> Identity:
        """Believe exactly these authorities (PEM) from now on; return the identity with them.

        Raises `EnrollError` if one is no authority's certificate, or all are strange here, and
        OSError. Whatever it raises, the ones from before or the new ones are believed.
        """
        pem = _authorities(authorities)
        digests = digests_of(pem)
        if digests == self.ca_digests:
            return self
        if set(digests).isdisjoint(self.ca_digests):
            raise EnrollError("none of the authorities is believed here: nothing was changed")
        write_durably(self.state_dir / AUTHORITY_FILE, pem.encode("ascii"), mode=0o644)
        return replace(self, ca_digests=digests)


def _authorities(pems: Sequence[str]) -> str:
    """One text of all of them, if each is an authority's certificate."""
    try:
        text = "".join(one_certificate(pem) for pem in pems)
        held = trusting(text).cert_store_stats()["x509_ca"]
    except (ValueError, ssl.SSLError):
        held = 0
    if not pems or held != len(pems):
        raise EnrollError("the coordinator named what is no authority's certificate")
    return text


def trusting(authority_pem: str) -> ssl.SSLContext:
    """TLS that believes these authorities, one or two, and checks names.

    The dates in certificates are not looked at, for that is a question to the host's wall
    clock, which decides nothing here (field note 31). The coordinator, by its own clock,
    renews its certificate and refuses agents whose certificate has ended.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    ignore_dates(context)
    context.load_verify_locations(cadata=authority_pem)
    return context


def save(state_dir: Path, host_id: str, authority_pem: str, certificate_pem: str) -> Identity:
    """Keep what joining brought; the key is in `agent.key`. Raises `EnrollError`, OSError."""
    check_name(host_id)
    write_durably(state_dir / AUTHORITY_FILE, authority_pem.encode("ascii"), mode=0o644)
    key = (state_dir / KEY_FILE).read_text(encoding="ascii")
    _switch(state_dir, host_id, authority_pem, certificate_pem + key)
    return Identity(state_dir, host_id, digests_of(authority_pem))


def tidy(state_dir: Path) -> None:
    """Remove what a crash left of joining or renewing. What can't be removed is logged."""
    own = (KEY_FILE, CERTIFICATE_FILE, AUTHORITY_FILE, _DRAFT, _DRAFT_OF_0_1_0)
    try:
        rubbish = [draft for name in own for draft in state_dir.glob(f".{name}.*.tmp")]
        rubbish += [state_dir / _DRAFT, state_dir / _DRAFT_OF_0_1_0]
        if _holds_key(state_dir / CERTIFICATE_FILE):
            sync_folder(state_dir)
            rubbish.append(state_dir / KEY_FILE)
        for file in rubbish:
            file.unlink(missing_ok=True)
    except OSError as error:
        log.warning("%s: %s; it may hold what is no longer needed", state_dir, error.strerror)


def _switch(state_dir: Path, host_id: str, authority_pem: str, pair_pem: str) -> None:
    """Make the pair the agent's own, if it proves to be one."""
    draft = state_dir / _DRAFT
    try:
        write_durably(draft, f"host-id: {host_id}\n{pair_pem}".encode("ascii"), mode=0o600)
        shown = host_shown(draft, authority_pem)
        if shown != host_id:
            raise ProofError(f"a certificate for another host: {shown[:128]!r}")
        draft.rename(state_dir / CERTIFICATE_FILE)
    except ProofError as wrong:
        draft.unlink()
        raise EnrollError(f"the coordinator answered with {wrong}") from None
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    sync_folder(state_dir)
    tidy(state_dir)


def _holds_key(certificate: Path) -> bool:
    return certificate.exists() and b"PRIVATE KEY-----" in certificate.read_bytes()


def one_certificate(text: str) -> str:
    """Return `text` if it is exactly one certificate in PEM; else raise ValueError."""
    if not _PEM.fullmatch(text.strip() + "\n"):
        raise ValueError("must be one certificate in PEM")
    return ssl.DER_cert_to_PEM_cert(ssl.PEM_cert_to_DER_cert(text.strip() + "\n"))


def digest_of_certificate(pem: str) -> str:
    """SHA-256 of one certificate's DER, in hex; raises ValueError for anything else."""
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(one_certificate(pem))).hexdigest()


def digests_of(pem: str) -> tuple[str, ...]:
    """SHA-256 of each certificate's DER, in hex; raises ValueError for anything but one or two."""
    found = _PEM.findall(pem)
    if not 1 <= len(found) <= MAX_AUTHORITIES or "".join(found).strip() != pem.strip():
        raise ValueError(f"must be one to {MAX_AUTHORITIES} certificates in PEM")
    return tuple(digest_of_certificate(one) for one in found)


def _damaged(file: Path, problem: object) -> EnrollError:
    said = getattr(problem, "strerror", None) or problem
    return EnrollError(
        f"{file}: {said}. Put it back from a backup, or remove {CERTIFICATE_FILE} to join anew"
    )
