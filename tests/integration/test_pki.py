"""The certificate authority on disk, and real TLS handshakes that rest on it."""

from __future__ import annotations

import hashlib
import json
import shutil
import ssl
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import pytest
import trustme
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from coordinator.pki import Authority, PkiError, host_id_of, own_names
from protocol.errors import InvalidRequestError
from protocol.messages import FIXED_SERVER_NAME

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority.open(tmp_path / "data")


def request_for(key: Key, name: str = "whoever") -> bytes:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    wish = x509.BasicConstraints(ca=True, path_length=None)
    csr = builder.add_extension(wish, critical=True).sign(key, algorithm)
    return csr.public_bytes(serialization.Encoding.PEM)


def server_certificate(folder: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate((folder / "server.pem").read_bytes())


@dataclass(frozen=True)
class Agent:
    """An agent's files."""

    certificate: Path
    key: Path


def make_agent(authority: Authority, folder: Path, host_id: str) -> Agent:
    folder.mkdir()
    key = ec.generate_private_key(ec.SECP256R1())
    agent = Agent(folder / "agent.pem", folder / "agent.key")
    agent.certificate.write_bytes(authority.sign_agent(request_for(key), host_id))
    agent.key.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return agent


def client_of(ca_pem: bytes, agent: Agent | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=ca_pem.decode())
    # What Python 3.13 adds by default, on all versions.
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    if agent:
        context.load_cert_chain(agent.certificate, agent.key)
    return context


@asynccontextmanager
async def served(context: ssl.SSLContext) -> AsyncIterator[str]:
    """A server that answers who came."""

    async def who(request: web.Request) -> web.Response:
        assert request.transport
        return web.json_response(host_id_of(request.transport.get_extra_info("peercert")))

    app = web.Application()
    app.router.add_get("/", who)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
        await site.start()
        yield f"https://127.0.0.1:{runner.addresses[0][1]}/"
    finally:
        await runner.cleanup()


async def who_am_i(url: str, tls: ssl.SSLContext, name: str | None = None) -> object:
    async with (
        aiohttp.ClientSession() as session,
        session.get(url, ssl=tls, server_hostname=name) as response,
    ):
        return json.loads(await response.text())


# ---- handshakes ------------------------------------------------------------


async def test_people_come_without_a_certificate(authority: Authority) -> None:
    async with served(authority.server_context()) as url:
        assert await who_am_i(url, client_of(authority.ca_pem)) is None


@pytest.mark.parametrize("host_id", ["host-a", "h" * 64, "h" * 63 + ".long_name-" + "x" * 54])
async def test_an_agent_is_known_by_its_certificate(
    authority: Authority, tmp_path: Path, host_id: str
) -> None:
    tls = client_of(authority.ca_pem, make_agent(authority, tmp_path / "agent", host_id))
    async with served(authority.server_context()) as url:
        assert await who_am_i(url, tls, FIXED_SERVER_NAME) == host_id


async def test_a_foreign_certificate_is_refused_in_the_handshake(
    authority: Authority, tmp_path: Path
) -> None:
    foreign = Authority.open(tmp_path / "foreign")
    tls = client_of(authority.ca_pem, make_agent(foreign, tmp_path / "agent", "host-a"))
    async with served(authority.server_context()) as url:
        with pytest.raises((aiohttp.ClientError, ssl.SSLError)):
            await who_am_i(url, tls, FIXED_SERVER_NAME)


async def test_the_servers_own_certificate_is_no_agents(authority: Authority) -> None:
    own = Agent(authority.folder / "server.pem", authority.folder / "server.key")
    async with served(authority.server_context()) as url:
        with pytest.raises((aiohttp.ClientError, ssl.SSLError)):
            await who_am_i(url, client_of(authority.ca_pem, own), FIXED_SERVER_NAME)


async def test_an_agents_certificate_is_no_coordinators(
    authority: Authority, tmp_path: Path
) -> None:
    agent = make_agent(authority, tmp_path / "agent", FIXED_SERVER_NAME)
    impostor = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    impostor.load_cert_chain(agent.certificate, agent.key)
    async with served(impostor) as url:
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await who_am_i(url, client_of(authority.ca_pem), FIXED_SERVER_NAME)


async def test_a_coordinator_of_another_authority_is_refused_by_clients(
    authority: Authority, tmp_path: Path
) -> None:
    foreign = Authority.open(tmp_path / "foreign")
    async with served(foreign.server_context()) as url:
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await who_am_i(url, client_of(authority.ca_pem), FIXED_SERVER_NAME)


async def test_people_get_the_companys_certificate_and_agents_ours(
    authority: Authority, tmp_path: Path
) -> None:
    company = trustme.CA()
    issued = company.issue_cert("ferryman.example.com", "127.0.0.1")
    pair = tmp_path / "company.pem", tmp_path / "company.key"
    issued.cert_chain_pems[0].write_to_path(pair[0])
    issued.private_key_pem.write_to_path(pair[1])
    theirs = ssl.create_default_context(cadata=company.cert_pem.bytes().decode())
    agent = client_of(authority.ca_pem, make_agent(authority, tmp_path / "agent", "host-a"))

    async with served(authority.server_context(pair)) as url:
        assert await who_am_i(url, theirs, "ferryman.example.com") is None
        assert await who_am_i(url, theirs) is None  # by address: no name is sent
        assert await who_am_i(url, agent, FIXED_SERVER_NAME) == "host-a"
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await who_am_i(url, agent, "ferryman.example.com")
        theirs.load_cert_chain(tmp_path / "agent/agent.pem", tmp_path / "agent/agent.key")
        assert await who_am_i(url, theirs, "ferryman.example.com") == "host-a"


def test_a_company_certificate_that_cannot_be_used_is_named(
    authority: Authority, tmp_path: Path
) -> None:
    with pytest.raises(PkiError, match=r"missing\.pem"):
        authority.server_context((tmp_path / "missing.pem", tmp_path / "missing.key"))
    locked = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"pass"),
    )
    (tmp_path / "locked.key").write_bytes(locked)
    with pytest.raises(PkiError, match="passphrase"):
        authority.server_context((authority.folder / "server.pem", tmp_path / "locked.key"))


