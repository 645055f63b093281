"""Make the agent's key and its certificate request, in a process of its own that then ends.

`python -m agent.csr KEY_FILE HOST_ID` keeps a key that is there, writes a new one durably
(mode 0600) if there is none, and prints the request in PEM. With `-` for KEY_FILE it makes a
new key and prints it before the request: the agent, who reads the pipe, puts it into a file
together with its certificate. `--fingerprint KEY_FILE` prints the SHA-256 of the public part
of the key that is there. The library that does it costs 6 MB, which the agent itself
never loads. No secret is in the arguments.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from protocol.durable import write_durably

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

MAX_COMMON_NAME = 64


def main(argv: list[str]) -> int:
    """Run with KEY_FILE and HOST_ID; the exit code is 1 with a line on stderr if it can't."""
    if argv[0] == "-":
        key = _new()
        sys.stdout.write(_pem(key).decode("ascii") + _request(key, argv[1]))
        return 0
    asked = argv[0] == "--fingerprint"
    file, host_id = (Path(argv[1]), "") if asked else (Path(argv[0]), argv[1])
    try:
        key = _read(file) if file.exists() else _make(file)
    except OSError as error:
        print(f"{file}: {error.strerror or error}", file=sys.stderr)
        return 1
    except (ValueError, TypeError):
        print(f"{file}: not a private key of an agent; remove it to join anew", file=sys.stderr)
        return 1
    sys.stdout.write(_fingerprint(key) if asked else _request(key, host_id))
    return 0


def _fingerprint(key: EllipticCurvePrivateKey) -> str:
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415

    public = key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return hashlib.sha256(public).hexdigest() + "\n"


def _make(file: Path) -> EllipticCurvePrivateKey:
    key = _new()
    write_durably(file, _pem(key), mode=0o600)
    return key


def _new() -> EllipticCurvePrivateKey:
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415

    return ec.generate_private_key(ec.SECP256R1())


def _pem(key: EllipticCurvePrivateKey) -> bytes:
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415

    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _read(file: Path) -> EllipticCurvePrivateKey:
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415

    key = serialization.load_pem_private_key(file.read_bytes(), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TypeError("not an elliptic-curve key")
    return key


def _request(key: EllipticCurvePrivateKey, host_id: str) -> str:
    from cryptography import x509  # noqa: PLC0415
    from cryptography.hazmat.primitives import hashes, serialization  # noqa: PLC0415
    from cryptography.x509.oid import NameOID  # noqa: PLC0415

    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host_id[:MAX_COMMON_NAME])])
    request = (
        x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    )
    return request.public_bytes(serialization.Encoding.PEM).decode("ascii")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
