"""Which refusals get a row of the audit trail of their own, and which are counted in one.

Who shows nothing valid is counted: one row for an address, an operation and a kind of refusal.
Who is known gets a row for each refusal until it asks too often, and is counted then. Rows are
given out slowly (`AT_ONCE`, then `A_MINUTE`), to each who is known and to all strangers
together: however hard somebody knocks, and from however many addresses, the trail grows no
faster. What goes beyond is counted in one row for all. What a host does on its own, unasked,
is taken by the same rules. It reads no clock.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from coordinator.core.chain import AuditRow

AT_ONCE: Final = 100
A_MINUTE: Final = 1

STRANGER: Final = "none"
SEVERAL: Final = "several"
REFUSED: Final = "refused"

_Key = tuple[str, str, str, str]
_REST: Final[_Key] = ("", SEVERAL, SEVERAL, SEVERAL)


class _Allowance:
    """So many rows at once, and more with time."""

    def __init__(self, now: float) -> None:
        self._left = float(AT_ONCE)
        self._at = now

    def take(self, now: float) -> bool:
        self._left = min(AT_ONCE, self._left + max(0.0, now - self._at) / 60 * A_MINUTE)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True

    def whole(self, now: float) -> bool:
        return self._left + max(0.0, now - self._at) / 60 * A_MINUTE >= AT_ONCE


class Refusals:
    """Refusals that are not in the trail yet."""

    def __init__(self) -> None:
        self._counted: dict[_Key, AuditRow] = {}
        self._allowances: dict[str, _Allowance] = {}

    def take(self, row: AuditRow, now: float) -> AuditRow | None:
        """Take a refusal; return it if it is to be written at once, else it is counted.

        `now` is in steady seconds.
        """
        if row.proof != STRANGER:
            asker = f"{row.proof} {row.token_id or row.who}"
            if self._may(asker, now):
                return row
            self._count((asker, "", row.operation, row.result), row)
            return None
        key = ("", row.address, row.operation, row.result)
        if key in self._counted or self._may("", now):
            self._count(key, row)
        else:
            rest = replace(row, address=SEVERAL, operation=SEVERAL, object_id="", result=REFUSED)
            self._count(_REST, rest)
        return None

    def counted(self, now: float) -> list[AuditRow]:
        """What was counted since the last call, to be written."""
        rows = list(self._counted.values())
        self._counted.clear()
        for asker in [name for name, one in self._allowances.items() if one.whole(now)]:
            del self._allowances[asker]
        return rows

    def _may(self, asker: str, now: float) -> bool:
        return self._allowances.setdefault(asker, _Allowance(now)).take(now)

    def _count(self, key: _Key, row: AuditRow) -> None:
        known = self._counted.get(key)
        first = row.at.isoformat() if known is None else known.parameters["first"]
        same = known is None or known.object_id == row.object_id
        self._counted[key] = replace(
            row,
            count=known.count + 1 if known else 1,
            object_id=row.object_id if same else "",
            parameters={"first": first},
            before={},
        )
