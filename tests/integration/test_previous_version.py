"""To which version `@previous` leads: by the history, and from where it can be had."""

from __future__ import annotations

from typing import Any

import pytest

from coordinator import targets
from coordinator.core.task import Target
from coordinator.ports import Changes, InstanceRow, Retained
from coordinator.rollbacks import previous_version
from protocol.errors import ConflictError
from protocol.states import Phase
from tests.contract.rows import create, ended, instance, moved, task
from tests.parts.memory_store import MemoryStore

SERVICE = "user-service"
ONE, OTHER, LATER = "11" * 32, "22" * 32, "33" * 32


def running(version: str, *retained: Retained, **fields: Any) -> InstanceRow:
    return instance(version=version, retained=retained, **fields)


async def store_with(*versions: str) -> MemoryStore:
    """A store in whose history these versions succeeded on the instance, in this order."""
    store = MemoryStore()
    rows = [ended("i-1", f"d-{at}", version=version) for at, version in enumerate(versions)]
    await store.commit(Changes(history=rows))
    return store


async def brought(store: MemoryStore, version: str, digest: str) -> None:
    """A task that brought this version by a URL."""
    made = task(f"by-{version}", "i-9", version=version, digest=digest, package_url=url(version))
    await create(store, made)
    await store.commit(moved(made, Phase.COMPLETED))


def url(version: str) -> str:
    return f"https://packages/{version}.tar.gz"


async def test_the_history_tells_and_not_what_is_kept_on_the_disk() -> None:
    """A pinned release may stay there longer than the one before."""
    store = await store_with("v1", "v2", "v3")
    assert await previous_version(store, running("v3", Retained("v1", ONE)), SERVICE) == "v2"


async def test_without_a_history_the_last_one_that_the_host_retains_is_it() -> None:
    store = await store_with("v3")
    kept = [Retained("v1", ONE), Retained("v2", OTHER), Retained("v3", LATER)]
    assert await previous_version(store, running("v3", *kept), SERVICE) == "v2"
    assert await previous_version(store, running("v3"), SERVICE) == ""


async def found(store: MemoryStore, row: InstanceRow) -> Target:
    return (await targets.to_previous(store, [row], SERVICE)).all_found()["i-1"]


async def test_what_the_host_holds_counts_if_another_package_had_the_same_version() -> None:
    store = await store_with("v1", "v2")
    await brought(store, "v1", OTHER)
    row = running("v2", Retained("v1", ONE))
    assert await found(store, row) == Target("v1", "", ONE)
    assert await found(store, running("v2", Retained("v1", OTHER))) == Target(
        "v1", url("v1"), OTHER
    )


async def test_what_is_damaged_on_the_disk_is_fetched() -> None:
    store = await store_with("v1", "v2")
    row = running("v2", Retained("v1", ONE, damaged="bin/server has other content"))
    with pytest.raises(ConflictError, match=r"i-1: v1 is damaged .*, and no successful task has"):
        await found(store, row)
    await brought(store, "v1", ONE)
    assert await found(store, row) == Target("v1", url("v1"), ONE)


async def test_all_that_can_not_go_back_are_named() -> None:
    store = await store_with("v1", "v2")
    rows = [running("v2"), running("v1", instance_id="i-2")]
    with pytest.raises(ConflictError) as refused:
        (await targets.to_previous(store, rows, SERVICE)).all_found()
    assert {detail["instance_id"]: detail["version"] for detail in refused.value.details} == {
        "i-1": "v1",
        "i-2": "@previous",
    }
