"""Which versions are pinned: kept on hosts' disks whatever else is removed there. Pure.

A pin is of a service and a version, whether any host has the version yet or not. There are
never more than an agent can be told of, and of one service no more than leaves its hosts' disks
bounded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from protocol.errors import ConflictError, NotFoundError
from protocol.messages import MAX_PINS

MAX_OF_SERVICE = 32
"""Pinned versions of one service."""


@dataclass(frozen=True, slots=True)
class PinRow:
    """One version of a service that is pinned."""

    service: str
    version: str
    created_at: datetime
    created_by: str
    """Who asked for it, as the audit trail names them."""


Key = tuple[str, str]
"""A service and a version."""


class PinDraft:
    """The pins while some are added and removed; nothing outside is changed."""

    def __init__(self, saved: Mapping[Key, PinRow]) -> None:
        self._saved = saved
        self._changed: dict[Key, PinRow | None] = {}

    @property
    def added(self) -> list[PinRow]:
        """The pins that are new."""
        return [row for row in self._changed.values() if row is not None]

    @property
    def removed(self) -> list[Key]:
        """What is not pinned any more."""
        return [key for key, row in self._changed.items() if row is None]

    def versions(self, service: str) -> list[str]:
        """The pinned versions of a service, by name."""
        return sorted(version for name, version in self._all() if name == service)

    def add(self, row: PinRow) -> PinRow:
        """Pin it, or return the pin that is there. Raises `ConflictError` if there are too many."""
        key = (row.service, row.version)
        pins = self._all()
        if key in pins:
            return pins[key]
        _refuse_over(len(self.versions(row.service)), MAX_OF_SERVICE, f"of {row.service}")
        _refuse_over(len(pins), MAX_PINS, "in all")
        self._changed[key] = row
        return row

    def remove(self, service: str, version: str) -> PinRow:
        """Unpin it; return the pin that was there. Raises `NotFoundError` if there is none."""
        row = self._all().get((service, version))
        if row is None:
            raise NotFoundError(
                f"version: {version} of {service} is not pinned",
                [{"field": "version", "message": "is not pinned"}],
            )
        self._changed[service, version] = None
        return row

    def _all(self) -> dict[Key, PinRow]:
        merged = {**self._saved, **self._changed}
        return {key: row for key, row in merged.items() if row is not None}


def _refuse_over(count: int, most: int, of: str) -> None:
    if count >= most:
        message = f"{count} versions {of} are pinned already, and {most} may be: unpin one"
        raise ConflictError(f"version: {message}", [{"field": "version", "message": message}])
