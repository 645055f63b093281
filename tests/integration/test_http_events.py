"""The stream of events: replay, liveness, the end of it, and readers that don't read."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp
import pytest

from coordinator.http.events import Pace
from protocol.events import Event
from tests.parts.http_server import Door, served, until
from tests.parts.plausible import event


async def blocks(response: aiohttp.ClientResponse, count: int) -> list[dict[str, str]]:
    """The next `count` events, each as its fields; comments are left out."""
    found: list[dict[str, str]] = []
    fields: dict[str, str] = {}
    async with asyncio.timeout(20):
        while len(found) < count:
            line = (await response.content.readline()).decode()
            assert line, "the stream ended"
            name, _, value = line.rstrip("\n").partition(": ")
            if line == "\n" and fields:
                found.append(fields)
                fields = {}
            elif name:
                fields[name] = value
    return found


async def whole(reader: asyncio.StreamReader) -> bytes:
    async with asyncio.timeout(20):
        return await reader.read()


def stream(door: Door, path: str = "/v1/events", **headers: str) -> Any:
    return door.client.get(path, headers={"Authorization": "Bearer viewer", **headers})


async def test_events_come_as_they_happen_with_number_kind_and_data() -> None:
    async with served() as door, stream(door) as response:
        assert response.status == 200
        assert response.content_type == "text/event-stream"
        door.doors.live.put_nowait(event(7))
        (block,) = await blocks(response, 1)
        assert (block["id"], block["event"]) == ("7", "task")
        assert Event.model_validate(json.loads(block["data"])) == event(7)
        assert door.doors.asked == [("events", None)]


@pytest.mark.parametrize(
    ("path", "headers", "first"),
    [
        ("/v1/events", {"Last-Event-ID": "3"}, 4),
        ("/v1/events?after=3", {}, 4),
        ("/v1/events?after=1", {"Last-Event-ID": "4"}, 5),
        ("/v1/events?after=0", {"Last-Event-ID": ""}, 1),
    ],
)
async def test_a_reader_that_comes_back_gets_what_it_missed(
    path: str, headers: dict[str, str], first: int
) -> None:
    async with served() as door:
        door.doors.stored = [event(seq) for seq in range(1, 6)]
        door.doors.live.put_nowait(event(6))
        async with stream(door, path, **headers) as response:
            got = await blocks(response, 7 - first)
        assert [int(block["id"]) for block in got] == list(range(first, 7))


@pytest.mark.parametrize("given", ["abc", "-1", "1.5", "9" * 30, "٣", "9223372036854775808"])
async def test_a_last_event_id_that_is_no_number_is_refused(given: str) -> None:
    async with served() as door:
        answer = await door.ask("GET", "/v1/events", headers={"Last-Event-ID": given})
        assert (answer.status, answer.fields) == (400, {"Last-Event-ID"})
        assert door.doors.streams == 0


async def test_an_idle_stream_is_kept_alive_by_comments() -> None:
    async with served(Pace(keep_alive=0.05)) as door, stream(door) as response:
        async with asyncio.timeout(20):
            lines = [await response.content.readline() for _ in range(6)]
        assert lines[0].startswith(b":")
        assert lines[2] == lines[4] == b": still here\n"
        door.doors.live.put_nowait(event(1))
        assert [block["id"] for block in await blocks(response, 1)] == ["1"]


async def test_a_stream_ends_when_its_token_is_revoked() -> None:
    async with served(Pace(keep_alive=0.05)) as door, stream(door) as response:
        door.doors.revoked.add("viewer")
        async with asyncio.timeout(20):
            await response.read()
        await until(lambda: door.doors.streams_ended == 1)


async def test_a_stream_ends_as_soon_as_its_token_does() -> None:
    """Not only when it is looked at again, which is once in 15 s."""
    async with served() as door, stream(door) as response:
        door.doors.live.put_nowait(event(1))
        await blocks(response, 1)
        began = asyncio.get_running_loop().time()
        door.doors.ended.set()
        async with asyncio.timeout(20):
            assert await response.read() == b""
        assert asyncio.get_running_loop().time() - began < 2
        await until(lambda: door.doors.streams_ended == 1)


async def test_a_stream_of_a_token_that_ended_meanwhile_tells_nothing() -> None:
    """It was revoked between the look at it and the beginning of the stream."""
    async with served() as door:
        door.doors.stored = [event(1)]
        door.doors.revoke_after_next = "viewer"
        async with stream(door, "/v1/events?after=0") as response, asyncio.timeout(20):
            assert await response.read() == b""
        assert door.doors.streams == door.doors.streams_ended


async def test_a_reader_that_does_not_read_is_cut_off_when_its_token_ends() -> None:
    async with served() as door:
        note = {"note": "x" * 60_000}
        door.doors.stored = [
            Event(seq=seq, at=event(1).at, kind="task", data=note) for seq in range(1, 2001)
        ]
        _, writer = await asyncio.open_connection("127.0.0.1", door.client.server.port, limit=1024)
        writer.write(
            b"GET /v1/events?after=0 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer viewer\r\n\r\n"
        )
        await until(lambda: door.doors.streams == 1)
        door.doors.ended.set()
        await until(lambda: door.doors.streams_ended == 1, deadline=3)
        writer.close()


async def test_a_stream_ends_cleanly_at_shutdown() -> None:
    async with served() as door:
        async with stream(door) as response:
            door.doors.live.put_nowait(event(1))
            await blocks(response, 1)
            closing = asyncio.ensure_future(door.client.server.close())
            async with asyncio.timeout(20):
                assert await response.read() == b""
        await closing
        assert (door.doors.streams, door.doors.streams_ended) == (1, 1)


async def test_a_stream_ends_when_the_service_ends_it() -> None:
    async with served() as door, stream(door) as response:
        door.doors.live.put_nowait(None)
        async with asyncio.timeout(20):
            await response.read()
        assert door.doors.streams_ended == 1


async def test_a_reader_that_leaves_ends_its_stream() -> None:
    async with served(Pace(keep_alive=0.05)) as door:
        async with stream(door) as response:
            assert response.status == 200
        await until(lambda: door.doors.streams == door.doors.streams_ended == 1)


async def test_a_reader_that_does_not_read_is_cut_off_and_others_go_on() -> None:
    async with served(Pace(stall=0.3)) as door:
        door.doors.stored = [
            Event(seq=seq, at=event(1).at, kind="task", data={"note": "x" * 60_000})
            for seq in range(1, 2001)
        ]
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", door.client.server.port, limit=1024
        )
        writer.write(
            b"GET /v1/events?after=0 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer viewer\r\n\r\n"
        )
        await until(lambda: door.doors.streams_ended == 1)
        async with stream(door, "/v1/events?after=1999") as response:
            assert [block["id"] for block in await blocks(response, 1)] == ["2000"]
        assert not (await whole(reader)).endswith(b"\r\n0\r\n\r\n")
        writer.close()
        await writer.wait_closed()
