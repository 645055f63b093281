"""When hosts are told what is pinned: the whole set of their services, and no older agent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from coordinator.app import Coordinator
from protocol.messages import (
    PINS_MINOR,
    Heartbeat,
    HeartbeatAck,
    InstanceState,
    Inventory,
    PinnedVersion,
    Pins,
    ToAgent,
)
from protocol.states import InstanceStatus
from tests.parts.coming_in import Line, approved, dialled, serving
from tests.parts.waiting import until


@pytest.fixture
async def town(tmp_path: Path) -> AsyncIterator[tuple[Coordinator, str]]:
    async with serving(tmp_path / "coordinator") as found:
        yield found


def looks(instance_id: str, service: str) -> InstanceState:
    return InstanceState(instance_id=instance_id, service=service, status=InstanceStatus.STOPPED)


async def brings(line: Line, coordinator: Coordinator, *instances: InstanceState) -> None:
    """Say the inventory, and wait until it is committed."""
    await line.say(Inventory(instances=list(instances)))

    async def known() -> set[str]:
        services = await coordinator.list_services()
        return {one.service for one in services.services}

    await until(known, lambda seen: seen >= {one.service for one in instances})


async def heard(line: Line, number: int) -> list[ToAgent]:
    """What came before the answer to a heartbeat."""
    await line.say(Heartbeat(number=number))
    frames: list[ToAgent] = []
    async with asyncio.timeout(20):
        while (frame := await line.hears()) != HeartbeatAck(number=number):
            frames.append(frame)
    return frames


def pins(*versions: str, service: str = "web") -> Pins:
    return Pins(pins=[PinnedVersion(service=service, version=version) for version in versions])


async def test_the_whole_set_is_told_after_the_inventory_and_on_each_change(
    town: tuple[Coordinator, str], tmp_path: Path
) -> None:
    coordinator, url = town
    identity = await approved(coordinator, url, tmp_path / "host-a", "host-a")
    async with dialled(url, identity) as line:
        await line.greet("host-a")
        await brings(line, coordinator, looks("i-1", "web"), looks("i-2", "web"))
        assert await line.hears() == pins(), "also that nothing is pinned"
        await coordinator.pin_release("web", "v1")
        await coordinator.pin_release("web", "v2")
        await coordinator.pin_release("web", "v2")
        assert await line.hears() == pins("v1")
        assert [await line.hears() for _ in range(2)] == [pins("v1", "v2")] * 2
        await coordinator.unpin_release("web", "v1")
        assert await line.hears() == pins("v2")
    async with dialled(url, identity) as line:
        await line.greet("host-a")
        await brings(line, coordinator, looks("i-1", "web"))
        assert await line.hears() == pins("v2"), "with one frame for all instances"


async def test_a_host_hears_of_its_own_services_alone(
    town: tuple[Coordinator, str], tmp_path: Path
) -> None:
    coordinator, url = town
    web = await approved(coordinator, url, tmp_path / "host-a", "host-a")
    api = await approved(coordinator, url, tmp_path / "host-b", "host-b")
    async with dialled(url, web) as of_web, dialled(url, api) as of_api:
        await of_web.greet("host-a")
        await of_api.greet("host-b")
        await brings(of_web, coordinator, looks("i-1", "web"))
        await brings(of_api, coordinator, looks("i-2", "api"))
        await coordinator.pin_release("web", "v1")
        await coordinator.pin_release("api", "v7")
        assert await heard(of_web, 1) == [pins(), pins("v1")]
        assert await heard(of_api, 1) == [pins(), pins("v7", service="api")]


async def test_an_agent_of_an_older_minor_version_is_told_nothing(
    town: tuple[Coordinator, str], tmp_path: Path
) -> None:
    coordinator, url = town
    identity = await approved(coordinator, url, tmp_path / "old", "old")
    async with dialled(url, identity) as line:
        await line.greet("old", minor=PINS_MINOR - 1)
        await brings(line, coordinator, looks("i-1", "web"))
        await coordinator.pin_release("web", "v1")
        assert await heard(line, 1) == []


async def test_pins_survive_a_restart_of_the_coordinator(tmp_path: Path) -> None:
    async with serving(tmp_path / "coordinator") as (coordinator, url):
        identity = await approved(coordinator, url, tmp_path / "host-a", "host-a")
        async with dialled(url, identity) as line:
            await line.greet("host-a")
            await brings(line, coordinator, looks("i-1", "web"))
        before = await coordinator.pin_release("web", "v1")
        await coordinator.pin_release("web", "v2")
        await coordinator.unpin_release("web", "v2")
    async with serving(tmp_path / "coordinator") as (coordinator, url):
        assert (await coordinator.list_pins()).pins == [before]
        async with dialled(url, identity) as line:
            await line.greet("host-a")
            await line.say(Inventory(instances=[looks("i-1", "web")]))
            assert await line.hears() == pins("v1")
