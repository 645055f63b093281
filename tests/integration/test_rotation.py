"""The authority is rotated under a running fleet: all parts real, one process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import pytest
from cryptography import x509

from agent.identity import EnrollError, Identity
from coordinator.app import Coordinator
from coordinator.client import AsyncClient
from coordinator.config import DiscoverySettings, Settings
from coordinator.data_dir import DATABASE
from coordinator.x509 import signed_by
from protocol.access import AuthorityStatus, TokenParams
from protocol.codec import decode_from_coordinator, encode
from protocol.errors import ConflictError
from protocol.messages import FIXED_SERVER_NAME, Authorities, Frame, Heartbeat, HeartbeatAck, Hello
from protocol.states import RotationPhase, TaskState
from tests.behaviour.installation import Site
from tests.behaviour.world import World
from tests.fixtures.make import FOLDER, loaded
from tests.parts.identities import joined_with_0_1_0, serial
from tests.parts.local_agent import LocalAgent, LocalInstance
from tests.parts.waiting import until
from tests.parts.wire import Wire

OFTEN = 0.02
NONE, BEGUN, SWITCHED = RotationPhase.NONE, RotationPhase.BEGUN, RotationPhase.SWITCHED


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with Site.open(tmp_path, heartbeat=1.0) as opened:
        yield opened


@pytest.fixture
async def world(site: Site) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        yield World(site, site.coordinator, stack)


def believed(agent: LocalAgent) -> tuple[str, ...]:
    identity = Identity.load(agent.state_dir)
    assert identity is not None
    return identity.ca_digests


async def ready(site: Site) -> AuthorityStatus:
    """Wait until no host stands in the way of the next step."""
    return await until(
        site.coordinator.authority_status, lambda seen: not seen.unready, every=OFTEN
    )


def certified(agent: LocalAgent, status: AuthorityStatus) -> bool:
    """Whether the certificate on the host's disk is of the present authority."""
    shown = x509.load_pem_x509_certificate((agent.state_dir / "agent.pem").read_bytes())
    authority = x509.load_pem_x509_certificate(status.present.certificate.encode())
    return signed_by(shown, authority)


async def test_the_authority_is_rotated_while_a_deployment_runs_and_no_connection_ends(
    site: Site, world: World
) -> None:
    async with Wire(site.url) as wire:
        place = await world.place("v1", url=wire.url)
        dialled = wire.dialled
        gate = place.driver.hold("start")
        deploy_id = await world.deploy("v2", place)
        await gate.reached.wait()

        first = await site.coordinator.authority_status()
        begun = await site.coordinator.begin_rotation()
        assert begun.next is not None
        assert (begun.phase, begun.present) == (BEGUN, first.present)
        seen = await ready(site)
        assert (seen.hosts, seen.believing, seen.certified) == (1, 1, 0)
        assert believed(place.agent) == (begun.present.sha256, begun.next.sha256)

        before = serial(place.agent.state_dir)
        assert (await site.coordinator.switch_rotation()).phase is SWITCHED
        seen = await ready(site)
        assert (seen.believing, seen.certified) == (1, 1)
        assert serial(place.agent.state_dir) != before

        last = await site.coordinator.finish_rotation()
        assert (last.phase, last.present, last.next) == (NONE, begun.next, None)
        await until(lambda: believed(place.agent), lambda now: len(now) == 1, every=OFTEN)
        assert believed(place.agent) == (last.present.sha256,)
        assert certified(place.agent, last)

        gate.open()
        assert (await world.ended(deploy_id)).status is TaskState.COMPLETED
        assert (place.current, wire.dialled) == ("v2", dialled)
        await place.agent.cut_off()
        await place.agent.let_back()
        async with AsyncClient(site.url, site.token, site.ca_file) as client:
            assert (await client.authority_status()).unready == []
        await world.deployed("v3", place)


async def test_a_host_that_is_away_at_each_step_comes_back_and_catches_up(
    site: Site, world: World
) -> None:
    away, there = await world.place(), await world.place()
    await away.agent.cut_off()
    begun = await site.coordinator.begin_rotation()
    assert begun.next is not None
    seen = await until(
        site.coordinator.authority_status, lambda seen: seen.believing == 1, every=OFTEN
    )
    (lacking,) = seen.unready
    assert lacking.host_id == away.agent.host_id
    with pytest.raises(ConflictError, match=f"1 of 2 hosts .* yet: {away.agent.host_id};") as no:
        await site.coordinator.switch_rotation()
    assert no.value.details == [{"host_id": away.agent.host_id, "message": lacking.reason}]
    assert (await site.coordinator.authority_status()).phase is BEGUN

    await away.agent.let_back()
    await ready(site)
    await away.agent.cut_off()
    await site.coordinator.switch_rotation()
    seen = await until(
        site.coordinator.authority_status, lambda seen: seen.certified == 1, every=OFTEN
    )
    with pytest.raises(ConflictError, match=f"before the switch: {away.agent.host_id}; with force"):
        await site.coordinator.finish_rotation()
    assert (await site.coordinator.authority_status()).phase is SWITCHED

    await away.agent.let_back()
    await ready(site)
    await away.agent.cut_off()
    last = await site.coordinator.finish_rotation()
    reasons = {host.host_id: host.reason for host in last.unready}
    told = "is told to forget another authority when it returns"
    assert reasons[away.agent.host_id].endswith(told)
    await away.agent.let_back()
    await ready(site)
    assert believed(away.agent) == believed(there.agent) == (last.present.sha256,)
    await world.deployed("v1", away, there)


