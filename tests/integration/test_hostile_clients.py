"""Clients that are slow, many or greedy: bounded, and the others served."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import aiohttp
import psutil
import pytest
from aiohttp.test_utils import make_mocked_request

from coordinator.app import LIMITS, Limits
from coordinator.gate import GateLimits
from coordinator.http.fairness import Fairness, RequestLimits
from coordinator.pki import Authority
from protocol.bucket import Rate
from protocol.errors import UnavailableError
from tests.lab.storm import join
from tests.parts.raw_websocket import RawWebsocket
from tests.parts.small_room import Room, answer, bearer, ends, request, room
from tests.parts.waiting import until

SOON = GateLimits(handshake=0.5, stay=0.5, stall=0.5)
FEW = GateLimits(each=3, together=5)
ELSEWHERE = "127.0.0.2"


async def says_on(writer: asyncio.StreamWriter, text: bytes) -> None:
    """Say it again and again until the connection is ended."""
    with contextlib.suppress(OSError):
        while True:
            writer.write(text)
            await writer.drain()
            await asyncio.sleep(0.05)


# ---- slow ------------------------------------------------------------------


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX-More: ",
        b"POST /v1/agent/enroll HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{",
        b"\x16\x03\x01",
    ],
    ids=["nothing", "half of its headers", "half of its body", "no HTTP"],
)
async def test_a_stranger_that_is_slow_is_cut_off(tmp_path: Path, said: bytes) -> None:
    async with room(tmp_path, Limits(gate=SOON)) as at, asyncio.timeout(20):
        reader, writer = await at.dial()
        writer.write(said)
        await ends(reader)
        writer.close()


async def test_a_stranger_that_drips_is_cut_off_all_the_same(tmp_path: Path) -> None:
    async with room(tmp_path, Limits(gate=SOON)) as at, asyncio.timeout(20):
        reader, writer = await at.dial()
        writer.write(b"GET /livez HTTP/1.1\r\n")
        await says_on(writer, b"X-More: more\r\n")
        await ends(reader)


async def test_who_dials_and_speaks_no_tls_is_cut_off(tmp_path: Path) -> None:
    async with room(tmp_path, Limits(gate=SOON)) as at, asyncio.timeout(20):
        reader, writer = await at.dial(tls=False)
        await ends(reader)
        writer.close()


async def test_who_has_shown_a_token_may_stay(tmp_path: Path) -> None:
    async with room(tmp_path, Limits(gate=SOON)) as at:
        reader, writer = await at.dial()
        for _ in range(2):
            writer.write(request("/v1/host", bearer(at.admin)))
            assert (await answer(reader))[0] == 200
            await asyncio.sleep(2 * SOON.stay)
        writer.close()


async def test_who_reads_nothing_is_cut_off(tmp_path: Path) -> None:
    async with room(tmp_path, Limits(gate=SOON)) as at, asyncio.timeout(30):
        _, writer = await at.dial()
        await says_on(writer, request("/openapi.json", bearer(at.admin)) * 200)
        assert await at.is_let_in()


# ---- many ------------------------------------------------------------------


async def test_strangers_of_one_address_and_of_all_are_limited(tmp_path: Path) -> None:
    async with room(tmp_path, Limits(gate=FEW)) as at:
        held = [await at.dial() for _ in range(FEW.each)]
        assert not await at.is_let_in()
        assert await at.is_let_in(ELSEWHERE)
        held += [await at.dial(ELSEWHERE) for _ in range(FEW.together - FEW.each)]
        assert not await at.is_let_in("127.0.0.3")
        held[0][1].transport.abort()
        await until(lambda: at.is_let_in("127.0.0.3"))
        for _, writer in held:
            writer.transport.abort()


async def test_who_dials_and_says_nothing_counts_as_a_stranger(tmp_path: Path) -> None:
    async with room(tmp_path, Limits(gate=FEW)) as at:
        held = [await at.dial(tls=False) for _ in range(FEW.each)]
        await until(at.is_let_in, lambda let_in: not let_in)
        for _, writer in held:
            writer.transport.abort()
        await until(at.is_let_in)


async def test_a_token_or_an_agents_certificate_makes_room_for_others(tmp_path: Path) -> None:
    authority = Authority.open(tmp_path / "coordinator")
    agent = join(authority, tmp_path / "host-a", "host-a")
    async with room(tmp_path, Limits(gate=FEW)) as at:
        held = []
        for _ in range(3 * FEW.each):
            reader, writer = await at.dial()
            held.append(writer)
            writer.write(request("/v1/host", bearer(at.admin)))
            assert (await answer(reader))[0] == 200
        async with (
            RawWebsocket(at.url, agent.client_context()),
            RawWebsocket(at.url, agent.client_context()),
            RawWebsocket(at.url, agent.client_context()),
            RawWebsocket(at.url, agent.client_context()),
        ):
            assert await at.is_let_in()
        for writer in held:
            writer.transport.abort()


async def test_a_wrong_token_makes_nobody_known(tmp_path: Path) -> None:
    async with room(tmp_path, Limits(gate=FEW)) as at:
        held = []
        for _ in range(FEW.each):
            reader, writer = await at.dial()
            held.append(writer)
            writer.write(request("/v1/host", bearer("ferryman-admin-wrong")))
            assert (await answer(reader))[0] == 401
        assert not await at.is_let_in()
        for writer in held:
            writer.transport.abort()


async def test_an_address_that_dials_too_often_is_turned_away_for_a_while(tmp_path: Path) -> None:
    limits = Limits(gate=replace(FEW, dials=Rate(each_second=2, burst=3), patience=0.0))
    async with room(tmp_path, limits) as at:
        assert [await at.is_let_in() for _ in range(6)].count(True) <= 4
        assert await at.is_let_in(ELSEWHERE)
        await until(at.is_let_in)


# ---- greedy ----------------------------------------------------------------


@pytest.mark.parametrize("known", [True, False], ids=["with a token", "without"])
async def test_who_asks_too_often_waits_and_is_then_refused(tmp_path: Path, known: bool) -> None:
    slow = Rate(each_second=20, burst=5)
    limits = Limits(requests=RequestLimits(known=slow, strangers=slow, patience=0.2))
    async with room(tmp_path, limits) as at:
        headers = {"Authorization": f"Bearer {at.admin}"} if known else {}
        async with aiohttp.ClientSession(headers=headers) as http:

            async def ask() -> tuple[int, str, str]:
                async with http.get(at.url + "/livez", ssl=at.tls) as said:
                    body = await said.json()
                    return (
                        said.status,
                        body["data"].get("type", ""),
                        said.headers.get("Retry-After", ""),
                    )

            if known:
                async with http.get(at.url + "/v1/host", ssl=at.tls) as said:
                    assert said.status == 200
            began = time.monotonic()
            for _ in range(15):
                assert (await ask())[0] == 200
            assert time.monotonic() - began > 0.4, "ten more than the burst, at 20 a second"
            answers = await asyncio.gather(*(ask() for _ in range(60)))
            refused = [one for one in answers if one[0] != 200]
            assert refused
            assert set(refused) == {(503, "unavailable", "1")}
            await until(ask, lambda one: one[0] == 200)


async def test_the_others_do_not_wait_for_who_asks_too_often(tmp_path: Path) -> None:
    slow = Rate(each_second=0.5, burst=3)
    limits = Limits(requests=RequestLimits(known=slow, strangers=slow, patience=0.2))
    async with room(tmp_path, limits) as at:
        viewer = await at.token("viewer")
        greedy_reader, greedy = await at.dial()
        statuses = []
        for _ in range(6):
            greedy.write(request("/v1/host", bearer(viewer)))
            statuses.append((await answer(greedy_reader))[0])
        assert statuses[-1] == 503
        reader, writer = await at.dial(ELSEWHERE)
        writer.write(request("/v1/host", bearer(at.admin)))
        assert (await answer(reader))[0] == 200
        greedy.close()
        writer.close()


async def test_streams_of_one_token_are_counted_while_they_are_open(tmp_path: Path) -> None:
    async with room(tmp_path, Limits(requests=RequestLimits(streams=2))) as at:
        viewer = await at.token("viewer")
        async with stream(at, viewer) as first, stream(at, viewer) as second:
            assert (first, second) == (200, 200)
            async with stream(at, viewer) as third, stream(at, at.admin) as anothers:
                assert (third, anothers) == (503, 200)


def test_a_stream_that_has_ended_makes_room_for_another() -> None:
    fairness = Fairness(RequestLimits(streams=1))
    asked = make_mocked_request("GET", "/v1/events")
    for _ in range(2):
        with (
            fairness.stream(asked),
            pytest.raises(UnavailableError, match="1 of yours"),
            fairness.stream(asked),
        ):
            pass


@contextlib.asynccontextmanager
async def stream(at: Room, token: str) -> AsyncIterator[int]:
    """Ask for the events, and read no further than the status."""
    reader, writer = await at.dial()
    writer.write(request("/v1/events", bearer(token)))
    yield int((await reader.readline()).split()[1])
    writer.transport.abort()


async def test_a_pipeline_of_requests_takes_no_room(tmp_path: Path) -> None:
    async with room(tmp_path) as at:
        before = psutil.Process().memory_info().rss
        reader, writer = await at.dial()
        writer.write(request("/livez") * 20_000)
        assert (await answer(reader))[0] == 200
        assert await at.is_let_in(ELSEWHERE)
        assert psutil.Process().memory_info().rss - before < 64 * 1024 * 1024
        writer.transport.abort()


@pytest.mark.parametrize(
    ("said", "statuses"),
    [
        (request("/livez", "X-Long: " + "a" * 1_000_000), {400, 431}),
        (request("/livez", *(f"X-{n}: a" for n in range(10_000))), {400, 431}),
        (request("/livez?" + "a" * 1_000_000), {400, 414}),
        (request("/livez", "Content-Length: -1"), {400}),
        (request("/livez", "Transfer-Encoding: chunked", "Content-Length: 3"), {400}),
        (b"NONSENSE\r\n\r\n", {400}),
        (b"\x00" * 10_000, {400}),
        (b"GET /livez HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", {200, 400}),
    ],
    ids=["header", "headers", "line", "negative", "two lengths", "nonsense", "zeros", "two hosts"],
)
async def test_what_is_no_decent_request_is_refused(
    tmp_path: Path, said: bytes, statuses: set[int]
) -> None:
    async with room(tmp_path) as at, asyncio.timeout(30):
        reader, writer = await at.dial()
        writer.write(said)
        status = int((await reader.readline()).split()[1])
        assert status in statuses
        writer.transport.abort()
        assert await at.is_let_in()


async def test_a_body_that_is_too_long_is_refused_and_nothing_is_stored(tmp_path: Path) -> None:
    async with room(tmp_path) as at, asyncio.timeout(30):
        body = json.dumps({"name": "a" * 5_000_000}).encode()
        async with aiohttp.ClientSession() as http:
            headers = {"Authorization": f"Bearer {at.admin}"}
            url = at.url + "/v1/token"
            async with http.post(url, data=io.BytesIO(body), ssl=at.tls, headers=headers) as said:
                assert said.status == 400
                assert "at most 4194304 bytes" in (await said.json())["message"]
        assert len((await at.coordinator.list_tokens()).tokens) == 1


def test_the_usual_limits_have_room_for_a_fleet_behind_one_address() -> None:
    gate = LIMITS.gate
    assert gate.each >= 1_000
    assert gate.dials.burst + gate.patience * gate.dials.each_second >= 1_000
