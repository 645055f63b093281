"""How Ferryman's certificates look: the authority's, the server's, an agent's.

ECDSA P-256 and SHA-256 throughout. Pure: keys, names and the time come in as arguments,
certificates go out, and nothing here reads or writes a file.

An agent's host id is its certificate's common name; X.509 allows 64 characters there, so
that a longer id stands in the subject's user id, and the common name holds its beginning. The
subject's serial number is the generation of the host that the certificate was made for; it is
left out while that is 0.
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from protocol.errors import InvalidRequestError
from protocol.messages import FIXED_SERVER_NAME
from protocol.names import check_name

AUTHORITY_LIFE = timedelta(days=3650)
SERVER_LIFE = timedelta(days=365)
AGENT_LIFE = timedelta(days=30)
BACKDATED = timedelta(days=1)
"""Certificates begin in the past, so that a host whose clock is slow still accepts them."""

MAX_COMMON_NAME = 64
MAX_REQUEST = 16_384
_GENERATION = re.compile(r"[0-9]{1,9}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Life:
    """From when until when a certificate is valid."""

    begins: datetime
    ends: datetime

    @classmethod
    def of(cls, peercert: Mapping[str, Any]) -> Life:
        """The life of a certificate, as `getpeercert()` tells it."""
        begins, ends = (
            datetime.fromtimestamp(ssl.cert_time_to_seconds(peercert[key]), UTC)
            for key in ("notBefore", "notAfter")
        )
        return cls(begins, ends)

    @classmethod
    def of_pem(cls, pem: bytes) -> Life:
        """The life of a certificate of our own, in PEM."""
        certificate = x509.load_pem_x509_certificate(pem)
        return cls(certificate.not_valid_before_utc, certificate.not_valid_after_utc)


def new_key() -> ec.EllipticCurvePrivateKey:
    """A new private key."""
    return ec.generate_private_key(ec.SECP256R1())


def new_authority(key: ec.EllipticCurvePrivateKey, now: datetime) -> x509.Certificate:
    """The authority's certificate, signed by itself."""
    name = _name((NameOID.COMMON_NAME, "Ferryman authority"))
    return (
        _begin(name, name, key.public_key(), Life(now - BACKDATED, now + AUTHORITY_LIFE))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )


def new_cross(
    older: x509.Certificate,
    older_key: ec.EllipticCurvePrivateKey,
    newer: x509.Certificate,
    now: datetime,
) -> x509.Certificate:
    """The older authority's word for the newer one: beside the server's certificate, it lets in
    who knows only the older.

    Both have the same name. So it counts as issued by itself, and an older authority that
    allows no other one between itself and a certificate allows it.
    """
    life = _life_within(older, now, AUTHORITY_LIFE)
    key = ec_key_of(newer)
    return (
        _begin(newer.subject, older.subject, key, life)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(_issued_by(older), critical=False)
        .sign(older_key, hashes.SHA256())
    )


def new_server(
    authority: x509.Certificate,
    authority_key: ec.EllipticCurvePrivateKey,
    key: ec.EllipticCurvePrivateKey,
    names: Iterable[str],
    now: datetime,
) -> x509.Certificate:
    """The server's certificate for `names` (host names and addresses)."""
    subject = _name((NameOID.COMMON_NAME, FIXED_SERVER_NAME))
    life = _life_within(authority, now, SERVER_LIFE)
    return (
        _leaf(authority, subject, key.public_key(), life, ExtendedKeyUsageOID.SERVER_AUTH)
        .add_extension(x509.SubjectAlternativeName(_general(names)), critical=False)
        .sign(authority_key, hashes.SHA256())
    )


def new_agent(
    authority: x509.Certificate,
    authority_key: ec.EllipticCurvePrivateKey,
    key: ec.EllipticCurvePublicKey,
    host_id: str,
    life: Life,
    *,
    generation: int = 0,
) -> x509.Certificate:
    """The certificate with which the agent of `host_id` shows who it is."""
    parts = [(NameOID.COMMON_NAME, host_id[:MAX_COMMON_NAME])]
    if len(host_id) > MAX_COMMON_NAME:
        parts.append((NameOID.USER_ID, host_id))
    if generation:
        parts.append((NameOID.SERIAL_NUMBER, str(generation)))
    leaf = _leaf(authority, _name(*parts), key, life, ExtendedKeyUsageOID.CLIENT_AUTH)
    return leaf.sign(authority_key, hashes.SHA256())


def agent_life(
    authority: x509.Certificate, now: datetime, span: timedelta, older: Life | None = None
) -> Life:
    """How long an agent's certificate that is signed now is valid.

    One that follows an `older` one begins when that did: if the coordinator's clock runs ahead
    while hosts renew, they are still let in when it is right again.
    """
    life = _life_within(authority, now, span)
    return Life(min(older.begins, life.begins), life.ends) if older else life


