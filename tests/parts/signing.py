"""Signs packages as minisign does, without the program; what it makes, the program verifies."""

from __future__ import annotations

import base64
import hashlib
import secrets

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


def comment_of(service: str, version: str) -> str:
    """The trusted comment that a package needs."""
    return f"service={service} version={version}"


class Signer:
    """One key pair. `public` is what stands in `trusted_keys`."""

    def __init__(self, key_id: bytes = b"") -> None:
        self._key = Ed25519PrivateKey.generate()
        self._id = key_id or secrets.token_bytes(8)
        raw = self._key.public_key().public_bytes_raw()
        self.public = _text(b"Ed" + self._id + raw)
        self.key_id = f"{int.from_bytes(self._id, 'little'):016X}"

    def sign(
        self,
        data: bytes,
        comment: str,
        *,
        kind: bytes = b"ED",
        said: str | None = None,
    ) -> bytes:
        """A `.minisig` file for `data`; `said` stands in it instead of the signed comment."""
        message = hashlib.blake2b(data).digest() if kind == b"ED" else data
        signature = self._key.sign(message)
        over_all = self._key.sign(signature + comment.encode())
        return (
            "untrusted comment: signature of a package\n"
            f"{_text(kind + self._id + signature)}\n"
            f"trusted comment: {comment if said is None else said}\n"
            f"{_text(over_all)}\n"
        ).encode()


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
