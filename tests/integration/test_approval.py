"""Coming in without a token, over real TLS: exactly the key that an operator approved."""

from __future__ import annotations

import asyncio
import logging
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent.approval import LONGEST_PAUSE, LONGEST_PAUSE_REFUSED
from agent.identity import EnrollError, Identity
from coordinator.app import Coordinator
from protocol.errors import ConflictError, InvalidRequestError, NotFoundError, UnavailableError
from protocol.states import HostState
from tests.parts.coming_in import approved, asking, dialled, fingerprint_here, hosts, serving
from tests.parts.local_agent import csr_here
from tests.parts.waiting import until


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[tuple[Coordinator, str]]:
    async with serving(tmp_path / "coordinator") as opened:
        yield opened


def _is(answer: object) -> bool:
    return isinstance(answer, UnavailableError)


async def state(coordinator: Coordinator, host_id: str) -> HostState:
    (row,) = (await hosts(coordinator))[host_id]
    return row.state


async def test_a_host_is_let_in_with_the_key_that_both_sides_show(
    served: tuple[Coordinator, str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    coordinator, url = served
    agent = asking(tmp_path / "host-a", "host-a")
    assert await agent.ask(url) is None
    assert {file.name for file in (tmp_path / "host-a").iterdir()} == {"agent.key"}
    assert stat.S_IMODE((tmp_path / "host-a/agent.key").stat().st_mode) == 0o600

    (row,) = (await hosts(coordinator))["host-a"]
    key = await fingerprint_here(tmp_path / "host-a/agent.key")
    assert (row.state, row.fingerprint, row.joined_at) == (HostState.PENDING, key, None)
    told = [one for one in caplog.messages if "Compare before you approve" in one]
    assert len(told) == 1
    assert f"its key has the SHA-256 {key}" in told[0]
    digest = coordinator.certificates.ca_digest
    assert f"authority has the SHA-256 {digest}, which nothing here can check" in told[0]

    assert (await coordinator.approve_host("host-a", key)).state is HostState.APPROVED
    identity = await agent.ask(url)
    assert identity is not None
    assert Identity.load(tmp_path / "host-a") == identity
    assert identity.ca_digests == (digest,)
    async with dialled(url, identity) as line:
        await line.greet("host-a")
        joined = await until(
            lambda: hosts(coordinator), lambda seen: seen["host-a"][0].state is HostState.JOINED
        )
        assert joined["host-a"][0].connected
        assert joined["host-a"][0].joined_at is not None


async def test_an_answer_that_was_lost_is_given_again(
    served: tuple[Coordinator, str], tmp_path: Path
) -> None:
    coordinator, url = served
    identity = await approved(coordinator, url, tmp_path / "host-a", "host-a")
    (tmp_path / "host-a/agent.pem").rename(tmp_path / "lost.pem")
    (tmp_path / "host-a/agent.key").write_bytes((tmp_path / "lost.pem").read_bytes())
    assert await asking(tmp_path / "host-a", "host-a").ask(url) == identity


async def test_another_key_is_another_request(
    served: tuple[Coordinator, str], tmp_path: Path
) -> None:
    coordinator, url = served
    first, second = (asking(tmp_path / name, "host-a") for name in ("one", "two"))
    await first.ask(url)
    await second.ask(url)
    rows = (await hosts(coordinator))["host-a"]
    one, two = [await fingerprint_here(tmp_path / name / "agent.key") for name in ("one", "two")]
    assert {row.fingerprint for row in rows} == {one, two}
    with pytest.raises(ConflictError, match="several keys ask to be host-a, name one of them"):
        await coordinator.approve_host("host-a")
    with pytest.raises(ConflictError, match="host-a shows .*, not " + "ab" * 32):
        await coordinator.approve_host("host-a", "ab" * 32)
    assert {row.state for row in (await hosts(coordinator))["host-a"]} == {HostState.PENDING}

    assert (await coordinator.approve_host("host-a", one)).fingerprint == one
    with pytest.raises(EnrollError, match="host-a was let in already with another key") as caught:
        await second.ask(url)
    assert caught.value.passing, "an operator may still decide otherwise"
    assert await first.ask(url) is not None
    (row,) = (await hosts(coordinator))["host-a"]
    assert row.fingerprint == one
    assert Identity.load(tmp_path / "two") is None


async def test_the_id_of_a_host_that_joined_is_refused_by_name(
    served: tuple[Coordinator, str], tmp_path: Path
) -> None:
    coordinator, url = served
    identity = await approved(coordinator, url, tmp_path / "host-a", "host-a")
    async with dialled(url, identity) as line:
        await line.greet("host-a")
        before = await until(
            lambda: hosts(coordinator), lambda seen: seen["host-a"][0].state is HostState.JOINED
        )
        with pytest.raises(EnrollError, match=r"let in already .*ferryman host revoke host-a"):
            await asking(tmp_path / "thief", "host-a").ask(url)
        (row,) = (await hosts(coordinator))["host-a"]
        assert row.fingerprint == before["host-a"][0].fingerprint
        with pytest.raises(ConflictError, match="host-a is joined: it was let in already"):
            await coordinator.approve_host("host-a")


async def test_a_rejected_host_is_told_and_asks_ever_more_rarely(
    served: tuple[Coordinator, str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    coordinator, url = served
    agent = asking(tmp_path / "host-a", "host-a")
    await agent.ask(url)
    waiting = max(agent.pause() for _ in range(20))
    assert LONGEST_PAUSE / 2 <= waiting <= LONGEST_PAUSE
    await coordinator.reject_host("host-a")
    for _ in range(2):
        assert await agent.ask(url) is None
    loud = [one for one in caplog.records if "rejected this host" in one.message]
    assert [one.levelno for one in loud] == [logging.ERROR]
    assert max(agent.pause() for _ in range(20)) >= LONGEST_PAUSE_REFUSED / 2
    assert await state(coordinator, "host-a") is HostState.REJECTED
    with pytest.raises(ConflictError, match="host-a is rejected: it was never let in"):
        await coordinator.revoke_host("host-a")

    await coordinator.approve_host("host-a")
    assert await agent.ask(url) is not None


async def test_decisions_survive_a_restart_and_requests_are_made_again(tmp_path: Path) -> None:
    agents = {name: asking(tmp_path / name, name) for name in ("yes", "no", "later")}
    async with serving(tmp_path / "coordinator") as (coordinator, url):
        for agent in agents.values():
            await agent.ask(url)
        await coordinator.approve_host("yes")
        await coordinator.reject_host("no")
    async with serving(tmp_path / "coordinator") as (coordinator, url):
        assert await state(coordinator, "no") is HostState.REJECTED
        assert "later" not in await hosts(coordinator), "a stranger writes nothing to the disk"
        assert await agents["yes"].ask(url) is not None
        assert await agents["no"].ask(url) is None
        assert await agents["later"].ask(url) is None
        assert await state(coordinator, "later") is HostState.PENDING


async def test_nobody_who_did_not_ask_is_let_in(served: tuple[Coordinator, str]) -> None:
    coordinator, _ = served
    for decide in (coordinator.approve_host, coordinator.reject_host):
        with pytest.raises(NotFoundError, match="no host nobody asked to be let in"):
            await decide("nobody", "ab" * 32)
        with pytest.raises(InvalidRequestError, match=r"^fingerprint: must be a SHA-256"):
            await decide("nobody", "AB:CD")
    assert await hosts(coordinator) == {}


async def test_a_stranger_that_asks_too_often_is_slowed_down_by_name(
    served: tuple[Coordinator, str],
) -> None:
    coordinator, _ = served
    csr = csr_here("-", "x").partition("-----BEGIN CERTIFICATE REQUEST")
    request = csr[1] + csr[2]
    asked = (coordinator.ask_to_join("host-x", request, "10.9.9.9") for _ in range(200))
    refused = [one for one in await asyncio.gather(*asked, return_exceptions=True) if _is(one)]
    assert len(refused) > 100
    assert str(refused[0]).startswith("too many requests from 10.9.9.9: ask again in ")
    assert len(await hosts(coordinator)) == 1
    await coordinator.ask_to_join("host-y", request, "10.9.9.8")


async def test_nonsense_leaves_no_request(served: tuple[Coordinator, str]) -> None:
    coordinator, _ = served
    with pytest.raises(InvalidRequestError, match="csr: must be a PKCS #10 certificate request"):
        await coordinator.ask_to_join("host-x", "nonsense", "10.9.9.9")
    assert await hosts(coordinator) == {}
