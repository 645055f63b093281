"""What every Store must answer: tasks, history, events, tokens, the clock's anchor."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from coordinator.core.task import Assignment
from coordinator.ports import Changes, EventRow, Store, TokenRow
from protocol.errors import ConflictError
from protocol.states import Phase, TaskKind, TaskState
from tests.contract.rows import NOW, create, ended, event, moved, task

# ---- queries --------------------------------------------------------------------


async def test_unfinished_are_the_tasks_with_a_part_that_has_notended(store: Store) -> None:
    waits, runs, half, done = (task(f"d-{n}", f"i-{n}", f"j-{n}") for n in range(4))
    await create(store, waits, runs, half, done)
    running, partly = moved(runs, Phase.ACTIVATING), moved(half, Phase.FAILED, "j-2")
    await store.commit(running)
    await store.commit(partly)
    await store.commit(moved(done, Phase.COMPLETED))
    assert await store.unfinished() == [waits, running.tasks[0], partly.tasks[0]]


async def test_lists_are_newest_first_in_pages_and_filtered(store: Store) -> None:
    made = [
        task(f"d-{n}", f"i-{n}", service="a" if n % 2 else "b", created_at=NOW - timedelta(n))
        for n in range(7)
    ]
    rollback = task("r-0", "i-r", kind=TaskKind.ROLLBACK, rollback_type="single")
    await create(store, *made, rollback)
    await store.commit(moved(made[3], Phase.COMPLETED))

    async def ids(**query: Any) -> tuple[list[str], int]:
        page, total = await store.tasks(TaskKind.DEPLOY, **query)
        return [row.task_id for row in page], total

    assert await ids(limit=3) == (["d-6", "d-5", "d-4"], 7)
    assert await ids(limit=3, offset=6) == (["d-0"], 7)
    assert await ids(offset=2**62) == ([], 7)
    assert await ids(services=["a"]) == (["d-5", "d-3", "d-1"], 3)
    assert await ids(services=["a"], state=TaskState.PENDING) == (["d-5", "d-1"], 2)
    assert await ids(services={"a", "b"}, limit=1) == (["d-6"], 7)
    assert await ids(services=[]) == ([], 0)
    assert await ids(state=TaskState.COMPLETED) == (["d-3"], 1)
    assert await ids(services=["%"]) == ([], 0)
    assert set(await store.services_of_tasks()) == {"a", "b", "user-service"}
    (row,), total = await store.tasks(TaskKind.ROLLBACK)
    assert (row.task_id, row.kind, row.rollback_type, total) == (
        "r-0",
        TaskKind.ROLLBACK,
        "single",
        1,
    )


async def test_a_summary_has_the_state_and_the_counts_of_the_last_save(store: Store) -> None:
    new = task("d-1", *(f"i-{n}" for n in range(6)), updated_at=NOW)
    await create(store, new)
    parts = dict(new.assignments)
    phases = (Phase.COMPLETED, Phase.FAILED, Phase.CANCELLED, Phase.PREPARED, Phase.WAITING)
    for number, phase in enumerate(phases):
        parts[f"i-{number}"] = Assignment(f"i-{number}", phase)
    mixed = replace(new, assignments=parts, revision=1, updated_at=NOW + timedelta(seconds=1))
    await store.commit(
        Changes(tasks=[mixed], assignments=[("d-1", a) for a in mixed.assignments.values()])
    )
    (row,), _ = await store.tasks(TaskKind.DEPLOY)
    assert row.state is mixed.state is TaskState.IN_PROGRESS
    assert row.progress == mixed.progress
    assert row.updated_at == mixed.updated_at
    assert row.created_at == NOW
    assert (row.service, row.version) == ("user-service", "v1.2.3")


async def test_counts_are_of_one_kind_and_from_a_moment_on(store: Store) -> None:
    made = [task(f"d-{n}", f"i-{n}", created_at=NOW + timedelta(microseconds=n)) for n in range(4)]
    await create(store, *made, task("r-1", "i-r", kind=TaskKind.ROLLBACK))
    await store.commit(moved(made[0], Phase.COMPLETED))
    await store.commit(moved(made[2], Phase.COMPLETED))
    await store.commit(moved(made[3], Phase.FAILED))
    since = await store.task_counts(TaskKind.DEPLOY, NOW + timedelta(microseconds=1))
    assert since == {
        **dict.fromkeys(TaskState, 0),
        TaskState.PENDING: 1,
        TaskState.COMPLETED: 1,
        TaskState.FAILED: 1,
    }
    everything = await store.task_counts(TaskKind.DEPLOY, NOW)
    assert everything[TaskState.COMPLETED] == 2
    assert await store.task_counts(TaskKind.DEPLOY, NOW, ["user-service"]) == everything
    assert not any((await store.task_counts(TaskKind.DEPLOY, NOW, ["other"])).values())


async def test_the_last_success_is_the_newest_completed_one_with_url_and_digest(
    store: Store,
) -> None:
    versions = {
        "old": {},
        "new": {"package_url": "https://packages/new", "digest": "11" * 32},
        "failed": {"package_url": "https://packages/failed"},
        "retained": {"package_url": ""},
        "unverified": {"digest": ""},
        "other-version": {"version": "v2"},
        "other-service": {"service": "cart"},
    }
    made = [task(name, f"i-{name}", **fields) for name, fields in versions.items()]
    await create(store, *made)
    assert await store.last_success("user-service", "v1.2.3") is None
    for each in made:
        phase = Phase.FAILED if each.task_id == "failed" else Phase.COMPLETED
        await store.commit(moved(each, phase))
    found = await store.last_success("user-service", "v1.2.3")
    assert found == ("https://packages/new", "11" * 32)
    assert await store.last_success("user-service", "v3") is None


async def test_history_is_newest_first_in_pages_whatever_the_wall_clock_says(
    store: Store,
) -> None:
    rows = [
        ended("i-1", f"d-{n}", timestamp=NOW - timedelta(seconds=n), reason=f"because {n}")
        for n in range(5)
    ]
    rollback = ended("i-1", "r-1", action="rollback", status="cancelled")
    await store.commit(Changes(history=[*rows[:3], ended("i-2", "d-0")]))
    await store.commit(Changes(history=[*rows[3:], rollback]))
    assert await store.history("i-1") == ([rollback, *reversed(rows)], 6)
    assert await store.history("i-1", limit=2, offset=4) == ([rows[1], rows[0]], 6)
    assert await store.history("nobody") == ([], 0)
    assert await store.history("i-1", service="user-service") == await store.history("i-1")
    assert await store.history("i-1", service="other") == ([], 0)


async def test_a_correction_changes_the_row_that_an_assignment_has(store: Store) -> None:
    assumed = ended("i-1", "d-1", status="cancelled", reason="not known")
    later = ended("i-1", "d-2")
    elsewhere = ended("i-2", "d-1", status="cancelled")
    await store.commit(Changes(history=[assumed, elsewhere, later]))
    truth: dict[str, Any] = {"status": "success", "reason": "healthy"}
    at = NOW + timedelta(hours=1)
    corrected = ended("i-1", "d-1", **truth, timestamp=at, corrects=True)
    await store.commit(Changes(history=[corrected]))
    rows, total = await store.history("i-1")
    assert (rows, total) == ([later, replace(assumed, **truth)], 2)
    assert await store.history("i-2") == ([elsewhere], 1)


async def test_an_instance_ran_a_service_once_an_assignment_succeeded(store: Store) -> None:
    failed = [ended("i-1", "d-1", status="failed"), ended("i-1", "d-2", status="cancelled")]
    await store.commit(Changes(history=[*failed, ended("i-2", "d-1")]))
    assert not await store.ever_ran("i-1", "user-service")
    await store.commit(Changes(history=[ended("i-1", "d-3")]))
    assert await store.ever_ran("i-1", "user-service")
    assert not await store.ever_ran("i-1", "cart")


async def test_the_last_other_version_that_was_healthy(store: Store) -> None:
    rows = [
        ended("i-1", "d-1", version="v1"),
        ended("i-1", "d-2", version="v2", action="rollback"),
        ended("i-1", "d-3", version="v3", status="failed"),
        ended("i-1", "d-4", version="v4"),
        ended("i-1", "d-5", version="other", service="cart"),
        ended("i-2", "d-6", version="elsewhere"),
    ]
    await store.commit(Changes(history=rows))
    assert await store.last_healthy("i-1", "user-service", but="v4") == "v2"
    assert await store.last_healthy("i-1", "user-service", but="") == "v4"
    assert await store.last_healthy("i-2", "user-service", but="elsewhere") == ""
    assert await store.last_healthy("nobody", "user-service", but="") == ""


# ---- events ---------------------------------------------------------------------


async def test_events_are_numbered_without_gaps_in_the_order_of_commits(store: Store) -> None:
    assert await store.last_event() == 0
    first = await store.commit(Changes(events=[event(1), event(2)]))
    second = await store.commit(Changes(events=[event(3)]))
    assert [each.seq for each in (*first, *second)] == [1, 2, 3]
    assert await store.last_event() == 3
    assert await store.events_after(0) == [*first, *second]
    assert await store.events_after(0, limit=2) == first
    assert await store.events_after(2) == second
    assert await store.events_after(3) == []


async def test_what_an_event_tells_comes_back(store: Store) -> None:
    data = {"text": "Größe ✓", "list": [1, 2.5, None, True], "deep": {"a": {"b": ""}}}
    (saved,) = await store.commit(Changes(events=[EventRow(NOW, "assignment", data)]))
    assert saved == EventRow(NOW, "assignment", data, seq=1)
    assert json.dumps((await store.events_after(0))[0].data) == json.dumps(data)


async def test_old_events_are_forgotten_and_numbers_are_never_given_twice(store: Store) -> None:
    await store.commit(Changes(events=[event(n) for n in range(990)]))
    await store.commit(Changes(events=[event(n) for n in range(20)]))
    kept = await store.events_after(0)
    assert [each.seq for each in kept] == list(range(961, 1011))
    (latest,) = await store.commit(Changes(events=[event()]))
    assert latest.seq == await store.last_event() == 1011


async def test_concurrent_commits_share_no_number(store: Store) -> None:
    answers = await asyncio.gather(
        *(store.commit(Changes(events=[event(n), event(n)])) for n in range(20))
    )
    seqs = [each.seq for answer in answers for each in answer]
    assert sorted(seqs) == list(range(1, 41))


# ---- tokens and the clock ----------------------------------------------------------


async def test_a_token_is_found_by_its_digest_and_listed_newest_first(store: Store) -> None:
    first = TokenRow("t-1", "admin", "aa", "first", NOW)
    second = TokenRow(
        "t-2", "viewer", "bb", "", NOW - timedelta(1), expires_at=NOW, services=("web-*", "api")
    )
    await store.add_token(first)
    await store.add_token(second)
    assert await store.token_by_digest("aa") == first
    assert await store.token_by_digest("cc") is None
    assert await store.tokens() == [second, first]


async def test_a_token_id_or_digest_is_kept_once(store: Store) -> None:
    first = TokenRow("t-1", "admin", "aa", "first", NOW)
    await store.add_token(first)
    for double in (replace(first, digest="bb"), replace(first, token_id="t-2")):
        with pytest.raises(ConflictError):
            await store.add_token(double)
    assert await store.tokens() == [first]


async def test_the_first_revocation_counts(store: Store) -> None:
    await store.add_token(TokenRow("t-1", "admin", "aa", "first", NOW))
    later = NOW + timedelta(hours=1)
    revoked = await store.revoke_token("t-1", NOW)
    assert revoked
    assert revoked.revoked_at == NOW
    assert await store.revoke_token("t-1", later) == revoked
    assert await store.token_by_digest("aa") == revoked
    assert await store.revoke_token("nobody", NOW) is None


async def test_the_last_use_of_a_token_is_remembered(store: Store) -> None:
    await store.add_token(TokenRow("t-1", "admin", "aa", "first", NOW))
    await store.touch_token("t-1", NOW)
    await store.touch_token("nobody", NOW)
    assert [token.last_used_at for token in await store.tokens()] == [NOW]


async def test_the_clock_anchor_is_replaced(store: Store) -> None:
    assert await store.anchor() is None
    await store.save_anchor("boot-1", 1.25, NOW, 0.0)
    await store.save_anchor("boot-2", 0.1 + 0.2, NOW, 12345.678)
    assert await store.anchor() == ("boot-2", 0.1 + 0.2, NOW, 12345.678)