# ---- on disk ---------------------------------------------------------------


def test_the_first_start_makes_everything_and_the_next_one_keeps_it(tmp_path: Path) -> None:
    first = Authority.open(tmp_path / "data")
    before = {path.name: path.read_bytes() for path in first.folder.iterdir()}
    assert set(before) == {"ca.pem", "ca.key", "server.pem", "server.key"}
    for name in before:
        mode = stat.S_IMODE((first.folder / name).stat().st_mode)
        assert mode == (0o600 if name.endswith(".key") else 0o644)
    second = Authority.open(tmp_path / "data")
    assert {path.name: path.read_bytes() for path in second.folder.iterdir()} == before
    der = ssl.PEM_cert_to_DER_cert(first.ca_pem.decode())
    assert first.ca_digest == second.ca_digest == hashlib.sha256(der).hexdigest()


def test_the_servers_certificate_has_the_hosts_names_and_the_given_ones(tmp_path: Path) -> None:
    Authority.open(tmp_path, ["Ferryman.example.com", "203.0.113.7", "fd00:0::7", "*.example.com"])
    extension = server_certificate(tmp_path).extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    )
    names = {str(name.value) for name in extension.value}
    given = {"ferryman.example.com", "203.0.113.7", "fd00::7", "*.example.com"}
    assert names == own_names() | given
    assert {"localhost", "127.0.0.1", "::1", FIXED_SERVER_NAME} <= names


def test_new_names_make_a_new_server_certificate_only(tmp_path: Path) -> None:
    first = Authority.open(tmp_path)
    old = server_certificate(tmp_path)
    second = Authority.open(tmp_path, ["new.example.com"])
    assert second.ca_pem == first.ca_pem
    assert server_certificate(tmp_path).serial_number != old.serial_number


def test_a_server_certificate_that_ends_soon_is_made_again(tmp_path: Path) -> None:
    start = datetime.now(UTC)
    Authority.open(tmp_path, now=lambda: start)
    old = server_certificate(tmp_path)
    Authority.open(tmp_path, now=lambda: start + timedelta(days=200))
    assert server_certificate(tmp_path) == old
    Authority.open(tmp_path, now=lambda: start + timedelta(days=330))
    assert server_certificate(tmp_path).not_valid_after_utc > old.not_valid_after_utc


def test_no_certificate_outlives_the_authority(tmp_path: Path) -> None:
    start = datetime.now(UTC)
    Authority.open(tmp_path, now=lambda: start)
    Authority.open(tmp_path, now=lambda: start + timedelta(days=3640))
    ends = x509.load_pem_x509_certificate((tmp_path / "ca.pem").read_bytes()).not_valid_after_utc
    assert server_certificate(tmp_path).not_valid_after_utc == ends
    with pytest.raises(PkiError, match="ended on"):
        Authority.open(tmp_path, now=lambda: start + timedelta(days=3651))


