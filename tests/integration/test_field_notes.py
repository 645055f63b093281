"""Field notes of the agent: its lock, its disk, its clock, its trust (docs/field-notes.md)."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import pytest

from agent.discovery import find_coordinator
from agent.download import PackageSource
from agent.enroll import EnrollError, enroll
from agent.journal import Record, Work
from coordinator.discovery import Announcer
from coordinator.pki import Authority
from protocol.messages import (
    FIXED_SERVER_NAME,
    Ended,
    Prepared,
    Result,
    Step,
)
from tests.integration.test_enroll import SmallCoordinator, served
from tests.parts.multicast import LOOPBACK, needs_multicast
from tests.parts.one_worker import OneWorker
from tests.parts.package_server import PackageServer
from tests.parts.waiting import until

NO_CHECK_TIME = 0x200000  # X509_V_FLAG_NO_CHECK_TIME of OpenSSL


@pytest.fixture
async def agent(tmp_path: Path) -> AsyncIterator[OneWorker]:
    async with PackageServer(tmp_path) as server, PackageSource(server.ca_file) as source:
        made = OneWorker(tmp_path, server, source)
        await made.worker.recover()
        yield made
        await made.worker.stop()


# ---- one at a time, and the disk ---------------------------------------------


async def test_field_note_17_a_command_that_comes_during_a_switch_waits_for_its_end(
    agent: OneWorker,
) -> None:
    stopping = agent.local.driver.hold("stop")
    agent.worker.handle(agent.prepare("deploy-1", "v1"))
    await until(lambda: agent.coordinator.said("deploy-1", Prepared))
    agent.worker.handle(agent.activate("deploy-1", "v1"))
    await stopping.reached.wait()

    agent.worker.handle(agent.prepare("deploy-2", "v2"))
    agent.worker.handle(agent.activate("deploy-2", "v2"))
    refused = agent.coordinator.reports[max(agent.coordinator.reports)]
    assert refused.task_id == "deploy-2"
    assert isinstance(refused.event, Ended)
    assert (refused.event.result, refused.event.step) == (Result.FAILED, Step.PREPARE)
    agent.worker.handle(agent.prepare("deploy-3", "v3"))
    in_hand = agent.worker.in_hand
    assert in_hand is not None
    assert (in_hand.task_id, in_hand.step) == ("deploy-1", Step.STOP)
    assert [one.name for one in agent.packages.requests] == ["v1.tar.gz"]

    stopping.open()
    await until(lambda: agent.coordinator.said("deploy-3", Prepared))
    assert agent.on_disk() == {"v1", "v3"}
    await agent.install("deploy-3", "v3")
    started = [release.name.partition("-")[0] for release, _ in agent.local.driver.starts]
    assert started == ["v1", "v3"]
    assert agent.on_disk() == {"v1", "v3"}


@pytest.mark.parametrize("keep_releases", [0, 1])
async def test_field_note_20_pruning_takes_nothing_that_is_needed(
    agent: OneWorker, keep_releases: int
) -> None:
    for number, version in enumerate(("v1", "v2", "v3"), 1):
        await agent.install(f"deploy-{number}", version)
    await until(lambda: agent.on_disk() == {"v2", "v3"})
    agent.worker.handle(agent.prepare("deploy-4", "v4"))
    await until(lambda: agent.coordinator.said("deploy-4", Prepared))
    record = agent.journal.load("instance-1")
    assert record.work is not None

    kept = prune(agent, record, [record.work], keep_releases)
    assert kept == {"v2", "v3", "v4"}, "the last good one, the running one, the one in hand"
    assert prune(agent, record, [], keep_releases) == {"v2", "v3"}


def prune(agent: OneWorker, record: Record, in_hand: list[Work], keep_releases: int) -> set[str]:
    instance = agent.local.under(
        agent.instance.releases.current_link.parent, keep_releases=keep_releases
    )
    assert agent.preparer.prune(instance, record, in_hand) == []
    return agent.on_disk()


# ---- clocks ------------------------------------------------------------------


@pytest.mark.parametrize("wrong_by", [timedelta(days=-800), timedelta(days=400)])
async def test_field_note_31_a_wrong_clock_is_no_failure_to_authenticate(
    tmp_path: Path, wrong_by: timedelta
) -> None:
    """The coordinator's certificate is valid by its clock and not by the agent's."""
    authority = Authority.open(tmp_path / "coordinator", now=lambda: datetime.now(UTC) - wrong_by)
    with_clock = ssl.create_default_context(cadata=authority.ca_pem.decode())
    async with served(SmallCoordinator(authority), timeless(authority)) as coordinator:
        with pytest.raises(aiohttp.ClientConnectorCertificateError, match=r"not yet|expired"):
            await whoami(coordinator.url, with_clock)

        identity = await enroll(tmp_path / "state", "host-a", coordinator.url, coordinator.token)

        assert await whoami(coordinator.url, identity.client_context()) == "host-a"


def timeless(authority: Authority) -> ssl.SSLContext:
    """The coordinator's TLS as it is where the coordinator's clock is right."""
    context = authority.server_context()
    context.verify_flags = ssl.VerifyFlags(context.verify_flags | NO_CHECK_TIME)
    return context


async def whoami(url: str, tls: ssl.SSLContext) -> str:
    async with (
        aiohttp.ClientSession() as http,
        http.get(f"{url}/who", ssl=tls, server_hostname=FIXED_SERVER_NAME) as answer,
    ):
        told: str = await answer.json()
        return told


# ---- mDNS --------------------------------------------------------------------


@needs_multicast
async def test_field_note_32_a_false_announcement_gets_no_secret_and_no_trust(
    tmp_path: Path,
) -> None:
    ours = Authority.open(tmp_path / "ours")
    foreign = Authority.open(tmp_path / "foreign")
    async with (
        served(SmallCoordinator(ours)) as right,
        served(SmallCoordinator(foreign, shown=ours.ca_pem)) as liar,
    ):
        joined = await enroll(tmp_path / "joined", "host-a", right.url, right.token)
        port = int(liar.url.rpartition(":")[2])
        announcer = Announcer("127.0.0.1", port, ours.ca_digest)
        await announcer.start()
        try:
            found = await find_coordinator(30, [ours.ca_digest], LOOPBACK)
        finally:
            await announcer.stop()
        assert found == liar.url, "the suggestion is taken for what it is: an address to try"

        with pytest.raises(EnrollError, match="certificate does not verify"):
            await enroll(tmp_path / "new", "host-b", found, right.token)
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await whoami(found, joined.client_context())
    assert [path for path, _ in liar.received] == ["/v1/agent/authority"]
    assert not any(right.secret in text for _, text in liar.received)
    assert not (tmp_path / "new" / "agent.pem").exists()