def host_id_of(peercert: Mapping[str, Any] | None) -> str | None:
    """The host id in an agent's certificate, as `getpeercert()` tells it; None without one."""
    subject = _subject(peercert or {})
    try:
        return check_name(subject.get("userId") or subject.get("commonName") or "")
    except ValueError:
        return None


def generation_of(peercert: Mapping[str, Any]) -> int:
    """The generation in an agent's certificate, as `getpeercert()` tells it."""
    text = _subject(peercert).get("serialNumber", "")
    return int(text) if _GENERATION.fullmatch(text) else 0


def fingerprint(key: ec.EllipticCurvePublicKey) -> str:
    """SHA-256 of a public key (SubjectPublicKeyInfo, DER), in lower-case hex."""
    der = key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return hashlib.sha256(der).hexdigest()


def fingerprint_of(certificate_der: bytes) -> str:
    """The fingerprint of the key in a certificate of ours."""
    key = x509.load_der_x509_certificate(certificate_der).public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise TypeError("a certificate for a key of another kind")
    return fingerprint(key)


def out_of_date(peercert: Mapping[str, Any], now: datetime) -> str:
    """How a certificate, as `getpeercert()` tells it, is not valid `now`; "" while it is."""
    life = Life.of(peercert)
    if now < life.begins:
        return f"begins only on {life.begins:%Y-%m-%dT%H:%M:%SZ}"
    return f"ended on {life.ends:%Y-%m-%dT%H:%M:%SZ}" if life.ends < now else ""


def requested_key(csr_pem: bytes) -> ec.EllipticCurvePublicKey:
    """The public key of a certificate request whose sender has proved to hold the private one.

    Raises `InvalidRequestError`. Nothing else in the request is looked at.
    """
    if len(csr_pem) > MAX_REQUEST:
        raise _refused(f"at most {MAX_REQUEST} bytes are accepted")
    try:
        request = x509.load_pem_x509_csr(csr_pem)
        key = request.public_key()
        proved = request.is_signature_valid
    except (ValueError, TypeError, InvalidSignature, x509.InvalidVersion):
        raise _refused("must be a PKCS #10 certificate request in PEM") from None
    except UnsupportedAlgorithm:
        raise _refused("must have an ECDSA P-256 key") from None
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise _refused("must have an ECDSA P-256 key")
    if not proved:
        raise _refused("must be signed by its own key")
    return key


def names_of(certificate: x509.Certificate) -> frozenset[str]:
    """The names and addresses that a server's certificate is for."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return frozenset()
    return frozenset(str(name.value) for name in found)


def ec_key_of(certificate: x509.Certificate) -> ec.EllipticCurvePublicKey:
    """The certificate's public key; TypeError if it is none of our kind."""
    key = certificate.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise TypeError("not an elliptic-curve key")
    return key


def signed_by(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    """Whether the authority's key has signed the certificate."""
    try:
        certificate.verify_directly_issued_by(authority)
    except (InvalidSignature, ValueError, TypeError):
        return False
    return True


def same_key(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> bool:
    """Whether `certificate` is for `key`."""
    return certificate.public_key() == key.public_key()


def _subject(peercert: Mapping[str, Any]) -> dict[str, str]:
    return {key: value for rdn in peercert.get("subject", ()) for key, value in rdn}


def _refused(rule: str) -> InvalidRequestError:
    return InvalidRequestError(f"csr: {rule}", [{"field": "csr", "message": rule}])


def _name(*parts: tuple[x509.ObjectIdentifier, str]) -> x509.Name:
    return x509.Name([x509.NameAttribute(oid, text) for oid, text in parts])


def _life_within(authority: x509.Certificate, now: datetime, span: timedelta) -> Life:
    return Life(now - BACKDATED, min(now + span, authority.not_valid_after_utc))


def _begin(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    life: Life,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(life.begins)
        .not_valid_after(life.ends)
    )


def _leaf(
    authority: x509.Certificate,
    subject: x509.Name,
    key: ec.EllipticCurvePublicKey,
    life: Life,
    purpose: x509.ObjectIdentifier,
) -> x509.CertificateBuilder:
    return (
        _begin(subject, authority.subject, key, life)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(_issued_by(authority), critical=False)
    )


def _issued_by(authority: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    own_id = authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own_id)


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _general(names: Iterable[str]) -> list[x509.GeneralName]:
    general: list[x509.GeneralName] = []
    for name in sorted(set(names)):
        try:
            general.append(x509.IPAddress(ipaddress.ip_address(name)))
        except ValueError:
            general.append(x509.DNSName(name))
    return general
