"""Interface section 2: a reader of the events that knows more of them than the coordinator."""

from __future__ import annotations

import asyncio

import pytest

from tests.behaviour.world import World

pytestmark = pytest.mark.asyncio(loop_scope="session")

LATER = 10**9


@pytest.mark.parametrize("door", ["in process", "over HTTP"])
async def test_whoever_comes_with_a_later_number_gets_what_is_new_from_then_on(
    own: World, door: str
) -> None:
    """After an older backup was restored, numbers go on from the backup's."""
    doors = own.site.coordinator if door == "in process" else own.site.client
    events = doors.events(after=LATER)
    first = asyncio.ensure_future(anext(events))
    done, _ = await asyncio.wait([first], timeout=0.2)
    assert not done, "nothing is new yet"
    await own.place("v1")
    assert 0 < (await first).seq < LATER
