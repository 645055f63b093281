"""What every Store must do when it writes: all of it or nothing, and everything comes back."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from types import MappingProxyType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.core.task import Assignment, Task
from coordinator.ports import Changes, HostRow, StaleRevisionError, Store
from coordinator.store import SqlStore
from protocol.errors import UnavailableError
from protocol.states import InstanceStatus, Phase, Receipt, TaskKind
from tests.contract.rows import NOW, create, ended, event, instance, moved, task

# ---- round trips -------------------------------------------------------------

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40)
moments = st.datetimes(datetime(1970, 1, 1), datetime(2999, 1, 1), timezones=st.sampled_from([UTC]))
maybe_moments = st.none() | moments
seconds = st.none() | st.floats(0, 1e12)
parts = st.builds(
    Assignment,
    instance_id=texts,
    phase=st.sampled_from(Phase),
    attempt=st.integers(0, 2**31 - 1),
    started_at=maybe_moments,
    completed_at=maybe_moments,
    deadline=seconds,
    retry_at=seconds,
    reason=texts,
    error=texts,
    receipt=st.none() | st.sampled_from(Receipt),
    cancel_asked=st.booleans(),
    blocked_by=texts,
    regressed=st.booleans(),
)
whole_tasks = st.builds(
    Task,
    task_id=st.just(""),
    kind=st.sampled_from(TaskKind),
    service=texts,
    version=texts,
    timeout=st.integers(1, 86_400),
    retry_count=st.integers(0, 100),
    created_at=moments,
    updated_at=moments,
    assignments=st.lists(parts, min_size=1, max_size=5, unique_by=lambda p: p.instance_id).map(
        lambda found: {part.instance_id: part for part in found}
    ),
    package_url=texts,
    digest=texts,
    use_retained=st.booleans(),
    force=st.just(True),
    rollback_type=texts,
    fingerprint=texts,
    completed_at=maybe_moments,
    cancelled_at=maybe_moments,
    revision=st.integers(0, 2**31 - 2),
)

often = settings(max_examples=40, deadline=None)


def test_every_field_of_a_task_comes_back(store_url: str) -> None:
    numbers = itertools.count()
    with asyncio.Runner() as loop:
        store = loop.run(SqlStore.open(store_url))

        @often
        @given(whole_tasks, whole_tasks)
        def comes_back(drawn: Task, other: Task) -> None:
            made = replace(drawn, task_id=f"d-{next(numbers)}")
            part = next(iter(other.assignments.values()))
            later = replace(
                other,
                task_id=made.task_id,
                revision=made.revision + 1,
                assignments={name: replace(part, instance_id=name) for name in made.assignments},
            )
            loop.run(store.commit(Changes(created=[made])))
            assert loop.run(store.task(made.task_id)) == made
            changed = [(later.task_id, part) for part in later.assignments.values()]
            loop.run(store.commit(Changes(tasks=[later], assignments=changed)))
            loaded = loop.run(store.task(made.task_id))
            assert loaded == later
            assert list(loaded.assignments) == list(made.assignments)

        try:
            comes_back()
        finally:
            loop.run(store.close())


async def test_tasks_are_loaded_by_their_names_and_unknown_ones_left_out(store: Store) -> None:
    made = [task(f"d-{n}", f"i-{n}", f"j-{n}") for n in range(3)]
    await create(store, *made)
    found = await store.named({"d-0", "d-2", *(f"nobody-{n}" for n in range(2500))})
    assert sorted(found, key=lambda one: one.task_id) == [made[0], made[2]]
    assert await store.named([]) == []


async def test_assignments_keep_the_order_in_which_they_were_named(store: Store) -> None:
    await create(store, task("d-1", "i-9", "i-10", "a", "i-1"))
    loaded = await store.task("d-1")
    assert loaded
    assert list(loaded.assignments) == ["i-9", "i-10", "a", "i-1"]


async def test_times_of_another_zone_come_back_as_the_same_moment_in_utc(store: Store) -> None:
    east = NOW.astimezone(timezone(timedelta(hours=5, minutes=30)))
    await create(store, task(created_at=east))
    loaded = await store.task("d-1")
    assert loaded
    assert loaded.created_at == NOW
    assert loaded.created_at.utcoffset() == timedelta(0)


async def test_instances_and_hosts_are_replaced_by_their_newest_report(store: Store) -> None:
    first, second = instance("i-1", metadata=MappingProxyType({"a": "b"})), instance("i-2")
    host = HostRow("host-a", joined_at=NOW)
    await store.commit(Changes(instances=[first, second], hosts=[host]))
    assert await store.instances() == [replace(first, metadata={"a": "b"}), second]
    assert await store.hosts() == [host]

    newer = instance(
        "i-1",
        status=InstanceStatus.ERROR,
        version="",
        digest="",
        reason="crashed",
        metadata={},
        retained=(),
        updated_at=NOW + timedelta(microseconds=1),
    )
    seen = replace(host, agent_version="0.1.0", address="10.0.0.5", last_seen=NOW)
    await store.commit(Changes(instances=[newer], hosts=[seen]))
    assert await store.instances() == [newer, second]
    assert await store.hosts() == [seen]


# ---- commits -----------------------------------------------------------------


async def test_an_unknown_task_is_none(store: Store) -> None:
    assert await store.task("nobody") is None


async def test_a_stale_revision_is_refused_and_nothing_is_written(store: Store) -> None:
    before = task("d-1", "i-1")
    await create(store, before)
    first = moved(before, Phase.WAITING)
    await store.commit(first)
    late = moved(before, Phase.FAILED)
    late.created = [task("d-2", "i-2")]
    late.history = [ended("i-1", "d-1")]
    late.instances = [instance()]
    late.hosts = [HostRow("host-a", NOW)]
    late.events = [event()]

    with pytest.raises(StaleRevisionError):
        await store.commit(late)

    assert await store.task("d-1") == first.tasks[0]
    assert await store.task("d-2") is None
    assert await store.history("i-1") == ([], 0)
    assert await store.instances() == []
    assert await store.hosts() == []
    assert await store.events_after(0) == []
    assert await store.last_event() == 0
    await create(store, task("d-2", "i-2"))


async def test_a_revision_that_skips_one_is_refused(store: Store) -> None:
    before = task()
    await create(store, before)
    with pytest.raises(StaleRevisionError):
        await store.commit(Changes(tasks=[replace(before, revision=2)]))


async def test_two_steps_of_one_task_fit_into_one_commit(store: Store) -> None:
    new = task()
    first = moved(new, Phase.WAITING)
    second = moved(first.tasks[0], Phase.PREPARING)
    await store.commit(
        Changes(
            created=[new],
            tasks=[*first.tasks, *second.tasks],
            assignments=[*first.assignments, *second.assignments],
        )
    )
    assert await store.task("d-1") == second.tasks[0]


async def test_changes_of_unknown_tasks_and_assignments_are_refused(store: Store) -> None:
    with pytest.raises(StaleRevisionError):
        await store.commit(Changes(tasks=[task("nobody", revision=1)]))
    await create(store, task("d-1", "i-1"))
    with pytest.raises(StaleRevisionError):
        await store.commit(Changes(assignments=[("d-1", Assignment("i-2"))]))


async def test_the_same_task_id_twice_is_refused_and_the_first_one_stays(store: Store) -> None:
    first = task("d-1", "i-1")
    await create(store, first)
    with pytest.raises(StaleRevisionError, match="d-1"):
        await create(store, task("d-1", "i-2", version="v9"))
    assert await store.task("d-1") == first


async def test_an_empty_commit_does_nothing(store: Store) -> None:
    assert await store.commit(Changes()) == []


async def test_a_cancelled_caller_leaves_a_whole_commit_and_a_working_store(store: Store) -> None:
    for number in range(20):
        new = task(f"d-{number}", *(f"i-{number}-{k}" for k in range(50)))
        caller = asyncio.create_task(store.commit(Changes(created=[new], events=[event(number)])))
        for _ in range(number):
            await asyncio.sleep(0)
        caller.cancel()
        await asyncio.gather(caller, return_exceptions=True)
    await store.commit(Changes(events=[event(99)]))
    found = await store.events_after(0)
    assert found[-1].data == {"n": 99}
    for each in found[:-1]:
        loaded = await store.task(f"d-{each.data['n']}")
        assert loaded
        assert len(loaded.assignments) == 50
    assert [each.seq for each in found] == list(range(1, len(found) + 1))
    assert len(found) - 1 == (await store.tasks(TaskKind.DEPLOY))[1]


async def test_readers_go_on_while_commits_run(store: Store) -> None:
    before = task("d-1", *(f"i-{k}" for k in range(200)))
    await create(store, before)
    done = asyncio.Event()

    async def write() -> None:
        current = before
        for _ in range(5):
            for phase in (Phase.WAITING, Phase.PREPARING):
                changes = moved(current, phase)
                await store.commit(changes)
                current = changes.tasks[0]
        done.set()

    async def read() -> int:
        reads = 0
        while not done.is_set():
            loaded = await store.task("d-1")
            assert loaded
            assert len({part.phase for part in loaded.assignments.values()}) == 1
            reads += 1
        return reads

    reads = await asyncio.gather(read(), read(), write())
    assert reads[0]
    assert reads[1]


# ---- one unfinished task an instance --------------------------------------------


async def test_an_instance_is_held_by_one_unfinished_task(store: Store) -> None:
    first = task("d-1", "i-1", "i-2")
    await create(store, first)
    with pytest.raises(StaleRevisionError, match="d-2"):
        await create(store, task("d-2", "i-2", "i-3"))
    assert await store.task("d-2") is None

    await store.commit(moved(first, Phase.COMPLETED, "i-2"))
    await create(store, task("d-2", "i-2", "i-3"))
    with pytest.raises(StaleRevisionError):
        await create(store, task("d-3", "i-1"))


async def test_a_task_that_ends_makes_room_in_the_same_commit(store: Store) -> None:
    first = task("d-1", "i-1")
    await create(store, first)
    changes = moved(first, Phase.FAILED)
    changes.created = [task("d-2", "i-1")]
    await store.commit(changes)
    with pytest.raises(StaleRevisionError):
        await create(store, task("d-3", "i-1"))


async def test_force_takes_an_instance_over_and_the_older_end_does_not_free_it(
    store: Store,
) -> None:
    older = task("d-1", "i-1")
    await create(store, older)
    newer = task("r-1", "i-1", force=True, kind=TaskKind.ROLLBACK)
    await create(store, newer)
    await store.commit(moved(older, Phase.CANCELLED))
    with pytest.raises(StaleRevisionError):
        await create(store, task("d-2", "i-1"))
    await store.commit(moved(newer, Phase.COMPLETED))
    await create(store, task("d-2", "i-1"))


# ---- being there --------------------------------------------------------------------


async def test_a_working_store_passes_its_check(store: Store) -> None:
    await store.check()


async def test_a_closed_store_says_so(store_url: str) -> None:
    closed = await SqlStore.open(store_url)
    await closed.close()
    with pytest.raises(UnavailableError, match="closed"):
        await closed.check()
    with pytest.raises(UnavailableError, match="closed"):
        await closed.commit(Changes(events=[event()]))
