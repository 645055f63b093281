"""Who asks, signs and keeps: each side of a renewal by itself, with a clock set by hand."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from agent.keys import NewKey
from agent.renewal import Renewal
from coordinator.audit import Audit
from coordinator.core.task import Moment
from coordinator.engine import Engine
from coordinator.fleet import Fleet
from coordinator.pki import Authority
from coordinator.reception import Reception
from coordinator.renewals import ASK_AGAIN, Renewals
from coordinator.session import Session
from coordinator.x509 import Life
from protocol.messages import (
    FIXED_SERVER_NAME,
    RENEWAL_MINOR,
    Certificate,
    CertificateRequest,
    RenewCertificate,
    Renewed,
    ToAgent,
    ToCoordinator,
)
from tests.lab.model.coordinator import NoBeliefs
from tests.parts.identities import joined, serial
from tests.parts.local_agent import csr_here, new_key_here
from tests.parts.memory_store import MemoryStore
from tests.parts.waiting import until

START = datetime(2031, 5, 1, 12, tzinfo=UTC)
LIFE = timedelta(days=30)


@dataclass
class HandClock:
    """Implements `ports.Clock`: time passes when told to."""

    wall: datetime = START
    steady: float = 0.0

    def now(self) -> Moment:
        return Moment(self.steady, self.wall)

    def passes(self, time: timedelta) -> None:
        self.wall += time
        self.steady += time.total_seconds()


@dataclass
class Asking:
    """The coordinator's side, and the session of one host with a certificate of 30 days."""

    folder: Path
    clock: HandClock = field(default_factory=HandClock)

    def __post_init__(self) -> None:
        self.authority = Authority.open(self.folder, now=lambda: self.clock.wall, agent_life=LIFE)
        self.renewals = Renewals(self.authority, self.clock)
        fleet = Fleet(self.clock, 10.0)
        reception = Reception(fleet, self.clock, self.renewals, NoBeliefs())
        self.engine = Engine(MemoryStore(), reception, self.clock, fleet, lambda events: None)
        reception.attach(self.engine, Audit(self.engine, self.clock))
        self.session = self.arrives()

    def arrives(self) -> Session:
        """A new session of the host, with a certificate signed now."""
        certificate = self.authority.sign_agent(request(), "host-a")
        session = Session("host-a", "10.0.0.1", lambda why: None, Life.of_pem(certificate))
        session.minor = RENEWAL_MINOR
        return session

    async def answers(self, csr: str) -> None:
        """Answer a request of the host; the evidence of it is saved."""
        self.renewals.answer(self.session, CertificateRequest(csr=csr))
        await self.saved()

    async def saved(self) -> None:
        """Work off what the engine has."""
        self.engine.stop()
        await self.engine.run()

    def told(self) -> list[ToAgent]:
        """What went out to the host since the last look, after the regular one."""
        self.renewals.look(self.session)
        waiting = self.session.outbox
        return [waiting.get_nowait() for _ in range(waiting.qsize())]


def request(host_id: str = "host-a") -> bytes:
    return NewKey.of(csr_here("-", host_id)).request.encode()


@pytest.fixture
def asking(tmp_path: Path) -> Asking:
    return Asking(tmp_path / "coordinator")


def test_a_host_is_asked_when_half_of_the_life_is_over(asking: Asking) -> None:
    assert asking.told() == []
    asking.clock.passes(LIFE / 2 - timedelta(minutes=1))
    assert asking.told() == []
    asking.clock.passes(timedelta(minutes=2))
    assert asking.told() == [RenewCertificate()]


def test_a_host_that_does_not_renew_is_asked_again_after_a_while(asking: Asking) -> None:
    asking.clock.passes(LIFE / 2 + timedelta(days=1))
    assert asking.told() == [RenewCertificate()]
    asking.clock.passes(timedelta(seconds=ASK_AGAIN - 1))
    assert asking.told() == []
    asking.renewals.ended(asking.session, Renewed(failure="no space left"))
    asking.clock.passes(timedelta(seconds=2))
    assert asking.told() == [RenewCertificate()]


