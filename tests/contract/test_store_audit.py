"""What every Store must do with the audit trail: one chain, kept with the change it tells of."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from coordinator.core.chain import FIRST, AuditRow, Examination, Verdict, hash_of
from coordinator.ports import Changes, StaleRevisionError, Store, TokenRow
from protocol.errors import ConflictError
from tests.contract.rows import NOW, create, event, task


def row(number: int = 1, minutes: float = 0, **fields: Any) -> AuditRow:
    made = AuditRow(
        at=NOW + timedelta(minutes=minutes),
        proof="token",
        who="release-bot",
        token_id="token-1",
        role="deployer",
        address="10.0.0.9",
        operation="execute_deployment",
        object_id=f"d-{number}",
        parameters={"version": "v2", "instances": ["i-1", "ö"], "timeout": 300, "sha256": None},
        before={"versions": {"v1": 3}},
        after={"status": "pending"},
    )
    return replace(made, **fields)


async def written(store: Store, count: int) -> None:
    await store.commit(Changes(audit=[row(n, minutes=n) for n in range(1, count + 1)]))


async def verdict(store: Store, expected: str = "") -> Verdict:
    examination = Examination(expected)
    return examination.verdict(await store.walk_audit(examination.look))


async def objects(store: Store) -> list[str]:
    """What the rows are about, the oldest first."""
    rows, total = await store.audit(limit=1000)
    assert total == len(rows)
    return [one.object_id for one in reversed(rows)]


async def test_every_field_comes_back_with_number_and_hash(store: Store) -> None:
    sent = row(result="conflict", message="held by d-0", count=7)
    await store.commit(Changes(audit=[sent]))
    (found,), total = await store.audit()
    assert total == 1
    assert replace(found, seq=0, prev="", hash="") == sent
    assert (found.seq, found.prev, found.hash) == (1, FIRST, hash_of(found, FIRST))


async def test_rows_of_many_commits_are_one_chain(store: Store) -> None:
    await asyncio.gather(
        *(store.commit(Changes(audit=[row(n), row(n)], events=[event()])) for n in range(20))
    )
    assert await verdict(store) == Verdict(
        rows=40,
        first=(await store.audit(offset=39))[0][0],
        last=(await store.audit(limit=1))[0][0],
    )


async def test_an_empty_trail_is_sound(store: Store) -> None:
    assert await verdict(store) == Verdict(rows=0, first=None, last=None)


async def test_pages_are_newest_first_and_begin_at_a_time(store: Store) -> None:
    await written(store, 10)
    rows, total = await store.audit(NOW + timedelta(minutes=4), limit=3, offset=2)
    assert ([one.object_id for one in rows], total) == (["d-8", "d-7", "d-6"], 7)
    assert await store.audit(NOW + timedelta(days=1)) == ([], 0)


async def test_a_commit_that_is_refused_leaves_no_row(store: Store) -> None:
    await create(store, task("d-1"))
    with pytest.raises(StaleRevisionError):
        await store.commit(Changes(created=[task("d-1")], audit=[row()]))
    assert await objects(store) == []


def a_token(number: int) -> TokenRow:
    return TokenRow(f"token-{number}", "viewer", f"{number:064}", "ci", NOW)


async def test_a_token_and_its_row_are_kept_together(store: Store) -> None:
    await store.add_token(a_token(1), [row(1)])
    with pytest.raises(ConflictError):
        await store.add_token(a_token(1), [row(2)])
    assert await objects(store) == ["d-1"]


async def test_a_revocation_and_its_row_are_kept_together(store: Store) -> None:
    await store.add_token(a_token(1))
    assert await store.revoke_token("token-9", NOW, [row(1)]) is None
    assert await objects(store) == []
    for number in (2, 3):
        revoked = await store.revoke_token("token-1", NOW + timedelta(days=number), [row(number)])
        assert revoked is not None
        assert revoked.revoked_at == NOW + timedelta(days=2)
    assert await objects(store) == ["d-2", "d-3"]
    assert await store.token("token-1") == revoked
    assert await store.token("token-9") is None


async def test_the_oldest_rows_are_removed_and_vouched_for(store: Store) -> None:
    await written(store, 5)
    noted = (await store.audit(limit=1))[0][0].hash
    third = (await store.audit(limit=1, offset=2))[0][0]
    later = NOW + timedelta(days=1)
    assert await store.remove_audit(NOW + timedelta(minutes=4), later, 1000) == 3
    assert await objects(store) == ["d-4", "d-5", ""]
    found = await verdict(store, noted)
    assert (found.problem, found.rows) == ("", 3)
    assert found.removed is not None
    assert found.removed.at == later
    assert found.removed.parameters == {
        "rows": 3,
        "up_to_seq": 3,
        "up_to_hash": third.hash,
        "up_to_time": third.at.isoformat(),
    }
    assert (await verdict(store, third.hash)).problem == ""


async def test_removing_again_and_again_leaves_a_chain(store: Store) -> None:
    await written(store, 9)
    later = NOW + timedelta(minutes=20)
    assert await store.remove_audit(NOW + timedelta(minutes=6), later, 2) == 2
    assert await store.remove_audit(NOW + timedelta(minutes=6), later, 2) == 2
    assert await store.remove_audit(NOW + timedelta(minutes=6), later, 2) == 1
    assert await store.remove_audit(NOW + timedelta(minutes=6), later, 2) == 0
    assert await objects(store) == ["d-6", "d-7", "d-8", "d-9", "", "", ""]
    assert (await verdict(store)).problem == ""
    assert await store.remove_audit(later + timedelta(minutes=1), later, 1000) == 7
    await store.commit(Changes(audit=[row(10)]))
    assert await objects(store) == ["", "d-10"]
    assert (await verdict(store)).problem == ""


async def test_a_young_row_keeps_the_older_ones_behind_it(store: Store) -> None:
    """A clock that was ahead for a while: what is removed is always the oldest, without gaps."""
    await store.commit(Changes(audit=[row(1), row(2, minutes=60), row(3, minutes=1)]))
    assert await store.remove_audit(NOW + timedelta(minutes=30), NOW, 1000) == 1
    assert await objects(store) == ["d-2", "d-3", ""]
