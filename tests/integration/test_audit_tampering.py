"""Somebody who can write the database changes the audit trail: where the chain shows it.

SQLite itself refuses the plain attempts; the others take the triggers away first.
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from coordinator.core.chain import Examination, Verdict
from coordinator.ports import Changes
from coordinator.store import SqlStore
from tests.contract.rows import NOW
from tests.contract.test_store_audit import row

ROWS = 6


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "coordinator.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SqlStore]:
    opened = await SqlStore.open(f"sqlite+aiosqlite:///{path}")
    await opened.commit(Changes(audit=[row(n, minutes=n) for n in range(1, ROWS + 1)]))
    yield opened
    await opened.close()


@contextmanager
def written_to(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path)) as connection, connection:
        yield connection


def tamper(path: Path, *statements: str) -> None:
    with written_to(path) as connection:
        for name in ("changed", "inserted_into", "removed"):
            connection.execute(f"DROP TRIGGER audit_is_not_{name}")
        for statement in statements:
            connection.execute(statement)


async def verdict(store: SqlStore, expected: str = "") -> Verdict:
    examination = Examination(expected)
    return examination.verdict(await store.walk_audit(examination.look))


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit SET who = 'somebody else' WHERE seq = 3",
        "DELETE FROM audit WHERE seq = 3",
        "DELETE FROM audit",
        "INSERT OR REPLACE INTO audit SELECT 3, at, proof, 'x', token_id, role, address, operation,"
        " object_id, parameters, before, after, result, message, count, prev, hash"
        " FROM audit WHERE seq = 3",
    ],
)
async def test_the_database_refuses_what_would_change_a_row(
    store: SqlStore, path: Path, statement: str
) -> None:
    with (
        pytest.raises(sqlite3.IntegrityError, match="rows of the audit trail"),
        written_to(path) as connection,
    ):
        connection.execute(statement)
    assert (await verdict(store)).problem == ""


COLUMNS = {
    "at": "at + 1",
    "proof": "'none'",
    "who": "'somebody else'",
    "token_id": "'token-2'",
    "role": "'admin'",
    "address": "''",
    "operation": "'cancel_deployment'",
    "object_id": "'d-9'",
    "parameters": """'{"version": "v3"}'""",
    "before": "'{}'",
    "after": """'{"status": "cancelled"}'""",
    "result": "'conflict'",
    "message": "'x'",
    "count": "2",
    "hash": f"'{'ab' * 32}'",
}


@pytest.mark.parametrize("column", COLUMNS)
async def test_a_changed_field_is_found(store: SqlStore, path: Path, column: str) -> None:
    tamper(path, f"UPDATE audit SET {column} = {COLUMNS[column]} WHERE seq = 3")
    found = await verdict(store)
    assert (found.broken_seq, found.problem) == (3, "it was changed")
    assert found.last is not None
    assert (found.rows, found.last.seq) == (ROWS, 2)


async def test_a_row_that_names_another_one_before_it_is_found(store: SqlStore, path: Path) -> None:
    tamper(path, f"UPDATE audit SET prev = '{'ab' * 32}' WHERE seq = 3")
    assert (await verdict(store)).broken_seq == 3


@pytest.mark.parametrize(
    ("statements", "broken", "problem"),
    [
        pytest.param(["DELETE FROM audit WHERE seq = 3"], 3, "it is missing", id="taken out"),
        pytest.param(
            ["DELETE FROM audit WHERE seq = 3", "UPDATE audit SET seq = seq - 1 WHERE seq > 3"],
            3,
            "it does not follow the row before",
            id="taken out and the others moved up",
        ),
        pytest.param(
            [
                "UPDATE audit SET seq = -3 WHERE seq = 3",
                "UPDATE audit SET seq = 3 WHERE seq = 4",
                "UPDATE audit SET seq = 4 WHERE seq = -3",
            ],
            3,
            "it does not follow the row before",
            id="two swapped",
        ),
        pytest.param(
            ["DELETE FROM audit WHERE seq < 3"],
            1,
            "it is missing, and no row says that it was removed for its age",
            id="beginning cut off",
        ),
        pytest.param(
            ["DELETE FROM audit WHERE seq > 4"],
            5,
            "it is missing: 6 was the last number given",
            id="end cut off",
        ),
        pytest.param(
            ["DELETE FROM audit"], 1, "it is missing: 6 was the last number given", id="all gone"
        ),
        pytest.param(
            ["UPDATE counters SET value = 4 WHERE name = 'audit'"],
            5,
            "it was put in: 4 was the last number given",
            id="counter set back",
        ),
    ],
)
async def test_rows_that_were_taken_out_or_moved_are_found(
    store: SqlStore, path: Path, statements: list[str], broken: int, problem: str
) -> None:
    tamper(path, *statements)
    found = await verdict(store)
    assert (found.broken_seq, found.problem) == (broken, problem)


CUT = ["DELETE FROM audit WHERE seq > 4", "UPDATE counters SET value = 4 WHERE name = 'audit'"]


async def test_an_end_that_was_cut_off_with_care_is_seen_with_the_noted_hash_only(
    store: SqlStore, path: Path
) -> None:
    noted = (await store.audit(limit=1))[0][0].hash
    earlier = (await store.audit(limit=1, offset=3))[0][0].hash
    assert (await verdict(store, noted)).problem == ""
    tamper(path, *CUT)
    assert (await verdict(store)).problem == ""
    assert (await verdict(store, earlier)).problem == ""
    found = await verdict(store, noted)
    assert found.broken_seq == 5
    assert f"no row has the hash {noted}: rows were cut off at the end" in found.problem


async def test_a_cut_end_stays_visible_after_rows_were_added_to_it(
    store: SqlStore, path: Path
) -> None:
    noted = (await store.audit(limit=1))[0][0].hash
    tamper(path, *CUT)
    await store.commit(Changes(audit=[row(n) for n in (7, 8, 9)]))
    assert (await verdict(store)).problem == ""
    assert (await verdict(store, noted)).broken_seq == 8


async def test_a_trail_that_lost_its_end_goes_on_and_shows_the_gap(
    store: SqlStore, path: Path
) -> None:
    """Whoever broke it must not have stopped deployments with it."""
    tamper(path, "DELETE FROM audit WHERE seq > 4")
    await store.commit(Changes(audit=[row(7)]))
    found = await verdict(store)
    assert (found.broken_seq, found.problem) == (5, "it is missing")


async def test_removed_rows_are_vouched_for_by_the_newest_such_row_only(
    store: SqlStore, path: Path
) -> None:
    for minutes in (3, 5):
        await store.remove_audit(row(minutes=minutes).at, NOW, 1000)
    assert (await verdict(store)).problem == ""
    tamper(path, "DELETE FROM audit WHERE seq <= 5")
    assert (await verdict(store)).broken_seq == 1
