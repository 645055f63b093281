"""Ids of tasks that nobody named: they grow with time."""

from __future__ import annotations

from ulid import ULID


def new_id() -> str:
    """Return an id that no other task has."""
    return str(ULID())
