"""The first schema."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_SEQ = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make all tables and the counter of events."""
    _tasks()
    _fleet()
    _access()


def _tasks() -> None:
    op.create_table(
        "tasks",
        sa.Column("seq", _SEQ, autoincrement=True, nullable=False),
        sa.Column("task_id", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("service", sa.String(), nullable=False),
        sa.Column("version", sa.String(), nullable=False),
        sa.Column("timeout", sa.Integer(), nullable=False),
        sa.Column("retry_count", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.Column("package_url", sa.String(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("use_retained", sa.Boolean(), nullable=False),
        sa.Column("force", sa.Boolean(), nullable=False),
        sa.Column("rollback_type", sa.String(), nullable=False),
        sa.Column("fingerprint", sa.String(), nullable=False),
        sa.Column("completed_at", sa.BigInteger()),
        sa.Column("cancelled_at", sa.BigInteger()),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.Column("completed", sa.Integer(), nullable=False),
        sa.Column("failed", sa.Integer(), nullable=False),
        sa.Column("cancelled", sa.Integer(), nullable=False),
        sa.Column("pending", sa.Integer(), nullable=False),
        sa.Column("in_progress", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_tasks"),
        sa.UniqueConstraint("task_id", name="uq_tasks_task_id"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_tasks_kind_seq", "tasks", ["kind", "seq"])
    op.create_index("ix_tasks_kind_service_seq", "tasks", ["kind", "service", "seq"])
    op.create_index("ix_tasks_kind_created_at", "tasks", ["kind", "created_at"])
    op.create_index("ix_tasks_service_version_seq", "tasks", ["service", "version", "seq"])
    op.create_index("ix_tasks_state", "tasks", ["state"])
    op.create_table(
        "assignments",
        sa.Column("task_id", sa.String(), nullable=False),
        sa.Column("instance_id", sa.String(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("phase", sa.String(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("started_at", sa.BigInteger()),
        sa.Column("completed_at", sa.BigInteger()),
        sa.Column("deadline", sa.Double()),
        sa.Column("retry_at", sa.Double()),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("error", sa.String(), nullable=False),
        sa.Column("receipt", sa.String()),
        sa.Column("cancel_asked", sa.Boolean(), nullable=False),
        sa.Column("blocked_by", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("task_id", "instance_id", name="pk_assignments"),
        sa.ForeignKeyConstraint(
            ["task_id"], ["tasks.task_id"], name="fk_assignments_task_id_tasks"
        ),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "holds",
        sa.Column("instance_id", sa.String(), nullable=False),
        sa.Column("task_id", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("instance_id", name="pk_holds"),
        sa.ForeignKeyConstraint(["task_id"], ["tasks.task_id"], name="fk_holds_task_id_tasks"),
        sqlite_with_rowid=False,
    )


def _fleet() -> None:
    op.create_table(
        "history",
        sa.Column("seq", _SEQ, autoincrement=True, nullable=False),
        sa.Column("instance_id", sa.String(), nullable=False),
        sa.Column("service", sa.String(), nullable=False),
        sa.Column("version", sa.String(), nullable=False),
        sa.Column("action", sa.String(), nullable=False),
        sa.Column("task_id", sa.String(), nullable=False),
        sa.Column("timestamp", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_history"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_history_instance_id_seq", "history", ["instance_id", "seq"])
    op.create_table(
        "instances",
        sa.Column("instance_id", sa.String(), nullable=False),
        sa.Column("host_id", sa.String(), nullable=False),
        sa.Column("service", sa.String(), nullable=False),
        sa.Column("address", sa.String(), nullable=False),
        sa.Column("port", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("version", sa.String(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("metadata", sa.JSON(), nullable=False),
        sa.Column("retained", sa.JSON(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("instance_id", name="pk_instances"),
    )
    op.create_table(
        "hosts",
        sa.Column("host_id", sa.String(), nullable=False),
        sa.Column("joined_at", sa.BigInteger(), nullable=False),
        sa.Column("agent_version", sa.String(), nullable=False),
        sa.Column("address", sa.String(), nullable=False),
        sa.Column("last_seen", sa.BigInteger()),
        sa.PrimaryKeyConstraint("host_id", name="pk_hosts"),
    )
    op.create_table(
        "events",
        sa.Column("seq", _SEQ, autoincrement=False, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("data", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_events"),
    )
    counters = op.create_table(
        "counters",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("value", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_counters"),
    )
    op.bulk_insert(counters, [{"name": "events", "value": 0}])


def _access() -> None:
    op.create_table(
        "tokens",
        sa.Column("seq", _SEQ, autoincrement=True, nullable=False),
        sa.Column("token_id", sa.String(), nullable=False),
        sa.Column("role", sa.String(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger()),
        sa.Column("last_used_at", sa.BigInteger()),
        sa.Column("revoked_at", sa.BigInteger()),
        sa.PrimaryKeyConstraint("seq", name="pk_tokens"),
        sa.UniqueConstraint("token_id", name="uq_tokens_token_id"),
        sa.UniqueConstraint("digest", name="uq_tokens_digest"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "clock",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("boot", sa.String(), nullable=False),
        sa.Column("boottime", sa.Double(), nullable=False),
        sa.Column("wall", sa.BigInteger(), nullable=False),
        sa.Column("steady", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_clock"),
    )
