"""The server's key and certificate, `server.key` and `server.pem`.

They can be made again, and are at each start if they are missing, do not fit, have other
names or end soon. Key first: a crash leaves a key without its certificate, and the next
start makes both anew. While the authority is rotated, `server.pem` also holds the older
authority's word for the one that has signed it.
"""

from __future__ import annotations

import ipaddress
import logging
import socket
from datetime import datetime, timedelta
from pathlib import Path

import ifaddr
from cryptography import x509

from coordinator.authority_files import (
    Pairs,
    PkiError,
    make_key,
    read_chain,
    read_key,
    write_certificate,
)
from coordinator.x509 import names_of, new_server, same_key, signed_by
from protocol.endpoints import is_host
from protocol.messages import FIXED_SERVER_NAME

SERVER_KEY, SERVER_CERTIFICATE = "server.key", "server.pem"

RENEW_BEFORE = timedelta(days=60)
"""A server's certificate that ends sooner is made again at the start."""

_log = logging.getLogger(__name__)


def ensure_server(folder: Path, pairs: Pairs, names: frozenset[str], now: datetime) -> None:
    """Make the server's pair if the one that is there won't do. Raises OSError."""
    key_file, file = folder / SERVER_KEY, folder / SERVER_CERTIFICATE
    problem = _why_new(key_file, file, pairs, names, now)
    if not problem:
        return
    _log.info("making the server's certificate %s: %s", file, problem)
    key = make_key(key_file)
    signing = pairs.signing
    made = new_server(signing.certificate, signing.key, key, names, now)
    write_certificate(file, made, *_words_for(pairs))


def _words_for(pairs: Pairs) -> list[x509.Certificate]:
    return [pairs.cross] if pairs.cross else []


def _why_new(key_file: Path, file: Path, pairs: Pairs, names: frozenset[str], now: datetime) -> str:
    if not key_file.exists() or not file.exists():
        return "there is none"
    try:
        key, (certificate, *others) = read_key(key_file), read_chain(file)
    except PkiError:
        return "the old one can't be used"
    if not signed_by(certificate, pairs.signing.certificate):
        return "the old one is not of the authority that signs now"
    if not same_key(certificate, key):
        return "the old one has another key"
    if names_of(certificate) != names or others != _words_for(pairs):
        return "the names or the authority changed"
    return _why_not_for_long(certificate, pairs.signing.certificate, now)


def _why_not_for_long(
    certificate: x509.Certificate, authority: x509.Certificate, now: datetime
) -> str:
    if now < certificate.not_valid_before_utc:
        return "the old one begins only later"
    enough = min(RENEW_BEFORE, authority.not_valid_after_utc - now)
    return "the old one ends soon" if certificate.not_valid_after_utc - now < enough else ""


def own_names() -> frozenset[str]:
    """The names and addresses of this host that its certificate is for."""
    host = socket.gethostname()
    named = {host, host.split(".")[0], f"{host.split('.')[0]}.local"}
    names = {"localhost", "127.0.0.1", "::1", FIXED_SERVER_NAME}
    names |= {canonical(name) for name in named if is_host(name)}
    for adapter in ifaddr.get_adapters():
        for found in adapter.ips:
            text = found.ip if isinstance(found.ip, str) else found.ip[0]
            address = ipaddress.ip_address(text.split("%")[0])
            if not address.is_link_local:
                names.add(str(address))
    return frozenset(names)


def canonical(name: str) -> str:
    """One spelling for each name and address."""
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        return name.lower().rstrip(".")
