"""The authority's files, and those of the next one while it is rotated.

Which files are there says how far a rotation is, so that each step of it is one file that
appears or goes:

| step | makes it so |
| --- | --- |
| begun | `ca.next.pem` is there; its key was written before |
| switched | `ca.cross.pem` is there: the next authority signs |
| finished | `ca.next.key` has become `ca.key`; the rest is made up for at each start |
| aborted | `ca.next.pem` is gone; its key goes after it |

The certificate of a finished rotation's older authority stays in `ca.old.pem`: it is believed
no more, and lets hosts that still show it be refused by name.

What a crash leaves between two steps is taken back or brought to its end by `open_pairs`.
Nothing here knows hosts or TLS.
"""

from __future__ import annotations

import hashlib
import logging
import os
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from coordinator.x509 import new_authority, new_cross, new_key, same_key, signed_by
from protocol.durable import sync_folder, write_durably
from protocol.settings import SettingsError
from protocol.states import RotationPhase

KEY, CERTIFICATE = "ca.key", "ca.pem"
NEXT_KEY, NEXT_CERTIFICATE = "ca.next.key", "ca.next.pem"
CROSS = "ca.cross.pem"
OLD_CERTIFICATE = "ca.old.pem"

_log = logging.getLogger(__name__)


class PkiError(SettingsError):
    """The authority's files can't be used; the message names the file and what to do."""


@dataclass(frozen=True, slots=True)
class Pair:
    """An authority: its certificate, and the key that is not shown."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def pem(self) -> bytes:
        """The certificate."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def digest(self) -> str:
        """SHA-256 of the certificate (DER), in lower-case hex."""
        der = self.certificate.public_bytes(serialization.Encoding.DER)
        return hashlib.sha256(der).hexdigest()


@dataclass(frozen=True, slots=True)
class Pairs:
    """All authorities of a data folder."""

    present: Pair
    next: Pair | None = None
    cross: x509.Certificate | None = None
    old: x509.Certificate | None = None
    """The one that was replaced by the last rotation: known, and not believed."""

    @property
    def phase(self) -> RotationPhase:
        """How far the rotation is."""
        if self.next is None:
            return RotationPhase.NONE
        return RotationPhase.BEGUN if self.cross is None else RotationPhase.SWITCHED

    @property
    def signing(self) -> Pair:
        """The one that signs now."""
        return self.next if self.next and self.cross else self.present

    @property
    def all(self) -> tuple[Pair, ...]:
        """Every one that is believed: the present one first."""
        return (self.present, self.next) if self.next else (self.present,)

    @property
    def known(self) -> bytes:
        """The certificates of every one that is or was believed, PEM."""
        pems = [pair.pem for pair in self.all]
        if self.old and self.old != self.present.certificate:
            pems.append(self.old.public_bytes(serialization.Encoding.PEM))
        return b"".join(pems)


# ---- at a start --------------------------------------------------------------


def open_pairs(folder: Path, now: datetime) -> Pairs:
    """Read what is there, make the first authority if there is none, mend what a crash left.

    Raises `PkiError` for files that contradict each other, OSError.
    """
    _bring_to_its_end(folder)
    present = _open_present(folder, now)
    old_file = folder / OLD_CERTIFICATE
    old = read_certificate(old_file) if old_file.exists() else None
    if not (folder / NEXT_CERTIFICATE).exists():
        if (folder / CROSS).exists():
            raise PkiError(
                f"{folder / NEXT_CERTIFICATE} is missing and {folder / CROSS} is there: "
                "put it back from a backup"
            )
        (folder / NEXT_KEY).unlink(missing_ok=True)
        return _usable(folder, Pairs(present, old=old), now)
    following = _read_pair(folder / NEXT_KEY, folder / NEXT_CERTIFICATE)
    cross = read_certificate(folder / CROSS) if (folder / CROSS).exists() else None
    if cross and not (same_key(cross, following.key) and signed_by(cross, present.certificate)):
        raise PkiError(
            f"{folder / CROSS} does not belong to {folder / CERTIFICATE} and "
            f"{folder / NEXT_CERTIFICATE}: put back the right files from a backup"
        )
    return _usable(folder, Pairs(present, following, cross, old), now)


def _open_present(folder: Path, now: datetime) -> Pair:
    key_file, file = folder / KEY, folder / CERTIFICATE
    if file.exists() and not key_file.exists():
        raise PkiError(
            f"{key_file} is missing and {file} is there: put the key back from a backup. "
            "Removing ca.pem makes a new authority, and then every agent must join again"
        )
    if not file.exists() and (folder / NEXT_CERTIFICATE).exists():
        raise PkiError(f"{file} is missing and a rotation is under way: put back a backup")
    if not key_file.exists():
        make_key(key_file)
    if not file.exists():
        _log.info("making the certificate of the authority: %s", file)
        write_certificate(file, new_authority(read_key(key_file), now))
    return _read_pair(key_file, file)


