"""Agents' certificates are renewed over the live connection, with all parts real."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from agent.keys import new_key
from coordinator.x509 import AGENT_LIFE
from protocol.codec import decode_from_coordinator, encode
from protocol.messages import (
    FIXED_SERVER_NAME,
    CertificateRequest,
    Frame,
    Heartbeat,
    HeartbeatAck,
    Hello,
    Welcome,
)
from protocol.states import TaskState
from tests.behaviour.installation import Site
from tests.behaviour.world import Place, World
from tests.parts.identities import joined_with_0_1_0, long_ago, public_key, serial
from tests.parts.local_agent import LocalAgent, LocalInstance
from tests.parts.waiting import until
from tests.parts.wire import Wire

pytestmark = pytest.mark.asyncio(loop_scope="module")

OFTEN = 0.02


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    async with Site.open(tmp_path_factory.mktemp("site"), heartbeat=1.0) as opened:
        yield opened


@pytest_asyncio.fixture(loop_scope="module")
async def world(site: Site) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        yield World(site, site.coordinator, stack)


@pytest_asyncio.fixture(loop_scope="module")
async def wire(site: Site) -> AsyncIterator[Wire]:
    """Between agent and coordinator: it counts the connections."""
    async with Wire(site.url) as relay:
        yield relay


async def renewed(place: Place, before: int) -> int:
    return await until(
        lambda: serial(place.agent.state_dir), lambda now: now != before, every=OFTEN
    )


async def grown_old(site: Site, tmp_path: Path, place: Place, age: timedelta) -> int:
    """Give the host a certificate of this age, kept as version 0.1.0 did; return its serial."""
    await place.agent.stop()
    slow = long_ago(site.coordinator.certificates, age, tmp_path / "slow")
    (place.agent.state_dir / "agent.pem").unlink()
    joined_with_0_1_0(slow, place.agent.state_dir, place.agent.host_id)
    return serial(place.agent.state_dir)


async def test_past_half_of_its_life_a_certificate_is_renewed_and_the_connection_stays(
    site: Site, world: World, wire: Wire, tmp_path: Path
) -> None:
    place = await world.place(url=wire.url)
    old = await grown_old(site, tmp_path, place, timedelta(days=15, hours=1))
    old_key = public_key(place.agent.state_dir)
    dialled = wire.dialled
    await place.agent.start()
    new = await renewed(place, old)
    assert public_key(place.agent.state_dir) != old_key
    assert (place.agent.state_dir / "agent.pem").stat().st_mode & 0o777 == 0o600
    assert not (place.agent.state_dir / "agent.key").exists()
    await world.deployed("v1", place)
    assert wire.dialled == dialled + 1

    await place.agent.cut_off()
    await place.agent.let_back()
    await world.deployed("v2", place)
    assert wire.dialled == dialled + 2
    assert serial(place.agent.state_dir) == new, "the new one was shown, so none was asked for"


async def test_a_certificate_that_comes_to_its_half_while_the_host_is_connected_is_renewed(
    site: Site, world: World, wire: Wire, tmp_path: Path
) -> None:
    place = await world.place(url=wire.url)
    soon = AGENT_LIFE / 2 - timedelta(seconds=2)
    old = await grown_old(site, tmp_path, place, soon)
    dialled = wire.dialled
    await place.agent.start()
    await renewed(place, old)
    assert wire.dialled == dialled + 1


async def test_before_half_of_its_life_a_certificate_stays(
    site: Site, world: World, tmp_path: Path
) -> None:
    place = await world.place()
    old = await grown_old(site, tmp_path, place, timedelta(days=14, hours=23))
    await place.agent.start()
    await world.deployed("v1", place)
    assert serial(place.agent.state_dir) == old


async def test_a_deployment_under_way_is_not_disturbed(
    site: Site, world: World, wire: Wire
) -> None:
    place = await world.place("v1", url=wire.url)
    dialled, old = wire.dialled, serial(place.agent.state_dir)
    gate = place.driver.hold("start")
    deploy_id = await world.deploy("v2", place)
    await gate.reached.wait()
    assert site.coordinator.reception.renew(place.agent.host_id)
    await renewed(place, old)
    gate.open()
    assert (await world.ended(deploy_id)).status is TaskState.COMPLETED
    assert (place.current, wire.dialled) == ("v2", dialled)


async def test_the_old_certificate_is_good_until_it_ends(
    site: Site, world: World, tmp_path: Path
) -> None:
    """A host whose disk was put back from a backup comes in with it."""
    place = await world.place()
    before = (place.agent.state_dir / "agent.pem").read_bytes()
    old = serial(place.agent.state_dir)
    assert site.coordinator.reception.renew(place.agent.host_id)
    await renewed(place, old)
    await place.agent.stop()
    (place.agent.state_dir / "agent.pem").write_bytes(before)
    await place.agent.start()
    await world.deployed("v1", place)


async def test_a_disk_that_takes_nothing_leaves_the_old_pair_and_is_told(
    site: Site, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    place = await world.place()
    state = place.agent.state_dir
    before = (state / "agent.pem").read_bytes()
    (state / "agent.pem.new").mkdir()
    assert site.coordinator.reception.renew(place.agent.host_id)
    told = f"host {place.agent.host_id} did not renew its certificate: {state}/agent.pem.new"
    await until(lambda: told in caplog.text, every=OFTEN)
    assert (state / "agent.pem").read_bytes() == before
    await world.deployed("v1", place)

    (state / "agent.pem.new").rmdir()
    assert site.coordinator.reception.renew(place.agent.host_id)
    await renewed(place, serial(state))


async def test_the_agents_own_process_makes_the_key_and_no_file_holds_it_meanwhile(
    site: Site, tmp_path: Path
) -> None:
    agent = LocalAgent(
        tmp_path,
        "host-p",
        [LocalInstance("p-1")],
        url=site.url,
        join_token=site.join_token,
        source=site.source,
        new_key=new_key,
    )
    seen = set[str]()
    async with agent:
        reception = site.coordinator.reception
        await until(lambda: reception.renew("host-p"), every=OFTEN)
        old = serial(agent.state_dir)

        def look() -> int:
            seen.update(path.name for path in agent.state_dir.iterdir() if path.is_file())
            return serial(agent.state_dir)

        await until(look, lambda now: now != old, every=0.005)
    assert not any("key" in name for name in seen)


async def test_an_agent_of_an_older_minor_version_is_never_asked(
    site: Site, tmp_path: Path
) -> None:
    slow = long_ago(site.coordinator.certificates, timedelta(days=20), tmp_path / "slow")
    identity = joined_with_0_1_0(slow, tmp_path / "old-agent", "old-agent")
    reception = site.coordinator.reception
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

        hello = Hello(host_id=identity.host_id, agent_version="0.1.0", minor=0)
        assert isinstance(await said(hello), Welcome)
        assert isinstance(await said(Heartbeat(number=1)), HeartbeatAck)
        assert not reception.renew(identity.host_id)
        await socket.send_bytes(encode(CertificateRequest(csr="unasked")))
        assert isinstance(await said(Heartbeat(number=2)), HeartbeatAck)
    assert not reception.renew("no-such-host")
