"""The tables, as SQLAlchemy Core metadata: the newest schema that the migrations lead to.

Plain portable SQL: no type, default or constraint that only one database has. Times are
UTC microseconds in an integer, so that they come back exact and with their zone.
What a list or a count needs of a task stands in the task's own row.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    UniqueConstraint,
    false,
)
from sqlalchemy.types import TypeDecorator

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class UtcTime(TypeDecorator[datetime]):
    """A moment, kept as microseconds since 1970 in UTC. Raises ValueError without a zone."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Any) -> int | None:
        """The number that is stored."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value.isoformat()} has no time zone")
        return (value - _EPOCH) // _MICROSECOND

    def process_result_value(self, value: Any | None, dialect: Any) -> datetime | None:
        """The moment, in UTC."""
        return None if value is None else _EPOCH + int(value) * _MICROSECOND


metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

_SEQ = BigInteger().with_variant(Integer, "sqlite")

tasks = Table(
    "tasks",
    metadata,
    Column("seq", _SEQ, primary_key=True, autoincrement=True),
    Column("task_id", String, nullable=False),
    Column("kind", String, nullable=False),
    Column("service", String, nullable=False),
    Column("version", String, nullable=False),
    Column("timeout", Integer, nullable=False),
    Column("retry_count", Integer, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("updated_at", UtcTime, nullable=False),
    Column("package_url", String, nullable=False),
    Column("digest", String, nullable=False),
    Column("use_retained", Boolean, nullable=False),
    Column("force", Boolean, nullable=False),
    Column("rollback_type", String, nullable=False),
    Column("fingerprint", String, nullable=False),
    Column("completed_at", UtcTime),
    Column("cancelled_at", UtcTime),
    Column("revision", Integer, nullable=False),
    Column("state", String, nullable=False),
    Column("total", Integer, nullable=False),
    Column("completed", Integer, nullable=False),
    Column("failed", Integer, nullable=False),
    Column("cancelled", Integer, nullable=False),
    Column("pending", Integer, nullable=False),
    Column("in_progress", Integer, nullable=False),
    Column("strategy", JSON(none_as_null=True)),
    Column("paused_at", UtcTime),
    Column("passed", Integer, nullable=False, server_default="0"),
    Column("bake_until", Double),
    Column("promoted_by", String, nullable=False, server_default=""),
    Column("stopped", String, nullable=False, server_default=""),
    Column("taken_back", Boolean, nullable=False, server_default=false()),
    Column("follows", String, nullable=False, server_default=""),
    Column("relation", String, nullable=False, server_default=""),
    Column("led_to", JSON, nullable=False, server_default="[]"),
    UniqueConstraint("task_id"),
    Index(None, "kind", "seq"),
    Index(None, "kind", "service", "seq"),
    Index(None, "kind", "created_at"),
    Index(None, "service", "version", "seq"),
    Index(None, "state"),
    sqlite_autoincrement=True,
)
"""A task. `seq` grows with every new one; the counts are of its parts."""

assignments = Table(
    "assignments",
    metadata,
    Column("task_id", String, ForeignKey("tasks.task_id"), primary_key=True),
    Column("instance_id", String, primary_key=True),
    Column("position", Integer, nullable=False),
    Column("phase", String, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("started_at", UtcTime),
    Column("completed_at", UtcTime),
    Column("deadline", Double),
    Column("retry_at", Double),
    Column("reason", String, nullable=False),
    Column("error", String, nullable=False),
    Column("receipt", String),
    Column("cancel_asked", Boolean, nullable=False),
    Column("blocked_by", String, nullable=False),
    Column("regressed", Boolean, nullable=False, server_default=false()),
    Column("since", UtcTime),
    Column("left", Double),
    Column("batch", Integer, nullable=False, server_default="0"),
    Column("turn", Integer, nullable=False, server_default="0"),
    Column("let_go", Boolean, nullable=False, server_default=false()),
    Column("guarded", Boolean, nullable=False, server_default=false()),
    Column("unreachable", Boolean, nullable=False, server_default=false()),
    Column("discards", Integer, nullable=False, server_default="0"),
    Column("target", JSON(none_as_null=True)),
    Column("ran", JSON(none_as_null=True)),
    sqlite_with_rowid=False,
)
"""One task's part on one instance; `position` is its place in the request."""

