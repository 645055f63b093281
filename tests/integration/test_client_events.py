"""The client library follows the stream of events, and tells how it ended."""

from __future__ import annotations

import json

import pytest

from coordinator.client import AsyncClient, Client
from protocol.errors import PermissionDeniedError, UnavailableError
from tests.parts.fake_coordinator import AT, TOKEN, FakeCoordinator, Reply, refusal


def events_reply(*numbers: int) -> Reply:
    frames = [
        f"id: {n}\nevent: task\ndata: "
        + json.dumps({"seq": n, "at": AT, "kind": "task", "data": {"n": n}})
        + "\n\n: still here\n\n"
        for n in numbers
    ]
    return Reply(200, "".join([": begin\n\n", *frames]).encode(), "text/event-stream")


async def test_events_are_followed_from_a_number_until_the_stream_breaks_off(
    fake: FakeCoordinator,
) -> None:
    fake.script("GET", "/v1/events", events_reply(5, 6))
    async with AsyncClient(fake.url, TOKEN, fake.ca_file) as client:
        stream = client.events(after=4)
        seen = [(await anext(stream)).seq, (await anext(stream)).seq]
        with pytest.raises(UnavailableError, match="event stream ended"):
            await anext(stream)
    assert seen == [5, 6]
    assert fake.seen[0].headers["last-event-id"] == "4"


def test_the_blocking_client_yields_events_and_may_stop_in_the_middle(
    fake: FakeCoordinator, client: Client
) -> None:
    fake.script("GET", "/v1/events", events_reply(1, 2, 3))
    stream = client.events()
    assert next(stream).seq == 1
    assert next(stream).data == {"n": 2}
    assert "last-event-id" not in fake.seen[0].headers


def test_a_refused_stream_raises_the_refusal(fake: FakeCoordinator, client: Client) -> None:
    fake.script("GET", "/v1/events", refusal(403, "permission_denied", "no"))
    with pytest.raises(PermissionDeniedError):
        next(client.events())


def test_an_event_that_is_none_is_unavailable(fake: FakeCoordinator, client: Client) -> None:
    fake.script("GET", "/v1/events", Reply(200, b"data: {}\n\n", "text/event-stream"))
    with pytest.raises(UnavailableError):
        next(client.events())
