"""What every Store keeps of the past: the transitions of tasks, and what ran at a moment."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from coordinator.core.timeline import Transition
from coordinator.ports import Changes, StaleRevisionError, Store
from protocol.states import Phase
from tests.contract.rows import NOW, create, ended, moved, task


def later(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def step(seconds: float, phase: Phase, name: str = "i-1") -> Transition:
    return Transition(name, later(seconds), phase, 1, "näher bestimmt")


# ---- transitions ---------------------------------------------------------------


async def test_transitions_come_back_by_task_in_the_order_in_which_they_were_kept(
    store: Store,
) -> None:
    first, second = task("d-1", "i-1"), task("d-2", "i-2")
    steps = [step(0, Phase.QUEUED), step(0, Phase.WAITING), step(0.000001, Phase.PREPARING)]
    other = step(0, Phase.WAITING, "i-2")
    await store.commit(
        Changes(
            created=[first, second],
            transitions=[("d-1", steps[0]), ("d-2", other), ("d-1", steps[1])],
        )
    )
    changes = moved(first, Phase.PREPARING)
    changes.transitions = [("d-1", steps[2])]
    await store.commit(changes)
    assert await store.transitions("d-1") == steps
    assert await store.transitions("d-2") == [other]
    assert await store.transitions("nobody") == []


async def test_a_commit_that_is_refused_keeps_no_transition(store: Store) -> None:
    before = task("d-1", "i-1")
    await create(store, before)
    await store.commit(moved(before, Phase.WAITING))
    late = moved(before, Phase.FAILED)
    late.transitions = [("d-1", step(1, Phase.FAILED))]
    with pytest.raises(StaleRevisionError):
        await store.commit(late)
    assert await store.transitions("d-1") == []


# ---- what ran when ---------------------------------------------------------------


async def test_of_each_instance_the_last_row_and_the_last_success_up_to_the_moment(
    store: Store,
) -> None:
    rows = [
        ended("i-1", "d-1", version="v1", timestamp=later(0)),
        ended("i-2", "d-1", version="v1", timestamp=later(0), status="failed"),
        ended("i-1", "d-2", version="v2", timestamp=later(10)),
        ended("i-1", "d-3", version="v3", timestamp=later(20), status="failed"),
        ended("i-1", "d-4", version="v4", timestamp=later(30)),
        ended("i-3", "d-5", timestamp=later(30)),
        ended("i-9", "d-6", service="cart", timestamp=later(5)),
    ]
    await store.commit(Changes(history=rows))

    async def found(seconds: float) -> dict[str, list[str]]:
        past = await store.history_up_to("user-service", later(seconds))
        return {name: [row.task_id for row in of_it] for name, of_it in past.items()}

    assert await found(-1) == {"i-1": [], "i-2": [], "i-3": []}
    assert await found(0) == {"i-1": ["d-1"], "i-2": ["d-1"], "i-3": []}
    assert await found(9.999999) == {"i-1": ["d-1"], "i-2": ["d-1"], "i-3": []}
    assert await found(10) == {"i-1": ["d-2"], "i-2": ["d-1"], "i-3": []}
    assert await found(25) == {"i-1": ["d-3", "d-2"], "i-2": ["d-1"], "i-3": []}
    assert await found(99) == {"i-1": ["d-4"], "i-2": ["d-1"], "i-3": ["d-5"]}
    past = await store.history_up_to("user-service", later(25))
    assert list(past["i-1"]) == [rows[3], rows[2]]
    assert await store.history_up_to("unheard-of", later(25)) == {}


async def test_what_it_did_meanwhile_for_another_service_is_told_too(store: Store) -> None:
    rows = [
        ended("i-1", "d-1", timestamp=later(0)),
        ended("i-1", "d-2", service="cart", timestamp=later(10)),
    ]
    await store.commit(Changes(history=rows))
    past = await store.history_up_to("user-service", later(20))
    assert list(past["i-1"]) == [rows[1]]
    past = await store.history_up_to("user-service", later(5))
    assert list(past["i-1"]) == [rows[0]]


async def test_what_regressed_after_its_success_had_brought_its_version(store: Store) -> None:
    before = ended("i-1", "d-1", version="v1", timestamp=later(0))
    regressed = ended("i-1", "d-2", version="v2", timestamp=later(10))
    failed = ended("i-1", "d-3", version="v3", status="failed", timestamp=later(20))
    await store.commit(Changes(history=[before, regressed, failed]))
    fell = replace(
        regressed, status="failed", reason="it crashed", corrects=True, regressed_at=later(15)
    )
    await store.commit(Changes(history=[fell]))
    rows = (await store.history_up_to("user-service", later(30)))["i-1"]
    assert [(row.task_id, row.brought) for row in rows] == [("d-3", False), ("d-2", True)]
    assert (rows[1].timestamp, rows[1].regressed_at) == (later(10), later(15))
    assert rows[1] == replace(fell, corrects=False)


async def test_a_corrected_row_counts_as_it_is_now(store: Store) -> None:
    row = ended("i-1", "d-1", status="failed", timestamp=later(0))
    await store.commit(Changes(history=[row]))
    truer = ended("i-1", "d-1", reason="healthy", corrects=True, timestamp=later(50))
    await store.commit(Changes(history=[truer]))
    ((found,),) = (await store.history_up_to("user-service", later(1))).values()
    assert (found.status, found.reason, found.timestamp) == ("success", "healthy", later(0))