async def test_a_host_that_missed_it_until_the_switch_is_taken_along_until_the_end(
    site: Site, world: World
) -> None:
    place = await world.place()
    await place.agent.cut_off()
    await site.coordinator.begin_rotation()
    await site.coordinator.switch_rotation(force=True)
    await place.agent.let_back()
    seen = await ready(site)
    assert (seen.believing, seen.certified) == (1, 1)
    last = await site.coordinator.finish_rotation()
    assert last.present.sha256 in believed(place.agent)
    await world.deployed("v1", place)


async def test_a_host_that_missed_all_of_it_is_named_and_joins_again(
    site: Site, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    place = await world.place("v1")
    agent = place.agent
    await agent.cut_off()
    await site.coordinator.begin_rotation()
    await site.coordinator.switch_rotation(force=True)
    await site.coordinator.finish_rotation(force=True)
    assert f"host {agent.host_id} must join again: " in caplog.text
    (lacking,) = (await site.coordinator.authority_status()).unready
    gone = "its certificate is of an authority that was replaced: it must join again"
    assert (lacking.host_id, lacking.reason) == (agent.host_id, gone)
    await agent.let_back()
    said = "is not the coordinator of this host: its certificate is not of the authority"
    await until(lambda: said in caplog.text, every=OFTEN)
    await until(site.coordinator.list_hosts, lambda seen: not seen.hosts[0].connected)

    await agent.stop()
    for name in ("agent.pem", "ca.pem"):
        (agent.state_dir / name).unlink()
    agent.join_token = await join_token(site, agent.host_id)
    await agent.start()
    await ready(site)
    await world.deployed("v2", place)
    assert (await site.coordinator.get_instance_version_history(place.id)).total == 2


async def test_a_host_that_believes_the_new_one_and_shows_the_old_is_cut_off_and_told_why(
    site: Site, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """Its disk takes no new certificate; the operator passes over it."""
    place = await world.place()
    await site.coordinator.begin_rotation()
    await ready(site)
    (place.agent.state_dir / "agent.pem.new").mkdir()
    await site.coordinator.switch_rotation()
    seen = await until(
        site.coordinator.authority_status,
        lambda seen: "could not renew its certificate: " in seen.unready[0].reason,
        every=OFTEN,
    )
    assert "agent.pem.new: Is a directory" in seen.unready[0].reason
    await site.coordinator.finish_rotation(force=True)
    host = place.agent.host_id
    told = f"the certificate of {host} is of an authority that was replaced: the host must join"
    await until(lambda: told in caplog.text, every=OFTEN)
    told = f"host {host} was refused: its certificate is of an authority that was replaced"
    assert caplog.text.count(told) == 1


async def test_an_abort_takes_the_next_authority_back_everywhere(site: Site, world: World) -> None:
    away, there = await world.place(), await world.place()
    first = await site.coordinator.begin_rotation()
    await ready(site)
    await away.agent.cut_off()
    last = await site.coordinator.abort_rotation()
    assert (last.phase, last.present, last.next) == (NONE, first.present, None)
    await until(lambda: believed(there.agent) == (first.present.sha256,), every=OFTEN)
    again = await site.coordinator.begin_rotation()
    assert again.next is not None
    assert again.next != first.next
    await away.agent.let_back()
    await ready(site)
    assert believed(away.agent) == (again.present.sha256, again.next.sha256)
    await site.coordinator.abort_rotation()
    await world.deployed("v1", away, there)


async def test_what_changes_before_a_host_has_answered_is_told_again(
    site: Site, world: World
) -> None:
    place = await world.place()
    await site.coordinator.begin_rotation()
    last = await site.coordinator.abort_rotation()
    await ready(site)
    for _ in range(5):
        await site.coordinator.begin_rotation()
        await until(lambda: len(believed(place.agent)) == 2, every=0.001)
        await site.coordinator.abort_rotation()
        await until(lambda: believed(place.agent) == (last.present.sha256,), every=0.001, within=5)


async def test_a_host_that_can_not_keep_the_next_authority_tells_why(
    site: Site, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    place = await world.place()
    state = place.agent.state_dir
    (state / "ca.pem").rename(state / "elsewhere")
    (state / "ca.pem").mkdir()
    await site.coordinator.begin_rotation()
    seen = await until(
        site.coordinator.authority_status,
        lambda seen: "could not" in seen.unready[0].reason,
        every=OFTEN,
    )
    assert "could not believe the next authority: " in seen.unready[0].reason
    assert f"host {place.agent.host_id} did not keep the authorities: " in caplog.text
    (state / "ca.pem").rmdir()
    (state / "elsewhere").rename(state / "ca.pem")
    await place.agent.cut_off()
    await place.agent.let_back()
    await ready(site)


async def test_a_host_that_was_not_here_since_this_is_kept_is_named_like_any_other(
    tmp_path: Path,
) -> None:
    """A database of an older version does not tell what its hosts show."""
    loaded(FOLDER / "schema_0002.sql", tmp_path / DATABASE)
    settings = Settings(
        data_dir=tmp_path, listen="127.0.0.1:0", discovery=DiscoverySettings(enabled=False)
    )
    async with Coordinator(settings) as coordinator:
        first = await coordinator.authority_status()
        assert (first.believing, first.certified, first.unready) == (0, 0, [])
        await coordinator.begin_rotation()
        await coordinator.switch_rotation(force=True)
        last = await coordinator.finish_rotation(force=True)
    assert len(last.unready) == last.hosts > 0
    assert all("it must join again" in host.reason for host in last.unready)
    async with Coordinator(settings) as coordinator:
        assert (await coordinator.authority_status()).unready == last.unready


# ---- joining while it is rotated ------------------------------------------


async def join_token(site: Site, host_id: str | None = None) -> str:
    made = await site.coordinator.create_token(TokenParams(role="join", host_id=host_id))
    return made.secret


def newcomer(site: Site, name: str, token: str) -> LocalAgent:
    return LocalAgent(
        site.folder,
        name,
        [LocalInstance(f"instance-of-{name}")],
        url=site.url,
        join_token=token,
        source=site.source,
    )


async def test_a_host_that_has_joined_and_never_connected_is_known_to_show_the_new_one(
    site: Site,
) -> None:
    await site.coordinator.begin_rotation()
    await site.coordinator.switch_rotation()
    await newcomer(site, "host-a", site.join_token).join()
    seen = await site.coordinator.authority_status()
    assert (seen.hosts, seen.believing, seen.certified, seen.unready) == (1, 1, 1, [])


async def test_a_join_token_is_good_through_a_switch_and_ends_with_its_authority(
    site: Site,
) -> None:
    token = site.join_token
    async with AsyncExitStack() as stack:
        await site.coordinator.begin_rotation()
        one = await stack.enter_async_context(newcomer(site, "while-begun", token))
        await ready(site)
        assert len(believed(one)) == 2
        await site.coordinator.switch_rotation()
        for name, its in (("old-token", token), ("new-token", await join_token(site))):
            await stack.enter_async_context(newcomer(site, name, its))
        seen = await ready(site)
        assert (seen.hosts, seen.certified) == (3, 3)
        last = await site.coordinator.finish_rotation()
        late = newcomer(site, "too-late", token)
        with pytest.raises(
            EnrollError, match="is not the coordinator of the join token"
        ) as refused:
            await late.start()
        assert last.present.sha256 in str(refused.value)
        await until(site.coordinator.authority_status, lambda now: not now.unready, every=OFTEN)


# ---- older agents ---------------------------------------------------------


async def test_an_agent_of_an_older_minor_version_is_named_and_told_nothing(
    site: Site, tmp_path: Path
) -> None:
    identity = joined_with_0_1_0(site.coordinator.certificates, tmp_path / "old", "old")
    async with (
        aiohttp.ClientSession() as http,
        http.ws_connect(
            f"{site.url}/v1/agent/connect",
            ssl=identity.client_context(),
            server_hostname=FIXED_SERVER_NAME,
        ) as socket,
    ):

        async def said(frame: Frame) -> Frame:
            await socket.send_bytes(encode(frame))
            return decode_from_coordinator(await socket.receive_bytes())

        await said(Hello(host_id=identity.host_id, agent_version="0.1.0", minor=1))
        seen = await site.coordinator.begin_rotation()
        assert [host.reason for host in seen.unready] == [
            "its agent can't believe the next authority, it speaks protocol 1.1: upgrade it"
        ]
        assert isinstance(await said(Heartbeat(number=1)), HeartbeatAck)
        await site.coordinator.switch_rotation(force=True)
        assert isinstance(await said(Heartbeat(number=2)), HeartbeatAck)
    upgraded = LocalAgent(
        tmp_path, "old", [LocalInstance("o-1")], url=site.url, join_token="", source=site.source
    )
    async with upgraded:
        await ready(site)


async def test_a_frame_that_is_told_is_the_whole_truth(site: Site, world: World) -> None:
    place = await world.place()
    identity = await place.agent.join()
    await place.agent.cut_off()
    begun = await site.coordinator.begin_rotation()
    async with (
        aiohttp.ClientSession() as http,
        http.ws_connect(
            f"{site.url}/v1/agent/connect",
            ssl=identity.client_context(),
            server_hostname=FIXED_SERVER_NAME,
        ) as socket,
    ):
        hello = Hello(
            host_id=identity.host_id, agent_version="1", authorities=list(identity.ca_digests)
        )
        await socket.send_bytes(encode(hello))
        await socket.receive_bytes()
        frame = decode_from_coordinator(await socket.receive_bytes())
    assert begun.next is not None
    assert frame == Authorities(pems=[begun.present.certificate, begun.next.certificate])
