"""The audit trail's rows, and the chain of hashes that runs through them.

A row's hash is over all that it says, its number and the hash of the row before. So a row that
was changed, put in, taken out or moved breaks the chain there. What was cut off at the end can
only be noticed by somebody who noted a hash of it elsewhere. When the oldest rows are removed,
a row of its own names the last of them: the chain then begins behind that one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

FIRST: Final = "0" * 64
"""What the first row has in the place of a hash before it."""

REMOVED: Final = "remove_audit_rows"
"""The operation of a row that vouches for older ones which are no longer there."""

ACCEPTED: Final = "accepted"
"""The result of what was done; that of a refusal is the refusal's type."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRow:
    """Who asked for what, and what came of it. The store gives `seq`, `prev` and `hash`."""

    at: datetime
    proof: str
    """By what the caller is known: token, certificate, in_process, none."""
    who: str
    """The token's name, the host's id, or who runs the process; "" for strangers."""
    token_id: str = ""
    role: str = ""
    address: str = ""
    operation: str
    """The library's name of the function, or what a host did."""
    object_id: str = ""
    """The task, instance, service, token or host that it is about."""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    before: Mapping[str, Any] = field(default_factory=dict)
    after: Mapping[str, Any] = field(default_factory=dict)
    result: str = ACCEPTED
    message: str = ""
    count: int = 1
    """So many refusals of this kind are told of by this row."""
    seq: int = 0
    prev: str = ""
    hash: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What looking at the whole chain came to."""

    rows: int
    first: AuditRow | None
    last: AuditRow | None
    """The last row that is sound."""
    broken_seq: int = 0
    """The first number at which the chain is broken; 0 if it is sound."""
    problem: str = ""
    removed: AuditRow | None = None
    """The row that vouches for those that are no longer there, if there are such."""


def hash_of(row: AuditRow, prev: str) -> str:
    """The hash of a numbered row that follows the one with the hash `prev`."""
    said = [
        prev,
        row.seq,
        (row.at - _EPOCH) // timedelta(microseconds=1),
        row.proof,
        row.who,
        row.token_id,
        row.role,
        row.address,
        row.operation,
        row.object_id,
        dict(row.parameters),
        dict(row.before),
        dict(row.after),
        row.result,
        row.message,
        row.count,
    ]
    text = json.dumps(said, ensure_ascii=True, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def chained(rows: Iterable[AuditRow], last_seq: int, prev: str) -> list[AuditRow]:
    """The rows with their numbers and hashes, behind the row `last_seq` with the hash `prev`."""
    made = []
    for seq, row in enumerate(rows, last_seq + 1):
        numbered = replace(row, seq=seq, prev=prev)
        prev = hash_of(numbered, prev)
        made.append(replace(numbered, hash=prev))
    return made


def removal(at: datetime, rows: int, last: AuditRow) -> AuditRow:
    """The row that vouches for `rows` that are removed, of which `last` is the newest."""
    return AuditRow(
        at=at,
        proof="in_process",
        who="retention",
        operation=REMOVED,
        parameters={
            "rows": rows,
            "up_to_seq": last.seq,
            "up_to_hash": last.hash,
            "up_to_time": last.at.isoformat(),
        },
    )


class Examination:
    """Looks at one row after the other, from the oldest on; the first thing wrong is kept."""

    def __init__(self, expected: str = "") -> None:
        """`expected` is a hash that somebody noted: it must be there."""
        self._expected = expected
        self._found = not expected
        self._rows = 0
        self._first: AuditRow | None = None
        self._last: AuditRow | None = None
        self._removed: AuditRow | None = None
        self._broken_seq = 0
        self._problem = ""

    def look(self, row: AuditRow) -> None:
        """Take the next row."""
        self._rows += 1
        if self._first is None:
            self._first = row
        if not self._problem:
            self._compare(row)
        if not self._problem:
            self._last = row
            self._found = self._found or self._expected in (row.hash, row.prev)
        if row.operation == REMOVED:
            self._removed = row

    def verdict(self, numbered: int) -> Verdict:
        """What came of it; `numbered` is the last number that was ever given."""
        self._look_at_the_beginning()
        if not self._problem:
            self._look_at_the_end(numbered)
        return Verdict(
            rows=self._rows,
            first=self._first,
            last=self._last,
            broken_seq=self._broken_seq,
            problem=self._problem,
            removed=self._removed if self._first and self._first.seq > 1 else None,
        )

    def _compare(self, row: AuditRow) -> None:
        before = self._last
        if before is not None and row.seq != before.seq + 1:
            self._broken(before.seq + 1, "it is missing")
        elif before is not None and row.prev != before.hash:
            self._broken(row.seq, "it does not follow the row before")
        elif row.hash != hash_of(row, row.prev):
            self._broken(row.seq, "it was changed")

    def _look_at_the_beginning(self) -> None:
        """Whether what is missing before the first row was removed in the documented way."""
        if self._first is None or (self._first.seq, self._first.prev) == (1, FIRST):
            return
        vouched = self._removed.parameters if self._removed else {}
        before = (vouched.get("up_to_seq"), vouched.get("up_to_hash"))
        if before == (self._first.seq - 1, self._first.prev) or self._broken_seq == self._first.seq:
            return
        if self._first.seq == 1:
            self._broken(1, "it names a row before it")
        else:
            self._broken(1, "it is missing, and no row says that it was removed for its age")

    def _look_at_the_end(self, numbered: int) -> None:
        last = self._last.seq if self._last else 0
        if last < numbered:
            self._broken(last + 1, f"it is missing: {numbered} was the last number given")
        elif last > numbered:
            self._broken(numbered + 1, f"it was put in: {numbered} was the last number given")
        elif not self._found:
            self._broken(
                last + 1,
                f"no row has the hash {self._expected}: rows were cut off at the end, or all "
                "were made anew",
            )

    def _broken(self, seq: int, problem: str) -> None:
        self._broken_seq, self._problem = seq, problem
