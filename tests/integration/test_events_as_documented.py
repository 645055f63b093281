"""`GET /v1/events` says what /openapi.json and docs/http.md say of it, byte for byte.

It is the one route that schemathesis leaves out (`tests/parts/schemathesis.py`).
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from protocol.events import Event
from tests.integration.test_openapi import DOCUMENT, fits, resolve
from tests.parts.http_server import Door, served
from tests.parts.plausible import AT

BEGIN = b": stream of events\n\n"
FRAME = re.compile(rb"id: (\d+)\nevent: (task|assignment|instance)\ndata: ([^\r\n]+)\n\n")

OPERATION: dict[str, Any] = DOCUMENT["paths"]["/v1/events"]["get"]
DESCRIBED: dict[str, Any] = OPERATION["responses"]["200"]["content"]
DOCS = Path(__file__).parents[2] / "docs/http.md"

EVENTS = [
    Event(seq=1, at=AT, kind="task", data={"task_id": "deploy-1", "note": "a\nb\r\nc\rd\0"}),
    Event(seq=2, at=AT, kind="assignment", data={"reason": "data: x\n\nid: 9", "receipt": None}),
    Event(seq=9, at=AT, kind="instance", data={"instance_id": "été-服务-🚢\u2028\x85", "n": [1.5]}),
]


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    async with served() as serving:
        serving.doors.stored = EVENTS
        yield serving


def check_frame(raw: bytes) -> Event:
    """Hold one frame to the document; return the event."""
    found = FRAME.fullmatch(raw)
    assert found, raw
    number, kind, data = found.groups()
    fits(DESCRIBED["text/event-stream"]["schema"]["contentSchema"], json.loads(data))
    event = Event.model_validate_json(data)
    assert (event.seq, event.kind) == (int(number), kind.decode())
    return event


async def test_the_stream_is_framed_as_documented_whatever_is_in_an_event(door: Door) -> None:
    headers = {"Authorization": "Bearer viewer"}
    async with door.client.get("/v1/events?after=0", headers=headers) as response:
        assert response.status == 200
        assert [response.content_type] == list(DESCRIBED)
        assert response.headers["Content-Type"] == "text/event-stream; charset=utf-8"
        assert "Content-Encoding" not in response.headers
        assert "Content-Length" not in response.headers
        assert await response.content.readuntil(b"\n\n") == BEGIN
        frames = [await response.content.readuntil(b"\n\n") for _ in EVENTS]
    assert [check_frame(one) for one in frames] == EVENTS


def test_the_example_in_the_docs_is_such_a_stream() -> None:
    _, _, example = DOCS.read_text().partition("```\n: stream of events\n")
    first = example.partition("\n```")[0].lstrip("\n") + "\n\n"
    assert check_frame(first.encode()).seq == 6


@pytest.mark.parametrize(
    ("path", "token", "headers", "code"),
    [
        ("/v1/events?after=-1", "viewer", {}, "400"),
        ("/v1/events?since=1", "viewer", {}, "400"),
        ("/v1/events", "viewer", {"Last-Event-ID": "none"}, "400"),
        ("/v1/events", "", {}, "401"),
        ("/v1/events", "nobodys", {}, "401"),
        ("/v1/events", "viewer", {"Origin": "https://other.example.com"}, "403"),
    ],
)
async def test_its_refusals_are_as_documented(
    door: Door, path: str, token: str, headers: dict[str, str], code: str
) -> None:
    answer = await door.ask("GET", path, token=token, headers=headers)
    assert answer.status == int(code)
    described = resolve(OPERATION["responses"][code]["$ref"])
    assert [answer.headers["Content-Type"].partition(";")[0]] == list(described["content"])
    fits(described["content"]["application/json"]["schema"], answer.body)
    assert set(described.get("headers", {})) <= set(answer.headers)
    assert door.doors.streams == 0
