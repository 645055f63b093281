"""What every Store must answer: versions that are pinned."""

from __future__ import annotations

from datetime import timedelta

from coordinator.core.pins import PinRow
from coordinator.ports import Changes, Store
from tests.contract.rows import NOW


def pin(version: str, service: str = "user-service") -> PinRow:
    return PinRow(service, version, NOW + timedelta(microseconds=1), "ci")


async def test_pins_come_back_whole(store: Store) -> None:
    assert await store.pins() == []
    pins = [pin("v1", "another"), pin("v1+x"), pin("v2")]
    await store.commit(Changes(pinned=pins))
    assert await store.pins() == pins


async def test_what_is_unpinned_is_gone_and_nothing_else(store: Store) -> None:
    await store.commit(Changes(pinned=[pin("v1"), pin("v2"), pin("v1", "another")]))
    await store.commit(Changes(unpinned=[("user-service", "v1"), ("user-service", "v9")]))
    assert await store.pins() == [pin("v1", "another"), pin("v2")]


async def test_one_commit_may_unpin_and_pin(store: Store) -> None:
    await store.commit(Changes(pinned=[pin("v1")]))
    await store.commit(Changes(unpinned=[("user-service", "v1")], pinned=[pin("v2")]))
    assert await store.pins() == [pin("v2")]
