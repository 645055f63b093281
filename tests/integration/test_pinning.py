"""An agent believes the first coordinator that it trusted: another one is refused, loudly."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from agent.app import find_url
from agent.config import AgentConfig
from agent.connection import Connection
from agent.dialogue import Dialogue
from agent.enroll import EnrollError, enroll
from agent.frames import ConnectionLostError
from agent.identity import Identity
from agent.strangers import StrangerError, why_not_ours
from coordinator.discovery import Announcer
from coordinator.pki import Authority
from tests.integration.test_enroll import SmallCoordinator, served
from tests.parts.coming_in import approved, asking, hosts, serving
from tests.parts.multicast import needs_multicast
from tests.parts.waiting import until


@pytest.fixture
async def ours(tmp_path: Path) -> AsyncIterator[SmallCoordinator]:
    async with served(SmallCoordinator(Authority.open(tmp_path / "ours"))) as opened:
        yield opened


@pytest.fixture
async def other(tmp_path: Path) -> AsyncIterator[SmallCoordinator]:
    async with served(SmallCoordinator(Authority.open(tmp_path / "other"))) as opened:
        yield opened


def names_both(text: str, found: SmallCoordinator, trusted: SmallCoordinator, state: Path) -> bool:
    """Whether it tells both digests and what to do."""
    return (
        f"has an authority with the SHA-256 {found.authority.ca_digest}" in text
        and f"this host trusts {trusted.authority.ca_digest}" in text
        and f"remove ca.pem and agent.pem in {state} and join anew" in text
    )


@asynccontextmanager
async def connecting(identity: Identity, url: str) -> AsyncIterator[None]:
    """An agent that dials a coordinator."""

    async def where() -> str:
        return url

    dialogue = Dialogue()
    dialogue.attach({})
    agent = asyncio.create_task(
        Connection("host-a", "boot", dialogue).run(
            identity.client_context,
            where,
            lambda at: why_not_ours(at, identity.ca_digests, identity.state_dir),
        )
    )
    yield
    agent.cancel()
    await asyncio.wait([agent])


async def test_a_joined_host_says_loudly_that_another_coordinator_answers(
    ours: SmallCoordinator,
    other: SmallCoordinator,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    state = tmp_path / "state"
    identity = await enroll(state, "host-a", ours.url, ours.token)
    before = {file.name: file.read_bytes() for file in state.iterdir()}
    async with connecting(identity, other.url):
        loud = await until(lambda: [one for one in caplog.records if one.levelno >= logging.ERROR])
    assert names_both(loud[0].message, other, ours, state)
    assert {path for path, _ in other.received} == {"/v1/agent/authority"}, "nothing was sent"
    assert {file.name: file.read_bytes() for file in state.iterdir()} == before


async def test_who_shows_the_right_authority_and_can_not_prove_it_is_told_apart(
    ours: SmallCoordinator, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    identity = await enroll(tmp_path / "state", "host-a", ours.url, ours.token)
    liar = SmallCoordinator(Authority.open(tmp_path / "liar"), shown=ours.authority.ca_pem)
    async with served(liar), connecting(identity, liar.url):
        told = f"can't prove that it is the coordinator with the authority {identity.ca_digests[0]}"
        await until(lambda: told in caplog.text)


async def test_a_token_of_another_coordinator_moves_no_host(
    ours: SmallCoordinator, other: SmallCoordinator, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    await enroll(state, "host-a", ours.url, ours.token)
    (state / "agent.pem").unlink()
    with pytest.raises(StrangerError) as caught:
        await enroll(state, "host-a", other.url, other.token)
    assert names_both(caught.value.message, other, ours, state)
    assert not caught.value.passing
    assert other.received == [], "nothing was asked, let alone sent"
    assert {file.name for file in state.iterdir()} == {"ca.pem"}
    (state / "ca.pem").unlink()
    await enroll(state, "host-a", other.url, other.token)


async def test_a_host_that_was_approved_asks_no_other_coordinator(
    other: SmallCoordinator, tmp_path: Path
) -> None:
    state = tmp_path / "host-a"
    async with serving(tmp_path / "coordinator") as (coordinator, url):
        trusted = (await approved(coordinator, url, state, "host-a")).ca_digests
    (state / "agent.pem").unlink()
    with pytest.raises(StrangerError, match=f"this host trusts {trusted[0]}"):
        await asking(state, "host-a").ask(other.url)
    assert [path for path, _ in other.received] == ["/v1/agent/authority"]
    assert not (state / "agent.key").exists()


async def test_while_it_waits_it_holds_on_to_the_authority_that_it_showed(
    other: SmallCoordinator, tmp_path: Path
) -> None:
    async with serving(tmp_path / "coordinator") as (coordinator, url):
        agent = asking(tmp_path / "host-a", "host-a")
        assert not agent.believed
        await agent.ask(url)
        assert agent.believed == (coordinator.certificates.ca_digest,)
        with pytest.raises(StrangerError, match=other.authority.ca_digest):
            await agent.ask(other.url)
        await coordinator.approve_host("host-a")
        assert await agent.ask(url) is not None


async def test_an_authority_in_the_settings_is_the_only_one_that_is_asked(
    other: SmallCoordinator, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(tmp_path / "coordinator") as (coordinator, url):
        digest = coordinator.certificates.ca_digest
        agent = asking(tmp_path / "host-a", "host-a", digest)
        with pytest.raises(StrangerError):
            await agent.ask(other.url)
        assert not (tmp_path / "host-a").exists(), "not even a key was made"
        await agent.ask(url)
        assert f"the SHA-256 {digest}, as authority_sha256 says" in caplog.text
        assert "host-a" in await hosts(coordinator)


@needs_multicast
async def test_by_mdns_another_coordinator_is_not_dialled_and_told_loudly(
    ours: SmallCoordinator,
    other: SmallCoordinator,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    identity = await enroll(tmp_path / "state", "host-a", ours.url, ours.token)
    port = int(other.url.rpartition(":")[2])
    announcer = Announcer("127.0.0.1", port, other.authority.ca_digest)
    await announcer.start()
    try:
        config = AgentConfig(host_id="host-a", state_dir=tmp_path / "state")

        async def looked() -> str:
            with pytest.raises(ConnectionLostError, match="no coordinator of this authority"):
                await find_url(config, identity.ca_digests)
            return caplog.text

        shown = f"{other.url} announces the authority {other.authority.ca_digest[:16]}…"
        said = await until(looked, lambda text: shown in text)
    finally:
        await announcer.stop()
    assert f"this host trusts {identity.ca_digests[0]}: it was not dialled" in said
    assert "remove ca.pem and agent.pem in its state_dir and join anew" in said
    assert other.received == []


async def test_a_damaged_pin_pins_nothing(ours: SmallCoordinator, tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state/ca.pem").write_text(secrets.token_hex(8))
    with pytest.raises(EnrollError, match="the join token was refused"):
        await enroll(tmp_path / "state", "host-a", ours.url, ours.token[:-4] + "AAAA")
    assert (await enroll(tmp_path / "state", "host-a", ours.url, ours.token)).host_id == "host-a"
