"""Checks of the plain arguments, with the same rules and words as the coordinator's own.

The documented parameter types check themselves (`protocol.models`). Nothing is sent
before its check has passed.
"""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import quote

from protocol.errors import InvalidRequestError
from protocol.evidence import moment_of
from protocol.models import PERIODS
from protocol.names import check_name, check_version

Query = dict[str, str]


def segment(field: str, text: object) -> str:
    """`text` as one segment of a path, or `InvalidRequestError` if it is not a valid id."""
    if not isinstance(text, str):
        raise _wrong(field, "must be text")
    return quote(_checked(field, text, check_name), safe="")


def version_segment(text: object) -> str:
    """`text` as one segment of a path, or `InvalidRequestError` if it is not a valid version."""
    if not isinstance(text, str):
        raise _wrong("version", "must be text")
    return quote(_checked("version", text, check_version), safe="")


def page(limit: object, offset: object) -> Query:
    """The query of one page; `limit` is 1 to 1000, `offset` from 0."""
    if not _is_whole(limit, 1, 1000):
        raise _wrong("limit", "must be a whole number from 1 to 1000")
    if not _is_whole(offset, 0, 2**62):
        raise _wrong("offset", "must be a whole number from 0")
    return {"limit": str(limit), "offset": str(offset)}


def flag(field: str, value: object) -> str:
    """A boolean as the query writes it."""
    if not isinstance(value, bool):
        raise _wrong(field, "must be true or false")
    return "true" if value else "false"


def period(value: object) -> str:
    """One of the documented periods of statistics."""
    if not isinstance(value, str) or value not in PERIODS:
        raise _wrong("period", f"must be {', '.join(list(PERIODS)[:-1])} or {list(PERIODS)[-1]}")
    return value


def sequence(field: str, value: object) -> str:
    """An event's number as the header writes it."""
    if not _is_whole(value, 0, 2**62):
        raise _wrong(field, "must be a whole number from 0")
    return str(value)


def moment(field: str, value: object) -> str:
    """A time as the query writes it."""
    try:
        return moment_of(value).isoformat().replace("+00:00", "Z")
    except ValueError as problem:
        raise _wrong(field, str(problem)) from None


def filters(**given: str) -> Query:
    """The filters that are set; the coordinator checks their values."""
    for field, value in given.items():
        if not isinstance(value, str):
            raise _wrong(field, "must be text")
    return {field: value for field, value in given.items() if value}


def _checked(field: str, text: str, check: Callable[[str], str]) -> str:
    try:
        return check(text)
    except ValueError as problem:
        raise _wrong(field, str(problem)) from None


def _is_whole(value: object, low: int, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _wrong(field: str, message: str) -> InvalidRequestError:
    return InvalidRequestError(f"{field}: {message}", [{"field": field, "message": message}])