def _read_pair(key_file: Path, file: Path) -> Pair:
    if not key_file.exists():
        raise PkiError(f"{key_file} is missing and {file} is there: put it back from a backup")
    key, certificate = read_key(key_file), read_certificate(file)
    if not same_key(certificate, key):
        raise PkiError(f"{file} and {key_file} do not belong together: put back the right pair")
    return Pair(certificate, key)


def _usable(folder: Path, pairs: Pairs, now: datetime) -> Pairs:
    """Raise `PkiError` if the authority that signs has ended."""
    file = folder / (CERTIFICATE if pairs.signing is pairs.present else NEXT_CERTIFICATE)
    certificate = pairs.signing.certificate
    if certificate.not_valid_after_utc <= now:
        ended = f"{certificate.not_valid_after_utc:%Y-%m-%d}"
        raise PkiError(
            f"{file}: the authority ended on {ended}, and this machine's clock says {now:%Y-%m-%d}"
        )
    if now < certificate.not_valid_before_utc:
        begins = f"{certificate.not_valid_before_utc:%Y-%m-%d}"
        _log.warning("%s begins only on %s: is this machine's clock right?", file, begins)
    return pairs


# ---- the steps of a rotation ---------------------------------------------------


def begin(folder: Path, pairs: Pairs, now: datetime) -> Pairs:
    """Make the next authority beside the present one. Raises OSError."""
    make_key(folder / NEXT_KEY)
    key = read_key(folder / NEXT_KEY)
    write_certificate(folder / NEXT_CERTIFICATE, new_authority(key, now))
    return replace(pairs, next=_read_pair(folder / NEXT_KEY, folder / NEXT_CERTIFICATE))


def crossed(pairs: Pairs, now: datetime) -> Pairs:
    """What `switch` makes of them; nothing is written."""
    if pairs.next is None:
        raise ValueError("no rotation was begun")
    older = pairs.present
    return replace(
        pairs, cross=new_cross(older.certificate, older.key, pairs.next.certificate, now)
    )


def switch(folder: Path, pairs: Pairs) -> None:
    """Let the next authority sign from now on; `pairs` are the crossed ones. Raises OSError."""
    if pairs.cross is None:
        raise ValueError("no cross certificate was made")
    write_certificate(folder / CROSS, pairs.cross)


def finish(folder: Path, pairs: Pairs) -> Pairs:
    """Put the next authority in the place of the present one, whose key is gone with that.

    Doing it again brings one to its end that met an error. Raises OSError.
    """
    if pairs.next is None:
        raise ValueError("no rotation was begun")
    old = pairs.present.certificate
    if (folder / NEXT_KEY).exists():
        write_certificate(folder / OLD_CERTIFICATE, old)
        _rename(folder / NEXT_KEY, folder / KEY)
    _bring_to_its_end(folder)
    return Pairs(pairs.next, old=old)


def abort(folder: Path, pairs: Pairs) -> Pairs:
    """Remove the next authority. Raises OSError."""
    (folder / NEXT_CERTIFICATE).unlink(missing_ok=True)
    sync_folder(folder)
    (folder / NEXT_KEY).unlink(missing_ok=True)
    return Pairs(pairs.present, old=pairs.old)


def _bring_to_its_end(folder: Path) -> None:
    """Complete a rotation whose `finish` has put the key in its place and went no further."""
    cross, following = folder / CROSS, folder / NEXT_CERTIFICATE
    if not cross.exists() or (folder / NEXT_KEY).exists():
        return
    key = read_key(folder / KEY) if (folder / KEY).exists() else None
    if key is None or not same_key(read_certificate(cross), key):
        raise PkiError(
            f"{folder / NEXT_KEY} is missing and {cross} is there: put it back from a backup"
        )
    if following.exists():
        _rename(following, folder / CERTIFICATE)
    cross.unlink()
    sync_folder(folder)


def _rename(file: Path, to: Path) -> None:
    os.rename(file, to)
    sync_folder(to.parent)


# ---- keys and certificates -----------------------------------------------------


def make_key(file: Path) -> ec.EllipticCurvePrivateKey:
    """Make a key in `file`, mode 0600."""
    key = new_key()
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    write_durably(file, pem, mode=0o600)
    return key


def write_certificate(file: Path, *certificates: x509.Certificate) -> None:
    """Write certificates one after the other, mode 0644."""
    pems = (one.public_bytes(serialization.Encoding.PEM) for one in certificates)
    write_durably(file, b"".join(pems), mode=0o644)


def read_key(file: Path) -> ec.EllipticCurvePrivateKey:
    """The key in `file`; raises `PkiError`."""
    try:
        key = serialization.load_pem_private_key(file.read_bytes(), password=None)
    except (ValueError, TypeError):
        raise PkiError(f"{file}: not a private key in PEM without passphrase") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise PkiError(f"{file}: not an elliptic-curve key")
    return key


def read_certificate(file: Path) -> x509.Certificate:
    """The first certificate in `file`; raises `PkiError`."""
    return read_chain(file)[0]


def read_chain(file: Path) -> list[x509.Certificate]:
    """All certificates in `file`; raises `PkiError`."""
    try:
        return x509.load_pem_x509_certificates(file.read_bytes())
    except ValueError:
        raise PkiError(f"{file}: not a certificate in PEM") from None
