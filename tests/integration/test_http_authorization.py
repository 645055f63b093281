"""The HTTP door without a token that it knows: it answers 401, and asks nobody."""

from __future__ import annotations

import pytest

from coordinator.http.route import Route
from tests.parts.http_server import Door
from tests.parts.routes import WITH_TOKEN, named, path_of


@pytest.mark.parametrize("route", WITH_TOKEN, ids=named)
async def test_without_a_token_nothing_is_answered(door: Door, route: Route) -> None:
    answer = await door.ask(route.method, path_of(route), token="", data=b"{not even JSON")
    assert (answer.status, answer.type) == (401, "unauthenticated")
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert door.doors.asked == []


@pytest.mark.parametrize(
    "given", ["", "Bearer", "Bearer ", "Basic YTpi", "viewer", "Bearer a b", "Bearer é", "Bearer x"]
)
async def test_a_malformed_or_unknown_token_is_refused(door: Door, given: str) -> None:
    answer = await door.ask("GET", "/v1/host", token="", headers={"Authorization": given})
    assert (answer.status, answer.type) == (401, "unauthenticated")
    assert "YTpi" not in answer.body["message"]


async def test_two_authorizations_are_refused_and_the_scheme_has_no_case(door: Door) -> None:
    twice = [("Authorization", "Bearer viewer"), ("Authorization", "Bearer admin")]
    async with door.client.get("/v1/host", headers=twice) as answer:
        assert answer.status == 401
    async with door.client.get("/v1/host", headers={"Authorization": "bEARER viewer"}) as answer:
        assert answer.status == 200
