"""A host that is revoked: cut off within five seconds, and refused from then on, over real TLS."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent.enroll import enroll
from agent.identity import EnrollError, Identity
from agent.keys import NewKey
from coordinator.app import Coordinator, Limits
from coordinator.backup import backup
from coordinator.restore import restore
from protocol.access import TokenParams
from protocol.bucket import Rate
from protocol.codec import encode
from protocol.errors import ConflictError, NotFoundError
from protocol.messages import (
    FIXED_SERVER_NAME,
    Certificate,
    CertificateRequest,
    Frame,
    Heartbeat,
    Hello,
    Inventory,
    RenewCertificate,
    Renewed,
)
from protocol.models import InstanceQueryParams
from protocol.states import HostState
from tests.parts.coming_in import (
    Line,
    approved,
    asking,
    dialled,
    hosts,
    refusal,
    serving,
)
from tests.parts.local_agent import LocalAgent, LocalInstance, csr_here
from tests.parts.waiting import until

WITHIN = 5.0
"""Seconds in which a session is cut."""

REVOKED = "host-a was revoked on "


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[tuple[Coordinator, str]]:
    async with serving(tmp_path / "coordinator") as opened:
        yield opened


async def joins(coordinator: Coordinator, url: str, state_dir: Path, host_id: str = "") -> Identity:
    """Let host-a join with a token, one that names `host_id` if that is given."""
    made = await coordinator.create_token(TokenParams(role="join", host_id=host_id or None))

    async def request(file: Path, host: str) -> str:
        return csr_here(str(file), host)

    return await enroll(state_dir, "host-a", url, made.secret, request)


async def renewed(coordinator: Coordinator, line: Line, identity: Identity) -> Identity:
    """Renew the host's certificate over its connection."""
    assert coordinator.reception.renew(identity.host_id)
    assert isinstance(await line.hears(), RenewCertificate)
    made = NewKey.of(csr_here("-", identity.host_id))
    await line.say(CertificateRequest(csr=made.request))
    answer = await line.hears()
    assert isinstance(answer, Certificate)
    await line.say(Renewed())
    return identity.renewed(answer.pem, made.key)


async def test_a_session_is_cut_within_five_seconds_and_told_why(
    served: tuple[Coordinator, str], tmp_path: Path
) -> None:
    coordinator, url = served
    identity = await joins(coordinator, url, tmp_path / "host-a")
    async with dialled(url, identity) as line:
        await line.greet("host-a")
        row = await coordinator.revoke_host("host-a")
        assert (row.state, row.connected) == (HostState.REVOKED, False)
        async with asyncio.timeout(WITHIN):
            assert await line.ends() == "host-a was revoked"
    assert (await refusal(url, identity)).startswith(REVOKED)


@pytest.fixture
async def hasty(tmp_path: Path) -> AsyncIterator[tuple[Coordinator, str]]:
    """A coordinator that takes in as many frames as come, and takes nobody for silent meanwhile."""
    limits = Limits(frames=Rate(each_second=10_000_000, burst=10_000_000))
    async with serving(tmp_path / "coordinator", limits, heartbeat=60.0) as opened:
        yield opened


async def test_a_host_that_neither_reads_nor_answers_is_cut_within_five_seconds(
    hasty: tuple[Coordinator, str], tmp_path: Path
) -> None:
    """It has stopped reading, so that not even the goodbye gets through, and talks on."""
    coordinator, url = hasty
    identity = await joins(coordinator, url, tmp_path / "host-a")
    host, port = url.removeprefix("https://").split(":")
    loop = asyncio.get_running_loop()
    deaf = await asyncio.to_thread(_deaf, host, int(port), identity.client_context())
    try:
        sessions = coordinator.reception._sessions
        session = await until(lambda: sessions.get("host-a"))
        assert session is not None
        while session.outbox.qsize() < STUCK:  # the coordinator can't get rid of what it has to say
            await asyncio.to_thread(deaf.sendall, QUESTIONS)
            await asyncio.sleep(0.01)
        began = loop.time()
        await coordinator.revoke_host("host-a")
        await asyncio.to_thread(_talk_until_it_is_cut, deaf)
        assert loop.time() - began < WITHIN
    finally:
        deaf.close()


async def test_a_revoked_host_stays_out_over_a_restart_and_a_restored_backup(
    tmp_path: Path,
) -> None:
    data_dir = tmp_path / "coordinator"
    async with serving(data_dir) as (coordinator, url):
        identity = await joins(coordinator, url, tmp_path / "host-a")
        await coordinator.revoke_host("host-a")
        await asking(tmp_path / "host-b", "host-b").ask(url)
        await coordinator.reject_host("host-b")
    async with serving(data_dir) as (coordinator, url):
        assert (await refusal(url, identity)).startswith(REVOKED)
        await asyncio.to_thread(backup, tmp_path / "saved", data_dir=data_dir)
    await asyncio.to_thread(restore, tmp_path / "saved", data_dir=tmp_path / "other")
    async with serving(tmp_path / "other") as (coordinator, url):
        assert (await refusal(url, identity)).startswith(REVOKED)
        states = {name: rows[0].state for name, rows in (await hosts(coordinator)).items()}
        assert states == {"host-a": HostState.REVOKED, "host-b": HostState.REJECTED}


