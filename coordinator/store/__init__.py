"""The store: the one memory of tasks, behind `coordinator.ports.Store`."""

from __future__ import annotations

from coordinator.store.migrate import SchemaError
from coordinator.store.sql import SqlStore

__all__ = ["SchemaError", "SqlStore"]
