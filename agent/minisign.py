"""minisign's public keys and signatures: read strictly, and verified by Ed25519.

Only the prehashed kind (`ED`, BLAKE2b-512), which minisign makes since 0.10, is accepted: the
legacy kind (`Ed`) signs the package itself, which would have to be held in memory as a whole.
The untrusted comment is not looked at. What a trusted comment must say, and whether a key is
trusted, is not known here.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass

from agent import ed25519

KEY_RULE = "a minisign public key: the line of its .pub file that begins with RW"
MAX_SIGNATURE_BYTES = 16 * 1024

_KEY_BYTES, _SIGNATURE_BYTES, _GLOBAL_BYTES = 42, 74, 64
_LEGACY, _PREHASHED = b"Ed", b"ED"
_UNTRUSTED, _TRUSTED = b"untrusted comment: ", b"trusted comment: "


class SignatureError(Exception):
    """A signature that is malformed or wrong; the text says what it is, after "the signature"."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """One public key; `text` is how minisign writes it."""

    text: str
    key_id: str
    raw: bytes

    @classmethod
    def parse(cls, text: str) -> PublicKey:
        """Read a key. Raises `ValueError` that says what is accepted."""
        blob = _decoded(text.encode(), _KEY_BYTES)
        if blob is None or blob[:2] != _LEGACY:
            raise ValueError(f"must be {KEY_RULE}")
        return cls(text, _shown_id(blob[2:10]), blob[10:])

    def verify(self, signature: bytes, message: bytes) -> bool:
        """Whether `signature` is this key's for `message`. Blocks; raises `StepError`."""
        return ed25519.verify(self.raw, signature, message)


@dataclass(frozen=True, slots=True)
class Signature:
    """The content of a `.minisig` file."""

    key_id: str
    signature: bytes
    comment: bytes
    """The trusted comment, which only `comment_holds` makes trusted."""
    global_signature: bytes

    @classmethod
    def parse(cls, data: bytes) -> Signature:
        """Read a file. Raises `SignatureError`."""
        lines = [line.removesuffix(b"\r") for line in data.removesuffix(b"\n").split(b"\n")]
        if len(lines) != 4 or not lines[0].startswith(_UNTRUSTED):
            raise SignatureError("is not in minisign's format")
        if not lines[2].startswith(_TRUSTED):
            raise SignatureError("has no trusted comment")
        blob, global_signature = (
            _decoded(lines[1], _SIGNATURE_BYTES),
            _decoded(lines[3], _GLOBAL_BYTES),
        )
        if blob is None or global_signature is None:
            raise SignatureError("is not in minisign's format")
        if blob[:2] == _LEGACY:
            raise SignatureError(
                "is of minisign's legacy kind: sign it anew with minisign 0.10 or newer, without -l"
            )
        if blob[:2] != _PREHASHED:
            raise SignatureError("is of an unknown kind")
        comment = lines[2].removeprefix(_TRUSTED)
        return cls(_shown_id(blob[2:10]), blob[10:], comment, global_signature)

    def comment_holds(self, key: PublicKey) -> bool:
        """Whether the trusted comment, together with this signature, is what `key` signed."""
        return key.verify(self.global_signature, self.signature + self.comment)

    def package_holds(self, key: PublicKey, prehash: bytes) -> bool:
        """Whether the package with this BLAKE2b-512 is what `key` signed."""
        return key.verify(self.signature, prehash)


def new_prehash() -> hashlib.blake2b:
    """What a package is hashed with before it is signed."""
    return hashlib.blake2b()


def _decoded(line: bytes, size: int) -> bytes | None:
    try:
        blob = base64.b64decode(line, validate=True)
    except (binascii.Error, ValueError):
        return None
    return blob if len(blob) == size else None


def _shown_id(raw: bytes) -> str:
    """A key id as minisign prints it."""
    return f"{int.from_bytes(raw, 'little'):016X}"
