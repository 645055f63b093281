"""What every Store must answer: what was brought to hosts ahead of time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from coordinator.core.task import Task
from coordinator.ports import Changes, Retained, Store
from protocol.states import Phase, TaskKind
from tests.contract.rows import create, instance, moved, task

URL = "https://packages/v1.2.3.tar.gz"


def prefetch(task_id: str, **fields: Any) -> Task:
    names = (f"i-{task_id}-a", f"i-{task_id}-b")
    return task(task_id, *names, **{"kind": TaskKind.PREFETCH, **fields})


async def test_the_digest_of_the_last_one_that_reached_some_host(store: Store) -> None:
    made = {
        "older": prefetch("older", digest="11" * 32),
        "newer": prefetch("newer", digest="22" * 32),
        "nowhere": prefetch("nowhere", digest="33" * 32),
        "elsewhere": prefetch("elsewhere", package_url="https://packages/else"),
        "version": prefetch("version", version="v2"),
        "service": prefetch("service", service="cart"),
        "deployed": task("deployed", "i-d", digest="44" * 32),
    }
    await create(store, *made.values())
    assert await store.last_prefetched("user-service", "v1.2.3", URL) == ""
    for name, each in made.items():
        phase = Phase.FAILED if name == "nowhere" else Phase.COMPLETED
        await store.commit(moved(each, phase, next(iter(each.assignments))))
    assert await store.last_prefetched("user-service", "v1.2.3", URL) == "22" * 32
    assert await store.last_prefetched("user-service", "v1.2.3", f"{URL}?signed") == ""


async def test_it_is_no_success_that_a_rollback_could_lean_on(store: Store) -> None:
    made = prefetch("only")
    await create(store, made)
    await store.commit(moved(made, Phase.COMPLETED))
    assert await store.last_success("user-service", "v1.2.3") is None


async def test_what_an_instance_has_on_disk_ahead_of_time_comes_back(store: Store) -> None:
    row = instance("i-1", fetched=(Retained("v2", "11" * 32), Retained("v3", "22" * 32, 7.5)))
    await store.commit(Changes(instances=[row, instance("i-2")]))
    assert [one.fetched for one in await store.instances()] == [row.fetched, ()]
    await store.commit(Changes(instances=[replace(row, fetched=())]))
    assert [one.fetched for one in await store.instances()] == [(), ()]