async def test_a_host_that_renewed_is_left_alone_until_the_next_half(asking: Asking) -> None:
    asking.clock.passes(LIFE / 2 + timedelta(days=1))
    asking.told()
    await asking.answers(request().decode())
    asking.renewals.ended(asking.session, Renewed())
    asking.told()
    asking.clock.passes(LIFE / 2 - timedelta(minutes=1))
    assert asking.told() == []
    asking.clock.passes(timedelta(minutes=2))
    assert asking.told() == [RenewCertificate()]


async def test_a_clock_that_runs_ahead_while_hosts_renew_locks_nobody_out(asking: Asking) -> None:
    asking.clock.wall += timedelta(days=400)
    assert asking.told() == [RenewCertificate()]
    await asking.answers(request().decode())
    asking.renewals.ended(asking.session, Renewed())
    asking.clock.wall = START
    life = asking.session.life
    assert life.begins < START < START + timedelta(days=400) < life.ends


@pytest.mark.parametrize("back", [timedelta(hours=1), timedelta(days=1), timedelta(days=400)])
def test_a_clock_that_is_set_back_asks_nobody(asking: Asking, back: timedelta) -> None:
    asking.clock.wall -= back
    assert asking.told() == []


def test_a_certificate_that_ends_with_its_authority_is_not_renewed_in_vain(asking: Asking) -> None:
    asking.clock.passes(timedelta(days=3640))
    asking.session = asking.arrives()
    asking.clock.passes(timedelta(days=9))
    assert asking.told() == []


async def test_a_certificate_leaves_once_the_evidence_of_it_is_saved(asking: Asking) -> None:
    assert asking.renewals.ask(asking.session)
    asking.renewals.answer(asking.session, CertificateRequest(csr=request().decode()))
    assert asking.told() == [RenewCertificate()]
    assert asking.session.signed is None
    await asking.saved()
    (answer,) = asking.told()
    assert isinstance(answer, Certificate)


async def test_the_coordinator_signs_for_the_host_of_the_session_only(asking: Asking) -> None:
    assert asking.renewals.ask(asking.session)
    await asking.answers(request("host-b").decode())
    asked, answer = asking.told()
    assert asked == RenewCertificate()
    assert isinstance(answer, Certificate)
    made = x509.load_pem_x509_certificate(answer.pem.encode())
    assert made.subject.rfc4514_string() == "CN=host-a"


async def test_a_request_that_nobody_asked_for_gets_nothing(
    asking: Asking, caplog: pytest.LogCaptureFixture
) -> None:
    await asking.answers(request().decode())
    assert asking.told() == []
    assert "host-a sent a certificate request unasked" in caplog.text
    asking.renewals.ask(asking.session)
    for _ in range(2):
        await asking.answers(request().decode())
    asked, answer = asking.told()
    assert isinstance(asked, RenewCertificate)
    assert isinstance(answer, Certificate)


async def test_a_bad_request_is_refused_with_a_reason(asking: Asking) -> None:
    asking.renewals.ask(asking.session)
    await asking.answers("nonsense")
    reason = "csr: must be a PKCS #10 certificate request in PEM"
    assert asking.told() == [RenewCertificate(), Certificate(refusal=reason)]
    before = asking.session.life
    asking.renewals.ended(asking.session, Renewed())
    assert asking.session.life is before


# ---- the agent's side ------------------------------------------------------


class Renewing:
    """An agent that is asked to renew, and what it says."""

    def __init__(self, folder: Path) -> None:
        self.authority = Authority.open(folder / "coordinator")
        self.state_dir = folder / "state"
        self.identity = joined(self.authority, self.state_dir, "host-a")
        self.renewal = Renewal(self.identity, new_key_here)
        self.said: list[ToCoordinator] = []

    async def asks(self) -> bytes:
        """Ask it to renew; its request."""
        self.said.clear()
        self.renewal.hear(RenewCertificate(), self.said.append)
        await until(lambda: self.said, every=0.01)
        (frame,) = self.said
        assert isinstance(frame, CertificateRequest)
        assert "PRIVATE" not in frame.csr, "the key stays here"
        return frame.csr.encode()

    async def takes(self, answer: Certificate) -> str:
        """Answer it; how it ended."""
        self.renewal.hear(answer, self.said.append)
        await until(lambda: len(self.said) == 2, every=0.01)
        assert isinstance(self.said[1], Renewed)
        return self.said[1].failure

    async def renews(self) -> None:
        pem = self.authority.sign_agent(await self.asks(), "host-a")
        assert await self.takes(Certificate(pem=pem.decode())) == ""