transitions = Table(
    "transitions",
    metadata,
    Column("seq", _SEQ, primary_key=True, autoincrement=True),
    Column("task_id", String, ForeignKey("tasks.task_id"), nullable=False),
    Column("instance_id", String, nullable=False),
    Column("at", UtcTime, nullable=False),
    Column("phase", String, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("reason", String, nullable=False),
    Index(None, "task_id", "seq"),
    sqlite_autoincrement=True,
)
"""Every phase and attempt that an assignment entered, in the order in which they did."""

holds = Table(
    "holds",
    metadata,
    Column("instance_id", String, primary_key=True),
    Column("task_id", String, ForeignKey("tasks.task_id"), nullable=False),
    sqlite_with_rowid=False,
)
"""Which unfinished task has an instance: the key allows one."""

history = Table(
    "history",
    metadata,
    Column("seq", _SEQ, primary_key=True, autoincrement=True),
    Column("instance_id", String, nullable=False),
    Column("service", String, nullable=False),
    Column("version", String, nullable=False),
    Column("action", String, nullable=False),
    Column("task_id", String, nullable=False),
    Column("timestamp", UtcTime, nullable=False),
    Column("status", String, nullable=False),
    Column("reason", String, nullable=False),
    Column("told_attempt", Integer, nullable=False, server_default="0"),
    Column("regressed_at", UtcTime),
    Index(None, "instance_id", "seq"),
    Index(None, "service", "instance_id"),
    sqlite_autoincrement=True,
)
"""One row for each assignment that ended, in the order in which they did."""

instances = Table(
    "instances",
    metadata,
    Column("instance_id", String, primary_key=True),
    Column("host_id", String, nullable=False),
    Column("service", String, nullable=False),
    Column("address", String, nullable=False),
    Column("port", Integer, nullable=False),
    Column("status", String, nullable=False),
    Column("version", String, nullable=False),
    Column("digest", String, nullable=False),
    Column("reason", String, nullable=False),
    Column("metadata", JSON, nullable=False),
    Column("retained", JSON, nullable=False),
    Column("fetched", JSON, nullable=False, server_default="[]"),
    Column("updated_at", UtcTime, nullable=False),
    Column("free_bytes", BigInteger),
)
"""Every instance as its agent last reported it."""

hosts = Table(
    "hosts",
    metadata,
    Column("host_id", String, primary_key=True),
    Column("joined_at", UtcTime, nullable=False),
    Column("agent_version", String, nullable=False),
    Column("address", String, nullable=False),
    Column("last_seen", UtcTime),
    Column("past_number", BigInteger, nullable=False, server_default="0"),
    Column("state", String, nullable=False, server_default="joined"),
    Column("state_since", UtcTime),
    Column("fingerprint", String, nullable=False, server_default=""),
    Column("token_id", String, nullable=False, server_default=""),
    Column("generation", Integer, nullable=False, server_default="0"),
    Column("protocol_major", Integer, nullable=False, server_default="0"),
    Column("protocol_minor", Integer, nullable=False, server_default="0"),
    Column("certified_by", String, nullable=False, server_default=""),
    Column("believes", JSON, nullable=False, server_default="[]"),
)
"""Every host that joined, or of which an operator has decided."""

pins = Table(
    "pins",
    metadata,
    Column("service", String, primary_key=True),
    Column("version", String, primary_key=True),
    Column("created_at", UtcTime, nullable=False),
    Column("created_by", String, nullable=False),
    sqlite_with_rowid=False,
)
"""Versions that hosts keep on disk whatever else they remove there."""

events = Table(
    "events",
    metadata,
    Column("seq", _SEQ, primary_key=True, autoincrement=False),
    Column("at", UtcTime, nullable=False),
    Column("kind", String, nullable=False),
    Column("data", JSON, nullable=False),
)
"""The newest changes, for the event stream."""

counters = Table(
    "counters",
    metadata,
    Column("name", String, primary_key=True),
    Column("value", BigInteger, nullable=False),
)
"""The last number given. Its row is locked until the commit, so that numbers become
visible in their order even when several coordinators write."""

tokens = Table(
    "tokens",
    metadata,
    Column("seq", _SEQ, primary_key=True, autoincrement=True),
    Column("token_id", String, nullable=False),
    Column("role", String, nullable=False),
    Column("digest", String, nullable=False),
    Column("name", String, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("expires_at", UtcTime),
    Column("last_used_at", UtcTime),
    Column("revoked_at", UtcTime),
    Column("host_id", String, nullable=False, server_default=""),
    Column("uses", Integer),
    Column("used", Integer, nullable=False, server_default="0"),
    Column("services", JSON, nullable=False, server_default="[]"),
    UniqueConstraint("token_id"),
    UniqueConstraint("digest"),
    sqlite_autoincrement=True,
)
"""Access tokens by digest: the secrets are nowhere."""

token_uses = Table(
    "token_uses",
    metadata,
    Column("token_id", String, primary_key=True),
    Column("host_id", String, primary_key=True),
    Column("fingerprint", String, primary_key=True),
    sqlite_with_rowid=False,
)
"""Which host with which key each join token has let in: a repeat is no other use."""

clock = Table(
    "clock",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("boot", String, nullable=False),
    Column("boottime", Double, nullable=False),
    Column("wall", UtcTime, nullable=False),
    Column("steady", Double, nullable=False),
)
"""The clock's anchor: one row, with the id 1."""

audit = Table(
    "audit",
    metadata,
    Column("seq", _SEQ, primary_key=True, autoincrement=False),
    Column("at", UtcTime, nullable=False),
    Column("proof", String, nullable=False),
    Column("who", String, nullable=False),
    Column("token_id", String, nullable=False),
    Column("role", String, nullable=False),
    Column("address", String, nullable=False),
    Column("operation", String, nullable=False),
    Column("object_id", String, nullable=False),
    Column("parameters", JSON, nullable=False),
    Column("before", JSON, nullable=False),
    Column("after", JSON, nullable=False),
    Column("result", String, nullable=False),
    Column("message", String, nullable=False),
    Column("count", BigInteger, nullable=False),
    Column("prev", String, nullable=False),
    Column("hash", String, nullable=False),
    Index(None, "at"),
)
"""Who asked for what, and what came of it. Rows are only added; in SQLite, triggers hold that."""

EVENTS_COUNTER = "events"
"""The row of `counters` that numbers events; the first migration makes it."""

AUDIT_COUNTER = "audit"
"""The row of `counters` that numbers rows of `audit`."""

AUDIT_REMOVED_COUNTER = "audit_removed"
"""The row of `counters` that says up to which number rows of `audit` may be removed."""