async def test_certificates_that_it_renewed_are_refused_too(
    served: tuple[Coordinator, str], tmp_path: Path
) -> None:
    coordinator, url = served
    identity = await joins(coordinator, url, tmp_path / "host-a")
    before = (tmp_path / "host-a/agent.pem").read_bytes()
    async with dialled(url, identity) as line:
        await line.greet("host-a")
        newer = await renewed(coordinator, line, identity)
        assert (tmp_path / "host-a/agent.pem").read_bytes() != before
        await coordinator.revoke_host("host-a")
        await line.ends()
    assert (await refusal(url, newer)).startswith(REVOKED)
    (tmp_path / "host-a/agent.pem").write_bytes(before)
    assert (await refusal(url, identity)).startswith(REVOKED)


@pytest.mark.parametrize("way", ["token", "approval"])
async def test_it_comes_back_by_a_new_token_or_approval_and_its_old_certificate_does_not(
    served: tuple[Coordinator, str], tmp_path: Path, way: str
) -> None:
    coordinator, url = served
    old = await joins(coordinator, url, tmp_path / "old")
    made_before = await coordinator.create_token(TokenParams(role="join", host_id="host-a"))
    await coordinator.revoke_host("host-a")
    for secret in (made_before.secret, (await _any_token(coordinator))):
        with pytest.raises(EnrollError, match="host-a was revoked: only a new token that names it"):
            await enroll(tmp_path / "new", "host-a", url, secret, _request)
    assert Identity.load(tmp_path / "new") is None

    if way == "token":
        new = await joins(coordinator, url, tmp_path / "new", "host-a")
    else:
        new = await approved(coordinator, url, tmp_path / "new", "host-a")
    async with dialled(url, new) as line:
        await line.greet("host-a")
        assert "this certificate of host-a was revoked" in await refusal(url, old)
        again = await renewed(coordinator, line, new)
    async with dialled(url, again) as line:
        await line.greet("host-a")


async def test_what_a_revoked_host_still_says_is_not_believed(
    served: tuple[Coordinator, str], tmp_path: Path
) -> None:
    coordinator, url = served
    identity = await joins(coordinator, url, tmp_path / "host-a")
    async with dialled(url, identity) as line:
        await line.greet("host-a")
        await asyncio.gather(
            coordinator.revoke_host("host-a"),
            *(line.say(Inventory(instances=[])) for _ in range(20)),
        )
        await line.ends()
    (row,) = (await hosts(coordinator))["host-a"]
    assert (row.state, row.connected) == (HostState.REVOKED, False)


async def test_its_instances_are_shown_as_not_connected_and_its_agent_says_why(
    served: tuple[Coordinator, str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    coordinator, url = served
    token = await _any_token(coordinator)
    one = LocalInstance("i-1")
    async with LocalAgent(tmp_path, "host-a", [one], url=url, join_token=token):
        asked = InstanceQueryParams(service_name="user-service")

        async def connected() -> bool | None:
            rows = (await coordinator.list_services()).services
            return rows[0].connected == 1 if rows else None

        await until(connected)
        await coordinator.revoke_host("host-a")
        (row,) = (await coordinator.get_service_instances(asked)).instances
        assert not row.connected
        told = f"the coordinator refused the connection: HTTP 401 {REVOKED}"
        await until(lambda: any(line.startswith(told) for line in caplog.messages))


async def test_who_was_never_let_in_is_named(
    served: tuple[Coordinator, str], tmp_path: Path
) -> None:
    coordinator, url = served
    with pytest.raises(NotFoundError, match="no host nobody asked to be let in or joined"):
        await coordinator.revoke_host("nobody")
    await asking(tmp_path / "host-a", "host-a").ask(url)
    with pytest.raises(NotFoundError):
        await coordinator.revoke_host("host-a")
    await joins(coordinator, url, tmp_path / "host-c")
    first = await coordinator.revoke_host("host-a")
    assert await coordinator.revoke_host("host-a") == first
    with pytest.raises(ConflictError, match="host-a is revoked: it is out already"):
        await coordinator.reject_host("host-a")


async def _any_token(coordinator: Coordinator) -> str:
    return (await coordinator.create_token(TokenParams(role="join"))).secret


async def _request(file: Path, host_id: str) -> str:
    return csr_here(str(file), host_id)


def _deaf(host: str, port: int, tls: ssl.SSLContext) -> ssl.SSLSocket:
    """A websocket of host-a's that asks for many answers and never reads one."""
    raw = socket.socket()
    # Before it connects: of a window that shrinks later the kernel drops what was sent into it,
    # and both sides then wait longer and longer before they send again.
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.connect((host, port))
    link = tls.wrap_socket(raw, server_hostname=FIXED_SERVER_NAME)
    link.sendall(
        b"GET /v1/agent/connect HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n"
        b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
    link.sendall(_masked(Hello(host_id="host-a", agent_version="1")))
    return link


def _masked(frame: Frame) -> bytes:
    """A frame in one small websocket message."""
    body = encode(frame)
    assert len(body) < 126
    return bytes((0x82, 0x80 | len(body))) + bytes(4) + body


STUCK = 200
"""Answers that wait at the coordinator: it takes an agent for lost that leaves many more."""

QUESTIONS = b"".join(_masked(Heartbeat(number=number)) for number in range(200))


def _talk_until_it_is_cut(link: ssl.SSLSocket) -> None:
    """Go on without reading, until the peer's end of the connection is gone."""
    link.setblocking(False)
    with contextlib.suppress(ConnectionError, ssl.SSLEOFError):
        while True:
            with contextlib.suppress(ssl.SSLWantWriteError, ssl.SSLWantReadError):
                link.sendall(_masked(Heartbeat(number=0)))
            time.sleep(0.05)
            if failed := link.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                raise ConnectionError(failed)
