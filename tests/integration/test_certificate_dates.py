"""Certificates' dates: the coordinator's clock decides, and a refusal is told by name."""

from __future__ import annotations

import asyncio
import logging
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from agent.connection import Connection
from agent.dialogue import Dialogue
from agent.identity import trusting
from coordinator.app import Coordinator, serve
from coordinator.config import Settings
from coordinator.pki import Authority
from tests.parts.waiting import until

DAY = timedelta(days=1)


def clock(wrong_by: timedelta) -> datetime:
    return datetime.now(UTC) + wrong_by


def agent_of(authority: Authority, folder: Path) -> ssl.SSLContext:
    """TLS with a certificate for host-a that the authority signs now."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "host-a")])
    csr = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    pair = folder / "pair.pem"
    pair.write_bytes(
        authority.sign_agent(csr.public_bytes(serialization.Encoding.PEM), "host-a")
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    context = trusting(authority.ca_pem.decode())
    context.load_cert_chain(pair)
    return context


@pytest.mark.parametrize(
    ("signed", "problem"), [(-500 * DAY, "ended on 20"), (400 * DAY, "begins only on 20")]
)
async def test_a_certificate_out_of_date_is_refused_by_name_in_both_logs(
    tmp_path: Path, signed: timedelta, problem: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    data_dir = tmp_path / "data"
    tls = agent_of(Authority.open(data_dir, now=lambda: clock(signed)), tmp_path)
    settings = Settings.model_validate(
        {"data_dir": data_dir, "listen": "127.0.0.1:0", "discovery": {"enabled": False}}
    )
    async with Coordinator(settings) as coordinator, serve(coordinator) as url:

        async def find_url() -> str:
            return url

        dialogue = Dialogue()
        dialogue.attach({})
        agent = asyncio.create_task(
            Connection("host-a", "boot", dialogue).run(lambda: tls, find_url)
        )
        told = f"HTTP 401 the certificate of host-a {problem}"
        tries = await until(
            lambda: [line for line in caplog.messages if told in line], lambda seen: len(seen) > 1
        )
        agent.cancel()
        await asyncio.wait([agent])

    assert tries[0].endswith("is that clock right?")
    logged = f"host host-a was refused: its certificate {problem}"
    assert [line.startswith(logged) for line in caplog.messages].count(True) == 1, "once only"


def test_a_server_certificate_made_while_the_clock_was_ahead_is_made_again(
    tmp_path: Path,
) -> None:
    Authority.open(tmp_path)
    Authority.open(tmp_path, now=lambda: clock(400 * DAY))
    ahead = (tmp_path / "server.pem").read_bytes()
    Authority.open(tmp_path)
    again = x509.load_pem_x509_certificate((tmp_path / "server.pem").read_bytes())
    assert ahead != (tmp_path / "server.pem").read_bytes()
    assert again.not_valid_before_utc <= clock(timedelta())


def test_an_authority_that_begins_later_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    Authority.open(tmp_path, now=lambda: clock(400 * DAY))
    kept = (tmp_path / "ca.pem").read_bytes()
    Authority.open(tmp_path)
    assert "is this machine's clock right?" in caplog.text
    assert (tmp_path / "ca.pem").read_bytes() == kept
