"""The exception tree of every door: the library raises it, HTTP and exit codes carry it.

The table of interface section 4 stands here once, as class attributes. Nothing in
this file knows how an error travels.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

Detail = Mapping[str, Any]
"""One thing that was wrong: `field` and `message`, or the names of what stood in the way."""


class FerrymanError(Exception):
    """The base of everything that Ferryman refuses or cannot do."""

    type: ClassVar[str] = "internal"
    code: ClassVar[int] = 500
    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, details: Iterable[Detail] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.details: list[dict[str, Any]] = [dict(detail) for detail in details]


class InvalidRequestError(FerrymanError):
    """The request itself is malformed; the message names the field and what it accepts."""

    type = "invalid_request"
    code = 400
    exit_code = 2


class UnauthenticatedError(FerrymanError):
    """No token, or one that is unknown, expired or revoked."""

    type = "unauthenticated"
    code = 401
    exit_code = 4


class PermissionDeniedError(FerrymanError):
    """The token is valid, and its role does not allow this."""

    type = "permission_denied"
    code = 403
    exit_code = 4


class NotFoundError(FerrymanError):
    """No task, instance or service has that name."""

    type = "not_found"
    code = 404
    exit_code = 3


class ConflictError(FerrymanError):
    """The state of a task or of the fleet stands against it; the details name what does."""

    type = "conflict"
    code = 409
    exit_code = 7


class UnavailableError(FerrymanError):
    """The coordinator can't be reached, or can't work now; asking again later may help."""

    type = "unavailable"
    code = 503
    exit_code = 8


BY_TYPE: Mapping[str, type[FerrymanError]] = {
    cls.type: cls
    for cls in (
        FerrymanError,
        InvalidRequestError,
        UnauthenticatedError,
        PermissionDeniedError,
        NotFoundError,
        ConflictError,
        UnavailableError,
    )
}


def from_wire(type_: str, message: str, details: Iterable[Detail] = ()) -> FerrymanError:
    """Rebuild the exception that a refusal's `type` names; unknown types become the base."""
    return BY_TYPE.get(type_, FerrymanError)(message, details)
