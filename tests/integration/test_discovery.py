"""Finding and being found by mDNS, over the loopback only."""

from __future__ import annotations

import asyncio
import gc
import secrets
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from agent.discovery import AgentAnnouncer, find_coordinator
from coordinator.discovery import Announcer, addresses_of
from protocol import __version__
from protocol.announcement import Announcement
from protocol.discovery import (
    COORDINATOR_TYPE,
    AgentSighting,
    CoordinatorSighting,
    Lookout,
    Sighting,
    browse,
    own_addresses,
)
from tests.parts.multicast import LOOPBACK, needs_multicast
from tests.parts.waiting import until

WITHIN = 30


@pytest.fixture
def ca_digest() -> str:
    """Another authority for each test, so that tests running at once don't meet."""
    return secrets.token_hex(32)


@asynccontextmanager
async def accepting(host: str = "127.0.0.1") -> AsyncIterator[int]:
    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(hang_up, host, 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await server.wait_closed()


@asynccontextmanager
async def announced(announcer: Announcer) -> AsyncIterator[Announcer]:
    await announcer.start()
    try:
        await asyncio.wait_for(announcer.announced(), WITHIN)
        yield announcer
    finally:
        await announcer.stop()


async def seen(lookout: Lookout, wanted: Callable[[Sighting], bool]) -> Sighting:
    """The next sighting that is wanted."""

    async def look() -> Sighting:
        while True:
            sighting = await lookout.arrivals.get()
            if wanted(sighting):
                return sighting

    return await asyncio.wait_for(look(), WITHIN)


@needs_multicast
async def test_an_agent_finds_its_coordinator(ca_digest: str) -> None:
    async with accepting() as port, announced(Announcer("127.0.0.1", port, ca_digest)) as it:
        assert it.problem == ""
        assert await find_coordinator(WITHIN, [ca_digest], LOOPBACK) == f"https://127.0.0.1:{port}"


@needs_multicast
async def test_a_coordinator_on_ipv6_is_found_with_brackets(ca_digest: str) -> None:
    try:
        async with accepting("::1") as port, announced(Announcer("::1", port, ca_digest)):
            found = await find_coordinator(WITHIN, [ca_digest], LOOPBACK)
    except OSError as error:
        pytest.skip(f"no IPv6 on the loopback: {error}")
    assert found == f"https://[::1]:{port}"


@needs_multicast
async def test_only_the_authority_of_the_token_counts(ca_digest: str) -> None:
    other = secrets.token_hex(32)
    async with (
        accepting() as port,
        announced(Announcer("127.0.0.1", port, other)),
        Lookout((COORDINATOR_TYPE,), LOOPBACK) as lookout,
    ):
        await seen(lookout, lambda s: isinstance(s, CoordinatorSighting) and s.ca == other[:16])
        assert await find_coordinator(2, [ca_digest], LOOPBACK) is None


@needs_multicast
async def test_a_coordinator_is_found_by_each_authority_that_it_has_while_it_is_rotated(
    ca_digest: str,
) -> None:
    following = secrets.token_hex(32)
    async with accepting() as port, announced(Announcer("127.0.0.1", port, ca_digest)) as it:
        it.authorities_are(ca_digest, following)
        for known in ([ca_digest], [following], [ca_digest, following]):
            assert await find_coordinator(WITHIN, known, LOOPBACK) == f"https://127.0.0.1:{port}"
        it.authorities_are(following)
        assert await find_coordinator(WITHIN, [following], LOOPBACK) is not None

        async def forgotten() -> bool:
            return await find_coordinator(1, [ca_digest], LOOPBACK) is None

        await until(forgotten, within=WITHIN)
        assert await find_coordinator(WITHIN, [ca_digest, following], LOOPBACK) is not None


@needs_multicast
async def test_an_announced_coordinator_that_does_not_answer_is_not_suggested(
    ca_digest: str,
) -> None:
    async with accepting() as port:
        pass
    async with announced(Announcer("127.0.0.1", port, ca_digest)):
        assert await find_coordinator(3, [ca_digest], LOOPBACK) is None


@needs_multicast
async def test_discover_lists_coordinators_and_hosts_and_who_has_not_joined(
    ca_digest: str,
) -> None:
    host_id = f"host.{secrets.token_hex(4)}_" + "x" * 100
    agent = AgentAnnouncer(host_id, 3, interfaces=LOOPBACK)
    await agent.start()
    try:
        async with announced(Announcer("127.0.0.1", 7420, ca_digest)):
            wanted = CoordinatorSighting(("https://127.0.0.1:7420",), ca_digest[:16], __version__)
            expected = AgentSighting(host_id, tuple(own_addresses()), 3, False, __version__)
            await until(lambda: both_browsed(wanted, expected), within=WITHIN)
            await agent.joined()
            await until(lambda: both_browsed(wanted, replace(expected, joined=True)))
    finally:
        await agent.stop()


async def both_browsed(*wanted: Sighting) -> bool:
    # The answers to a first question go to one address and port, which several share here;
    # those to the second, a second later, go to all.
    found = await browse(interfaces=LOOPBACK)
    return all(one in found for one in wanted)


@needs_multicast
async def test_what_has_stopped_is_no_longer_there(ca_digest: str) -> None:
    def is_it(sighting: Sighting) -> bool:
        return isinstance(sighting, CoordinatorSighting) and sighting.ca == ca_digest[:16]

    def gone() -> bool:
        return not any(is_it(one) for one in lookout.found.values())

    async with Lookout((COORDINATOR_TYPE,), LOOPBACK) as lookout:
        async with announced(Announcer("127.0.0.1", 7420, ca_digest)):
            await seen(lookout, is_it)
        await until(gone, within=WITHIN)


@needs_multicast
async def test_an_announcement_with_nonsense_in_it_is_not_shown(ca_digest: str) -> None:
    async def here() -> list[str]:
        return ["127.0.0.1"]

    bad = Announcement(
        COORDINATOR_TYPE,
        f"bad-{ca_digest[:8]}",
        port=1,
        properties={"ca": "\x1b[31mred", "v": "1"},
        addresses=here,
        interfaces=LOOPBACK,
    )
    bad.start()
    try:
        await asyncio.wait_for(bad.announced(), WITHIN)
        async with (
            announced(Announcer("127.0.0.1", 7420, ca_digest)),
            Lookout((COORDINATOR_TYPE,), LOOPBACK) as lookout,
        ):
            await seen(lookout, lambda s: isinstance(s, CoordinatorSighting))
            assert not any(name.startswith("bad-") for name in lookout.found)
    finally:
        await bad.stop()


@needs_multicast
async def test_two_processes_find_each_other(ca_digest: str) -> None:
    script = (
        "import asyncio, sys\n"
        "from agent.discovery import find_coordinator\n"
        f"print(asyncio.run(find_coordinator({WITHIN}, sys.argv[1:], ['127.0.0.1'])))\n"
    )
    async with accepting() as port, announced(Announcer("127.0.0.1", port, ca_digest)):
        other = await asyncio.create_subprocess_exec(
            sys.executable, "-c", script, ca_digest, stdout=asyncio.subprocess.PIPE
        )
        out, _ = await other.communicate()
    assert out.decode().strip() == f"https://127.0.0.1:{port}"


# The mDNS library leaves its socket to the garbage collector when it can't begin.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
async def test_a_machine_without_mdns_announces_nothing_and_says_why(ca_digest: str) -> None:
    announcer = Announcer("127.0.0.1", 7420, ca_digest, interfaces=["203.0.113.99"])
    await announcer.start()
    try:
        await until(lambda: "mDNS" in announcer.problem, within=WITHIN)
    finally:
        await announcer.stop()
    assert await find_coordinator(1, [ca_digest], ["203.0.113.99"]) is None
    gc.collect()


async def test_the_announced_addresses_fit_what_is_listened_on() -> None:
    assert await addresses_of("127.0.0.1") == ["127.0.0.1"]
    assert await addresses_of("10.1.2.3") == ["10.1.2.3"]
    assert "127.0.0.1" in await addresses_of("localhost")
    everywhere = await addresses_of("0.0.0.0")
    assert everywhere
    assert all(":" not in address for address in everywhere)
    assert everywhere == ["127.0.0.1"] or "127.0.0.1" not in everywhere


async def test_looking_is_loaded_only_when_used() -> None:
    script = "import sys, protocol.discovery, agent.discovery; print('zeroconf' in sys.modules)"
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await child.communicate()
    assert out.strip() == b"False"
