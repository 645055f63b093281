"""The highest version of the protocol that a host ever spoke is the lowest that it may speak."""

from __future__ import annotations

from pathlib import Path

import pytest

from coordinator.app import Coordinator
from protocol.messages import PROTOCOL_MINOR, Hello, Inventory
from tests.parts.coming_in import approved, dialled, hosts, serving
from tests.parts.waiting import until


async def protocol_of(coordinator: Coordinator, host_id: str) -> tuple[int, int]:
    host = coordinator._fleet.host(host_id)
    assert host is not None
    return host.protocol


@pytest.mark.parametrize("newest", [PROTOCOL_MINOR, PROTOCOL_MINOR + 7])
async def test_an_older_version_is_refused_by_name_also_after_a_restart(
    tmp_path: Path, newest: int, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(tmp_path / "coordinator") as (coordinator, url):
        identity = await approved(coordinator, url, tmp_path / "host-a", "host-a")
        for minor in (0, newest):
            async with dialled(url, identity) as line:
                await line.greet("host-a", minor=minor)
                await line.say(Inventory(instances=[]))
        await until(lambda: protocol_of(coordinator, "host-a"), lambda kept: kept == (1, newest))
        before = await hosts(coordinator)
        async with dialled(url, identity) as line:
            await line.say(Hello(host_id="host-a", agent_version="older", minor=newest - 1))
            told = f"protocol 1.{newest - 1} after 1.{newest}: accepted is 1.{newest} or newer"
            assert await line.ends() == told
        after = await hosts(coordinator)
        assert after["host-a"][0].agent_version == before["host-a"][0].agent_version == "1"
        assert f"host host-a was refused: {told}" in caplog.text

    async with serving(tmp_path / "coordinator") as (coordinator, url):
        async with dialled(url, identity) as line:
            await line.say(Hello(host_id="host-a", agent_version="older", minor=0))
            assert await line.ends() == (
                f"protocol 1.0 after 1.{newest}: accepted is 1.{newest} or newer"
            )
        async with dialled(url, identity) as line:
            await line.greet("host-a", minor=newest)
        assert await protocol_of(coordinator, "host-a") == (1, newest)


async def test_the_floor_stays_when_a_host_is_let_in_anew(tmp_path: Path) -> None:
    async with serving(tmp_path / "coordinator") as (coordinator, url):
        identity = await approved(coordinator, url, tmp_path / "host-a", "host-a")
        async with dialled(url, identity) as line:
            await line.greet("host-a")
            await until(lambda: protocol_of(coordinator, "host-a"), lambda kept: kept > (0, 0))
        await coordinator.revoke_host("host-a")
        again = await approved(coordinator, url, tmp_path / "again", "host-a")
        async with dialled(url, again) as line:
            await line.say(Hello(host_id="host-a", agent_version="1", minor=0))
            assert f"accepted is 1.{PROTOCOL_MINOR} or newer" in await line.ends()
