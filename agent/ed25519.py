"""Verify one Ed25519 signature, in a process of its own that then ends.

`python -m agent.ed25519` reads a public key (32 bytes), a signature (64 bytes) and a message
from stdin, and prints `good` or `bad`. The library that does it costs 7 MB, which the agent
itself never loads. Whatever else happens, a signature that was not called good is not.
"""

from __future__ import annotations

import subprocess
import sys

from agent.ports import StepError

KEY_BYTES, SIGNATURE_BYTES = 32, 64
TIMEOUT = 60.0
"""Seconds; it takes a tenth of one."""

_GOOD, _BAD = "good", "bad"


def verify(key: bytes, signature: bytes, message: bytes) -> bool:
    """Whether `signature` is the key's for `message`. Blocks; raises `StepError` if it can't tell.

    The message is a digest or a few lines: it is held in memory.
    """
    if (len(key), len(signature)) != (KEY_BYTES, SIGNATURE_BYTES):
        return False
    try:
        child = subprocess.run(
            [sys.executable, "-P", "-m", "agent.ed25519"],
            input=key + signature + message,
            capture_output=True,
            timeout=TIMEOUT,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _unknown(getattr(error, "strerror", "") or "it took too long") from None
    said = child.stdout.decode("ascii", "replace").strip()
    if child.returncode != 0 or said not in (_GOOD, _BAD):
        raise _unknown(f"its process ended with {child.returncode}")
    return said == _GOOD


def _unknown(why: str) -> StepError:
    return StepError(f"the signature can't be verified: {why}", passing=True)


def main() -> None:
    """Answer for what is on stdin."""
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (  # noqa: PLC0415
        Ed25519PublicKey,
    )

    said = sys.stdin.buffer.read()
    key, rest = said[:KEY_BYTES], said[KEY_BYTES:]
    try:
        public = Ed25519PublicKey.from_public_bytes(key)
        public.verify(rest[:SIGNATURE_BYTES], rest[SIGNATURE_BYTES:])
    except (InvalidSignature, ValueError):
        print(_BAD)
    else:
        print(_GOOD)


if __name__ == "__main__":
    main()
