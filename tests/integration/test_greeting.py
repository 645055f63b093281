"""The coordinator greets agents by turns, and names the time over which a fleet is to return."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from coordinator.app import Coordinator, serve
from coordinator.config import DiscoverySettings, Settings
from coordinator.hub import GREETED_AT_ONCE
from coordinator.pki import Authority
from coordinator.reception import LONGEST_SPREAD, RETURNS_A_SECOND
from coordinator.turns import Turns
from protocol.codec import decode_from_coordinator, encode
from protocol.messages import (
    FIXED_SERVER_NAME,
    Heartbeat,
    HeartbeatAck,
    Hello,
    Inventory,
    ToAgent,
    ToCoordinator,
    Welcome,
)
from tests.lab.returning import host_name
from tests.lab.storm import join, remember

LONG = 60.0


class Host:
    """One agent's side, frame by frame."""

    def __init__(self, number: int, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.number = number
        self.socket = socket

    async def say(self, frame: ToCoordinator) -> None:
        await self.socket.send_bytes(encode(frame))

    async def hello(self) -> None:
        await self.say(Hello(host_id=host_name(self.number), agent_version="1"))

    async def hears(self) -> ToAgent:
        return decode_from_coordinator(await self.socket.receive_bytes())

    async def is_heard(self) -> None:
        """What was said before, by any host, has been taken in now."""
        for number in range(3):
            await self.say(Heartbeat(number=number))
            assert await self.hears() == HeartbeatAck(number=number)


class Door:
    """A coordinator, and agents' websockets to it."""

    def __init__(self, folder: Path, coordinator: Coordinator, url: str) -> None:
        self.coordinator = coordinator
        self._folder = folder
        self._url = url

    @asynccontextmanager
    async def dialled(self, number: int) -> AsyncIterator[Host]:
        authority = Authority.open(self._folder / "coordinator")
        identity = join(authority, self._folder / host_name(number), host_name(number))
        async with (
            aiohttp.ClientSession() as http,
            http.ws_connect(
                f"{self._url}/v1/agent/connect",
                ssl=identity.client_context(),
                server_hostname=FIXED_SERVER_NAME,
            ) as socket,
        ):
            yield Host(number, socket)


@asynccontextmanager
async def door(folder: Path, hosts: int) -> AsyncIterator[Door]:
    settings = Settings(
        data_dir=folder / "coordinator",
        listen="127.0.0.1:0",
        discovery=DiscoverySettings(enabled=False),
    )
    Authority.open(settings.data_dir)
    await remember(settings.data_dir, hosts)
    async with Coordinator(settings) as coordinator, serve(coordinator) as url:
        yield Door(folder, coordinator, url)


async def test_who_finds_all_places_taken_is_welcomed_when_an_inventory_is_committed(
    tmp_path: Path,
) -> None:
    async with door(tmp_path, 2) as at:
        at.coordinator.hub.greetings = Turns(1, LONG, LONG)
        async with at.dialled(0) as first, at.dialled(1) as second:
            await first.hello()
            assert isinstance(await first.hears(), Welcome)
            await second.hello()
            await first.is_heard()
            assert not at.coordinator.reception.renew(host_name(1)), "it was greeted already"
            await first.say(Inventory(instances=[]))
            assert isinstance(await second.hears(), Welcome)


async def test_fifty_are_greeted_at_once_and_the_next_ones_wait(tmp_path: Path) -> None:
    """The number is the shipped one; only its times are longer, so that none runs out here."""
    more = 3
    async with door(tmp_path, GREETED_AT_ONCE + more) as at, AsyncExitStack() as stay:
        shipped = at.coordinator.hub.greetings
        assert shipped.places == GREETED_AT_ONCE == 50
        at.coordinator.hub.greetings = Turns(shipped.places, LONG, LONG)
        dialled = []
        for number in range(GREETED_AT_ONCE + more):
            dialled.append(await stay.enter_async_context(at.dialled(number)))
            await dialled[-1].hello()
        first, late = dialled[:GREETED_AT_ONCE], dialled[GREETED_AT_ONCE:]
        for host in first:
            assert isinstance(await host.hears(), Welcome)
        for host in late:
            await first[0].is_heard()
            assert not at.coordinator.reception.renew(host_name(host.number)), "greeted already"
            await first.pop().say(Inventory(instances=[]))
            assert isinstance(await host.hears(), Welcome)


async def test_who_goes_gives_its_place_on(tmp_path: Path) -> None:
    async with door(tmp_path, 2) as at:
        at.coordinator.hub.greetings = Turns(1, LONG, LONG)
        async with AsyncExitStack() as stay:
            first = await stay.enter_async_context(at.dialled(0))
            async with at.dialled(1) as second:
                await first.hello()
                assert isinstance(await first.hears(), Welcome)
                await second.hello()
                await stay.aclose()
                assert isinstance(await second.hears(), Welcome)


@pytest.mark.parametrize(
    ("hosts", "spread"), [(1, 1 / RETURNS_A_SECOND), (600, 3.0), (10_000, LONGEST_SPREAD)]
)
async def test_the_more_hosts_have_joined_the_longer_they_take_to_return(
    tmp_path: Path, hosts: int, spread: float
) -> None:
    async with door(tmp_path, hosts) as at, at.dialled(0) as host:
        await host.hello()
        welcome = await host.hears()
    assert isinstance(welcome, Welcome)
    assert welcome.reconnect_spread == pytest.approx(spread)
