"""A live stream of events ends when its token does: when it is revoked, and when it expires."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from coordinator.client import AsyncClient
from coordinator.http.events import PACE
from protocol.access import TokenParams
from protocol.errors import UnauthenticatedError, UnavailableError
from protocol.events import Event
from tests.behaviour.world import World

pytestmark = pytest.mark.asyncio(loop_scope="session")

SOON = 2.0
"""Seconds. The next look at the token, with the next comment, would come much later."""


async def all_of(events: AsyncIterator[Event]) -> list[Event]:
    return [event async for event in events]


def now() -> float:
    return asyncio.get_running_loop().time()


async def test_a_revoked_token_ends_its_streams_and_no_others(own: World) -> None:
    assert PACE.keep_alive > 2 * SOON
    coordinator = own.site.coordinator
    revoked = await coordinator.create_token(TokenParams(role="viewer"))
    kept = await coordinator.create_token(TokenParams(role="viewer"))
    async with (
        own.site.events(revoked.secret) as one,
        own.site.events(revoked.secret) as two,
        own.site.events(kept.secret) as other,
    ):
        for stream in (one, two, other):
            assert await stream.content.readline() == b": stream of events\n"
        began = now()
        answer = await own.site.ask("POST", f"/v1/token/{revoked.token_id}/revoke")
        assert answer.status == 200
        async with asyncio.timeout(10):
            for stream in (one, two):
                assert await stream.content.read() == b"\n"
        assert now() - began < SOON
        place = await own.place()
        assert not other.content.at_eof()
        async with asyncio.timeout(10):
            while place.id.encode() not in await other.content.readline():
                pass


async def test_a_token_that_is_revoked_in_process_ends_its_streams_too(own: World) -> None:
    coordinator = own.site.coordinator
    made = await coordinator.create_token(TokenParams(role="deployer", services=["web-*"]))
    async with own.site.events(made.secret) as stream:
        await stream.content.readline()
        began = now()
        await coordinator.revoke_token(made.token_id)
        async with asyncio.timeout(10):
            await stream.content.read()
        assert now() - began < SOON


async def test_an_expired_token_ends_its_streams_at_its_time(own: World) -> None:
    began = now()
    made = await own.site.coordinator.create_token(TokenParams(role="viewer", ttl=2))
    async with own.site.events(made.secret) as stream:
        await stream.content.readline()
        async with asyncio.timeout(10):
            await stream.content.read()
    assert 1.9 < now() - began < 2 + SOON
    answer = await own.site.ask("GET", "/v1/host", token=made.secret)
    assert (answer.status, answer.body["message"]) == (401, "the token has expired")


async def test_a_client_learns_that_the_stream_broke_off_and_then_why(own: World) -> None:
    coordinator = own.site.coordinator
    made = await coordinator.create_token(TokenParams(role="viewer"))
    async with AsyncClient(own.site.url, made.secret, own.site.ca_file) as client:
        events = client.events(after=0)
        await anext(events)
        await coordinator.revoke_token(made.token_id)
        async with asyncio.timeout(10):
            with pytest.raises(UnavailableError, match="stream"):
                await all_of(events)
        with pytest.raises(UnauthenticatedError, match="revoked"):
            await anext(client.events(after=0))
