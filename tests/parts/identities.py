"""Hosts that joined, made without joining: their files in a state folder, of any age."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509

from agent.identity import Identity, save
from agent.keys import NewKey
from coordinator.pki import Authority
from tests.parts.local_agent import csr_here


def serial(state_dir: Path) -> int:
    """The serial number of the certificate on the host's disk."""
    return x509.load_pem_x509_certificate((state_dir / "agent.pem").read_bytes()).serial_number


def public_key(state_dir: Path) -> object:
    """The key for which the certificate on the host's disk is."""
    pem = (state_dir / "agent.pem").read_bytes()
    return x509.load_pem_x509_certificate(pem).public_key()


def long_ago(authority: Authority, ago: timedelta, folder: Path) -> Authority:
    """The same authority with a clock that is so much slow, in a folder of its own."""
    folder.mkdir()
    for name in ("ca.key", "ca.pem"):
        shutil.copy(authority.folder / name, folder)
    return Authority.open(folder, now=lambda: datetime.now(UTC) - ago)


def joined(authority: Authority, state_dir: Path, host_id: str) -> Identity:
    """Let a host have joined."""
    made = NewKey.of(csr_here("-", host_id))
    state_dir.mkdir(exist_ok=True)
    (state_dir / "agent.key").write_text(made.key)
    certificate = authority.sign_agent(made.request.encode(), host_id).decode()
    return save(state_dir, host_id, authority.ca_pem.decode(), certificate)


def joined_with_0_1_0(authority: Authority, state_dir: Path, host_id: str) -> Identity:
    """Let a host have joined with the agent 0.1.0, which kept key and certificate apart."""
    made = NewKey.of(csr_here("-", host_id))
    state_dir.mkdir(exist_ok=True)
    (state_dir / "agent.key").write_text(made.key)
    (state_dir / "agent.key").chmod(0o600)
    certificate = authority.sign_agent(made.request.encode(), host_id).decode()
    (state_dir / "agent.pem").write_text(f"host-id: {host_id}\n{certificate}")
    (state_dir / "ca.pem").write_bytes(authority.ca_pem)
    identity = Identity.load(state_dir)
    assert identity is not None
    return identity
