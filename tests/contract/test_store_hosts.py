"""What every Store must answer: decisions about hosts, released instances, uses of join tokens."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from coordinator.ports import Changes, HostRow, Store, TokenRow
from protocol.states import HostState
from tests.contract.rows import NOW, instance

JOIN = TokenRow("t-1", "join", "aa", "", NOW, host_id="host-a", uses=2)


@pytest.mark.parametrize("state", list(HostState))
async def test_a_decision_about_a_host_comes_back_whole(store: Store, state: HostState) -> None:
    host = HostRow(
        "host-a",
        NOW,
        state=state,
        state_since=NOW + timedelta(seconds=1),
        fingerprint="ab" * 32,
        token_id="t-1",
        generation=7,
        protocol=(1, 12),
    )
    await store.commit(Changes(hosts=[host]))
    assert await store.hosts() == [host]
    newer = replace(host, protocol=(2, 0), generation=8)
    await store.commit(Changes(hosts=[newer]))
    assert await store.hosts() == [newer]


async def test_a_released_instance_is_gone_and_may_be_brought_in_the_same_commit(
    store: Store,
) -> None:
    await store.commit(Changes(instances=[instance("i-1"), instance("i-2")]))
    brought = instance("i-2", host_id="host-b")
    await store.commit(Changes(released=["i-1", "i-2", "unknown"], instances=[brought]))
    assert await store.instances() == [brought]


async def test_a_join_token_comes_back_whole(store: Store) -> None:
    await store.add_token(JOIN)
    assert await store.token_by_digest("aa") == JOIN


async def test_a_use_is_counted_once_for_a_host_and_a_key(store: Store) -> None:
    await store.add_token(JOIN)
    for _ in range(3):
        assert await store.use_token("t-1", "host-a", "aa")
    assert await store.use_token("t-1", "host-a", "bb")
    assert not await store.use_token("t-1", "host-b", "aa")
    assert await store.use_token("t-1", "host-a", "aa"), "who was let in may ask again"
    assert [one.used for one in await store.tokens()] == [2]


async def test_uses_at_once_are_no_more_than_there_are(store: Store) -> None:
    await store.add_token(JOIN)
    came = await asyncio.gather(*(store.use_token("t-1", f"h-{n}", "aa") for n in range(10)))
    assert came.count(True) == 2
    assert [one.used for one in await store.tokens()] == [2]


async def test_a_token_without_a_limit_and_one_that_is_not_there(store: Store) -> None:
    await store.add_token(replace(JOIN, uses=None))
    assert all([await store.use_token("t-1", f"h-{n}", "aa") for n in range(20)])
    assert not await store.use_token("nobody", "h", "aa")
