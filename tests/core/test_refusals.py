"""However hard somebody knocks, the audit trail grows slowly, and nothing is left uncounted."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

from coordinator.core.chain import AuditRow
from coordinator.core.refusals import AT_ONCE, SEVERAL, Refusals

START = datetime(2026, 3, 1, 12, tzinfo=UTC)


def refusal(
    now: float = 0.0,
    *,
    proof: str = "none",
    who: str = "",
    address: str = "10.0.0.1",
    operation: str = "create_token",
    result: str = "unauthenticated",
    object_id: str = "",
) -> AuditRow:
    return AuditRow(
        at=START + timedelta(seconds=now),
        proof=proof,
        who=who,
        address=address,
        operation=operation,
        object_id=object_id,
        result=result,
        message=f"at {now:g}",
    )


def by_bot(now: float = 0.0, who: str = "bot", object_id: str = "d-1") -> AuditRow:
    return refusal(now, proof="token", who=who, result="conflict", object_id=object_id)


def test_strangers_are_counted_by_address_operation_and_kind() -> None:
    refusals = Refusals()
    asked = [
        *[refusal(n) for n in range(40)],
        *[refusal(n, address="10.0.0.2") for n in range(3)],
        *[refusal(n, operation="enroll") for n in range(2)],
        refusal(7, result="invalid_request"),
    ]
    assert [refusals.take(one, 0.0) for one in asked] == [None] * len(asked)
    told = [(row.address, row.operation, row.result, row.count) for row in refusals.counted(60.0)]
    assert told == [
        ("10.0.0.1", "create_token", "unauthenticated", 40),
        ("10.0.0.2", "create_token", "unauthenticated", 3),
        ("10.0.0.1", "enroll", "unauthenticated", 2),
        ("10.0.0.1", "create_token", "invalid_request", 1),
    ]
    assert refusals.counted(60.0) == []


def test_a_counted_row_tells_the_first_and_the_last_of_them() -> None:
    refusals = Refusals()
    for now, name in ((1.0, "a"), (5.0, "a"), (9.0, "b")):
        refusals.take(refusal(now, object_id=name), now)
    (row,) = refusals.counted(60.0)
    assert row.parameters == {"first": (START + timedelta(seconds=1)).isoformat()}
    assert (row.at, row.message) == (START + timedelta(seconds=9), "at 9")
    assert row.object_id == ""


def test_who_is_known_gets_a_row_for_each_refusal() -> None:
    refusals = Refusals()
    for n in range(AT_ONCE):
        row = by_bot(object_id=f"d-{n}")
        assert refusals.take(row, 0.0) == row
    assert refusals.counted(0.0) == []


def test_who_is_known_and_does_not_stop_is_counted() -> None:
    refusals = Refusals()
    written = [refusals.take(by_bot(n / 10), n / 10) for n in range(3000)]
    rows = [row for row in written if row is not None]
    assert len(rows) == AT_ONCE + 4
    (row,) = refusals.counted(300.0)
    assert row.count == 3000 - len(rows)
    assert (row.who, row.result, row.object_id) == ("bot", "conflict", "d-1")


def test_one_who_does_not_stop_takes_no_row_from_another() -> None:
    refusals = Refusals()
    for n in range(3000):
        refusals.take(by_bot(n / 1000), n / 1000)
        refusals.take(refusal(n / 1000, address=f"10.1.{n // 250}.{n % 250}"), n / 1000)
    row = by_bot(3.0, who="another")
    assert refusals.take(row, 3.0) == row


def test_a_stranger_with_any_number_of_addresses_makes_few_rows() -> None:
    """An hour of a thousand a minute, each from another address: nothing is lost in the count."""
    refusals = Refusals()
    addresses = (f"2001:db8::{n:x}" for n in itertools.count())
    rows = []
    for minute in range(60):
        for n in range(1000):
            now = minute * 60 + n * 0.06
            assert refusals.take(refusal(now, address=next(addresses)), now) is None
        rows += refusals.counted(minute * 60 + 60)
    assert sum(row.count for row in rows) == 60_000
    assert len(rows) <= AT_ONCE + 60 + 60
    rest = [row for row in rows if row.address == SEVERAL]
    assert {(row.operation, row.result) for row in rest} == {(SEVERAL, "refused")}


def test_what_is_remembered_of_those_who_stopped_is_forgotten() -> None:
    refusals = Refusals()
    for n in range(1000):
        refusals.take(by_bot(who=f"bot-{n}"), 0.0)
    refusals.counted(0.0)
    assert len(refusals._allowances) == 1000
    refusals.counted(60.0)
    assert not refusals._allowances
