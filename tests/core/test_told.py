"""How much of a host's past is known, and what its words become."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from coordinator.told import KnownPast, row_of_entry
from protocol.messages import Ended, PastEntry, Result, Step, TaskTold
from protocol.states import TaskKind

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def entry(at: datetime) -> PastEntry:
    return PastEntry(
        number=7,
        at=at,
        task_id="rollback-1",
        instance_id="i-1",
        attempt=2,
        task=TaskTold(kind=TaskKind.ROLLBACK, service="user-service", version="v1"),
        ended=Ended(result=Result.FAILED, step=Step.CHECK, message="no database"),
    )


def test_a_row_says_who_told_it() -> None:
    row = row_of_entry(entry(NOW - timedelta(hours=1)), NOW)
    assert (row.action, row.status, row.version) == ("rollback", "failed", "v1")
    assert (row.reason, row.told_attempt) == ("told by its host: no database", 2)


def test_a_hosts_clock_is_never_ahead_of_ours() -> None:
    assert row_of_entry(entry(NOW + timedelta(days=400)), NOW).timestamp == NOW
    east = timezone(timedelta(hours=5))
    earlier = NOW - timedelta(hours=1)
    told = row_of_entry(entry(earlier.astimezone(east)), NOW).timestamp
    assert (told, told.tzinfo) == (earlier, UTC)


@given(st.permutations(range(1, 9)), st.integers(0, 8))
def test_reports_that_overtake_each_other_count_without_a_gap(order: list[int], lost: int) -> None:
    known, seen = KnownPast(), set[int]()
    for number in order:
        if number != lost:
            seen.add(number)
            whole = next(n for n in range(9) if n + 1 not in seen)
            assert known.reported(number) == whole
    assert known.number == (lost - 1 if lost else 8)


def test_a_report_without_a_number_changes_nothing() -> None:
    known = KnownPast(5)
    assert (known.reported(0), known.reported(3)) == (5, 5)
    known.told_until(9)
    assert known.reported(10) == 10


def test_a_prefetch_is_no_part_of_a_past() -> None:
    with pytest.raises(ValidationError, match="nothing runs in a prefetch"):
        TaskTold(kind=TaskKind.PREFETCH, service="user-service", version="v1")
