"""What the HTTP door tells of an error, and what it keeps to itself."""

from __future__ import annotations

import asyncio
import json
import logging

import pytest

from protocol.errors import BY_TYPE, FerrymanError
from tests.parts.http_server import Door


@pytest.mark.parametrize("error", BY_TYPE.values(), ids=lambda cls: str(cls.type))
async def test_every_exception_of_the_table_keeps_type_and_details(
    door: Door, error: type[FerrymanError]
) -> None:
    door.doors.fails = error("it is so", [{"instance_id": "instance-1"}])
    answer = await door.ask("GET", "/v1/system/health")
    assert (answer.status, answer.type) == (error.code, error.type)
    assert answer.body["message"] == "it is so"
    assert answer.body["data"]["details"] == [{"instance_id": "instance-1"}]


async def test_the_unforeseen_is_logged_and_not_told(
    door: Door, caplog: pytest.LogCaptureFixture
) -> None:
    door.doors.fails = RuntimeError("the secret reason")
    with caplog.at_level(logging.ERROR):
        answer = await door.ask("GET", "/v1/system/stats?period=1h")
    assert (answer.status, answer.type) == (500, "internal")
    assert "secret" not in json.dumps(answer.body)
    assert "Traceback" not in json.dumps(answer.body)
    assert "the secret reason" in caplog.text
    assert "Bearer" not in caplog.text
    assert "period" not in caplog.records[-1].getMessage()


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/v1/host?%1b%5b2J%0a=1", b""),
        ("GET", "/v1/host?limit=1&limit%00=1", b""),
        ("GET", f"/v1/host?{'a' * 4000}=1", b""),
        ("POST", "/v1/token?%1b=1", b""),
        ("POST", "/v1/token", b'{"\\u001b[2J\\n": 1, "\\u001b[2J\\n": 2}'),
        ("POST", "/v1/token", b'{"\\u2028": 1}'),
    ],
)
async def test_a_refusal_repeats_a_name_escaped_and_cut(
    door: Door, method: str, path: str, body: bytes
) -> None:
    answer = await door.ask(method, path, data=body or None)
    assert answer.status == 400
    assert answer.body["message"].isprintable()
    assert all(field.isprintable() and len(field) <= 128 for field in answer.fields)


async def test_a_client_that_leaves_in_the_middle_of_its_body_does_no_harm(
    door: Door, caplog: pytest.LogCaptureFixture
) -> None:
    port = door.client.server.port
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(
        b"POST /v1/deployment HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer admin\r\n"
        b"Content-Length: 1000\r\n\r\n{"
    )
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    assert (await door.ask("GET", "/v1/host")).status == 200
    assert [call[0] for call in door.doors.asked] == ["list_hosts"]
    assert "unexpected error" not in caplog.text


@pytest.mark.parametrize(
    "sent",
    [
        b"hello\r\n\r\n",
        b"GET /v1/deployment/\xc3\xa9 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: x\r\nX-Long: " + b"x" * 100_000 + b"\r\n\r\n",
        b"POST /v1/deployment HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    ],
)
async def test_what_is_not_http_gets_400_and_the_door_stays_open(door: Door, sent: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", door.client.server.port)
    writer.write(sent)
    answer = await reader.read(65_536)
    assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.0 400 "))
    assert b"Traceback" not in answer
    writer.close()
    await writer.wait_closed()
    assert (await door.ask("GET", "/livez", token="")).status == 200