@pytest.mark.parametrize("damage", ["server.key", "server.pem"])
def test_a_servers_pair_that_does_not_fit_is_made_again(tmp_path: Path, damage: str) -> None:
    first = Authority.open(tmp_path / "a")
    other = Authority.open(tmp_path / "b")
    shutil.copy(other.folder / damage, first.folder / damage)
    Authority.open(first.folder).server_context()
    (first.folder / damage).write_text("nonsense")
    Authority.open(first.folder).server_context()
    (first.folder / damage).unlink()
    Authority.open(first.folder).server_context()


def test_a_key_left_by_a_crash_gets_its_certificate(tmp_path: Path) -> None:
    first = Authority.open(tmp_path)
    key = (tmp_path / "ca.key").read_bytes()
    (tmp_path / "ca.pem").unlink()
    second = Authority.open(tmp_path)
    assert (tmp_path / "ca.key").read_bytes() == key
    assert second.ca_digest != first.ca_digest


def test_an_authority_without_its_key_is_never_replaced(tmp_path: Path) -> None:
    before = Authority.open(tmp_path).ca_pem
    (tmp_path / "ca.key").unlink()
    with pytest.raises(PkiError, match=r"ca\.key is missing"):
        Authority.open(tmp_path)
    assert (tmp_path / "ca.pem").read_bytes() == before
    assert not (tmp_path / "ca.key").exists()


@pytest.mark.parametrize("name", ["ca.key", "ca.pem"])
def test_a_damaged_authority_is_named_and_left_alone(tmp_path: Path, name: str) -> None:
    Authority.open(tmp_path / "a")
    other = Authority.open(tmp_path / "b")
    (tmp_path / "a" / name).write_text("nonsense")
    with pytest.raises(PkiError, match=name.replace(".", r"\.")):
        Authority.open(tmp_path / "a")
    assert (tmp_path / "a" / name).read_text() == "nonsense"
    shutil.copy(other.folder / name, tmp_path / "a" / name)
    with pytest.raises(PkiError, match="do not belong together"):
        Authority.open(tmp_path / "a")


# ---- requests --------------------------------------------------------------


def test_a_request_gets_the_id_that_we_set_and_nothing_else(authority: Authority) -> None:
    pem = authority.sign_agent(request_for(ec.generate_private_key(ec.SECP256R1()), "admin"), "h-1")
    made = x509.load_pem_x509_certificate(pem)
    assert made.subject.rfc4514_string() == "CN=h-1"
    assert not made.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    usage = made.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    life = made.not_valid_after_utc - datetime.now(UTC)
    assert timedelta(days=29) < life <= timedelta(days=30)


def test_a_request_that_its_key_did_not_sign_is_refused(authority: Authority) -> None:
    pem = request_for(ec.generate_private_key(ec.SECP256R1()))
    der = bytearray(x509.load_pem_x509_csr(pem).public_bytes(serialization.Encoding.DER))
    at = der.index(b"whoever")
    der[at : at + 7] = b"someone"
    forged = x509.load_der_x509_csr(bytes(der)).public_bytes(serialization.Encoding.PEM)
    with pytest.raises(InvalidRequestError, match="csr: must be signed by its own key"):
        authority.sign_agent(forged, "host-a")


@pytest.mark.parametrize(
    "key",
    [
        ec.generate_private_key(ec.SECP384R1()),
        ed25519.Ed25519PrivateKey.generate(),
        rsa.generate_private_key(65537, 2048),
    ],
    ids=["P-384", "Ed25519", "RSA"],
)
def test_another_kind_of_key_is_refused(authority: Authority, key: Key) -> None:
    with pytest.raises(InvalidRequestError, match="csr: must have an ECDSA P-256 key"):
        authority.sign_agent(request_for(key), "host-a")


@pytest.mark.parametrize(
    "csr",
    [
        b"",
        b"nonsense",
        b"\xff" * 100,
        b"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n",
        b"x" * 20_000,
    ],
)
def test_nonsense_is_no_request(authority: Authority, csr: bytes) -> None:
    with pytest.raises(InvalidRequestError, match=r"^csr: "):
        authority.sign_agent(csr, "host-a")


@pytest.mark.parametrize("host_id", ["", "a b", "../x", "x" * 129])
def test_an_id_that_is_none_is_refused(authority: Authority, host_id: str) -> None:
    csr = request_for(ec.generate_private_key(ec.SECP256R1()))
    with pytest.raises(InvalidRequestError, match=r"^host_id: "):
        authority.sign_agent(csr, host_id)


@pytest.mark.parametrize(
    "peercert",
    [None, {}, {"subject": ()}, {"subject": ((("commonName", "a b"),),)}],
)
def test_no_certificate_means_no_host(peercert: dict[str, object] | None) -> None:
    assert host_id_of(peercert) is None
