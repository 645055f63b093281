"""(+) The audit trail as it is told: its rows, and what looking at the whole chain came to."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema

from protocol.names import DIGEST_RULE, Digest
from protocol.params import Limit, Offset, Params
from protocol.results import Model, Time

MOMENT_RULE = (
    "a time as RFC 3339 has it, with its zone, such as 2026-11-24T01:39:50Z or 2026-11-24T01:39Z"
)
_DAY = (
    r"((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])"
    r"|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|[12][0-9]))"
)
_CLOCK = r"([01][0-9]|2[0-3]):[0-5][0-9]"
_MOMENT = re.compile(
    rf"[1-8][0-9]{{3}}-{_DAY}T{_CLOCK}(:[0-5][0-9](\.[0-9]{{1,6}})?)?(Z|[+-]{_CLOCK})", re.ASCII
)


def moment_of(value: object) -> datetime:
    """The time that `value` is or says, in UTC; ValueError if it is none with a zone."""
    problem = ValueError(f"must be {MOMENT_RULE}")
    try:
        if isinstance(value, str) and _MOMENT.fullmatch(value):
            value = datetime.fromisoformat(value)
        if isinstance(value, datetime) and value.tzinfo is not None:
            return value.astimezone(UTC)
    except (ValueError, OverflowError):
        raise problem from None
    raise problem


Moment = Annotated[
    datetime,
    BeforeValidator(moment_of),
    WithJsonSchema({"type": "string", "pattern": f"^{_MOMENT.pattern}$"}),
]


class AuditListParams(Params):
    """One page of the audit trail."""

    since: Moment | None = Field(None, description=f"only rows from then on: {MOMENT_RULE}")
    limit: Limit = Field(100, description="a whole number from 1 to 1000")
    offset: Offset = Field(0, description="a whole number from 0")


class AuditVerifyParams(Params):
    """What the chain is held against."""

    expect: Digest | Literal[""] = Field(
        "", description=f"the hash of a row that was noted elsewhere: {DIGEST_RULE}, or empty"
    )


class AuditEntry(Model):
    """One request or refusal: who, from where, what, before and after, result."""

    seq: int
    at: Time
    proof: str
    who: str
    token_id: str
    role: str
    address: str
    operation: str
    object_id: str
    parameters: dict[str, Any]
    before: dict[str, Any]
    after: dict[str, Any]
    result: str
    message: str
    count: int
    prev: str
    hash: str


class AuditList(Model):
    """Rows of the audit trail, newest first."""

    rows: list[AuditEntry]
    total: int
    limit: int
    offset: int


class AuditVerdict(Model):
    """What looking at every row came to. `last_hash` is worth noting elsewhere."""

    sound: bool
    rows: int
    first_seq: int
    first_at: Time | None
    last_seq: int
    last_at: Time | None
    last_hash: str
    broken_seq: int | None
    problem: str
    removed_up_to_seq: int
    removed_at: Time | None
