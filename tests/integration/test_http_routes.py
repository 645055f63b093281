"""The HTTP door: every route of the table answers in the envelope, and nothing else is a route."""

from __future__ import annotations

import pytest

from coordinator.http.route import Route
from tests.parts.http_server import Door
from tests.parts.routes import BODIES, ENVELOPED, named, path_of


@pytest.mark.parametrize("route", ENVELOPED, ids=named)
async def test_every_route_answers_in_the_envelope(door: Door, route: Route) -> None:
    answer = await door.ask(route.method, path_of(route), json=BODIES.get(route.name))
    assert answer.status == 200, answer.body
    assert route.result is not None
    route.result.model_validate(answer.body["data"])
    if route.name not in ("livez", "readyz"):
        assert door.doors.asked[-1][0] == route.name
    assert answer.headers["Cache-Control"] == "no-store"
    assert "aiohttp" not in answer.headers["Server"]


async def test_ready_follows_the_service(door: Door) -> None:
    assert (await door.ask("GET", "/readyz", token="")).status == 200
    door.doors.is_ready = False
    answer = await door.ask("GET", "/readyz", token="")
    assert (answer.status, answer.type) == (503, "unavailable")
    assert (await door.ask("GET", "/livez", token="")).status == 200


async def test_the_agents_websocket_is_the_one_handed_in(door: Door) -> None:
    async with door.client.ws_connect("/v1/agent/connect") as socket:
        assert await socket.receive_str() == "hello"
    answer = await door.ask("GET", "/v1/agent/connect", token="")
    assert (answer.status, answer.type) == (400, "invalid_request")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", "/v1"),
        ("GET", "/v2/deployment"),
        ("GET", "/v1/deployment/"),
        ("GET", "/v1/deployment/a%2Fb%2Fcancel%00/x"),
        ("POST", "/v1/instance//rollback"),
    ],
)
async def test_an_unknown_route_is_not_found(door: Door, method: str, path: str) -> None:
    answer = await door.ask(method, path)
    assert (answer.status, answer.type) == (404, "not_found")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("DELETE", "/v1/deployment", {"GET", "HEAD", "POST"}),
        ("GET", "/v1/deployment/x/cancel", {"POST"}),
        ("PUT", "/v1/events", {"GET"}),
        ("OPTIONS", "/livez", {"GET", "HEAD"}),
    ],
)
async def test_another_method_is_refused_with_those_allowed(
    door: Door, method: str, path: str, allowed: set[str]
) -> None:
    answer = await door.ask(method, path)
    assert (answer.status, answer.type) == (405, "invalid_request")
    assert set(answer.headers["Allow"].split(",")) == allowed


async def test_head_is_get_without_the_body(door: Door) -> None:
    headers = {"Authorization": "Bearer viewer"}
    async with door.client.head("/v1/host", headers=headers) as answer:
        assert answer.status == 200
        assert await answer.read() == b""


async def test_enrolment_hands_over_what_the_agent_sent_and_where_it_came_from(door: Door) -> None:
    answer = await door.ask("POST", "/v1/agent/enroll", token="", json=BODIES["enroll"])
    assert answer.body["data"] == {"certificate": "CERTIFICATE", "authority": "AUTHORITY"}
    call = ("enroll", "ferryman-join-1.abc.def", "host-a", "PEM", "127.0.0.1")
    assert door.doors.asked == [call]


async def test_times_are_utc_with_z(door: Door) -> None:
    answer = await door.ask("GET", "/v1/deployment/deploy-1")
    assert answer.body["data"]["started_at"] == "2026-01-15T10:31:00.123456Z"
    assert answer.body["data"]["status"] == "pending"