@pytest.fixture
def renewing(tmp_path: Path) -> Renewing:
    return Renewing(tmp_path)


Answer = Callable[[Authority, Authority, bytes], bytes]


@pytest.mark.parametrize(
    ("reason", "answer"),
    [
        ("for another key", lambda ours, _, csr: ours.sign_agent(request(), "host-a")),
        ("for another host: 'host-b'", lambda ours, _, csr: ours.sign_agent(csr, "host-b")),
        ("its authority does not stand for", lambda _, other, csr: other.sign_agent(csr, "host-a")),
        ("without a certificate", lambda ours, _, csr: b"-----BEGIN NONSENSE-----"),
        ("refused: not today", lambda ours, _, csr: b""),
    ],
)
async def test_a_bad_answer_changes_nothing_and_the_next_one_is_taken(
    renewing: Renewing, tmp_path: Path, reason: str, answer: Answer
) -> None:
    foreign = Authority.open(tmp_path / "foreign")
    before, shown = (renewing.state_dir / "agent.pem").read_bytes(), renewing.renewal.tls()
    pem = answer(renewing.authority, foreign, await renewing.asks()).decode()
    bad = Certificate(pem=pem) if pem else Certificate(refusal="not today")
    assert reason in await renewing.takes(bad)
    assert (renewing.state_dir / "agent.pem").read_bytes() == before
    assert renewing.renewal.tls() is shown
    await renewing.renews()
    assert (renewing.state_dir / "agent.pem").read_bytes() != before


async def test_an_answer_that_was_not_asked_for_is_nothing(renewing: Renewing) -> None:
    before = (renewing.state_dir / "agent.pem").read_bytes()
    unasked = renewing.authority.sign_agent(request(), "host-a").decode()
    renewing.renewal.hear(Certificate(pem=unasked), renewing.said.append)
    assert (renewing.said, (renewing.state_dir / "agent.pem").read_bytes()) == ([], before)


async def test_asked_twice_it_renews_once(renewing: Renewing) -> None:
    csr = await renewing.asks()
    renewing.renewal.hear(RenewCertificate(), renewing.said.append)
    answer = renewing.authority.sign_agent(csr, "host-a")
    assert await renewing.takes(Certificate(pem=answer.decode())) == ""


async def test_a_renewal_ends_with_its_connection(renewing: Renewing) -> None:
    before = (renewing.state_dir / "agent.pem").read_bytes()
    late = renewing.authority.sign_agent(await renewing.asks(), "host-a").decode()
    await renewing.renewal.stop()
    renewing.renewal.hear(Certificate(pem=late), renewing.said.append)
    assert (renewing.state_dir / "agent.pem").read_bytes() == before
    await renewing.renews()


async def test_the_next_connection_shows_the_new_certificate_and_the_live_one_goes_on(
    renewing: Renewing,
) -> None:
    came: list[int] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link: ssl.SSLObject = writer.get_extra_info("ssl_object")
        while (await reader.readline()) == b"who am I?\n":
            der = link.getpeercert(binary_form=True)
            assert der
            came.append(x509.load_der_x509_certificate(der).serial_number)
            writer.write(b"I see\n")
        writer.close()

    async def ask(link: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> None:
        link[1].write(b"who am I?\n")
        assert await link[0].readline() == b"I see\n"

    async def dial() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        tls = renewing.renewal.tls()
        return await asyncio.open_connection(
            "127.0.0.1", port, ssl=tls, server_hostname=FIXED_SERVER_NAME
        )

    tls = renewing.authority.server_context()
    async with await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls) as server:
        port = server.sockets[0].getsockname()[1]
        old = serial(renewing.state_dir)
        live = await dial()
        await ask(live)
        await renewing.renews()
        await ask(live)
        after = await dial()
        await ask(after)
        for _, writer in (live, after):
            writer.close()
            await writer.wait_closed()
    assert came == [old, old, serial(renewing.state_dir)]
    assert came[2] != old


def test_keys_are_new_each_time_and_not_shown_by_chance() -> None:
    first, second = (NewKey.of(csr_here("-", "host-a")) for _ in range(2))
    assert first.key != second.key
    assert "PRIVATE" not in repr(first)
