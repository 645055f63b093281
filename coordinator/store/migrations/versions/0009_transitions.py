"""What tasks went through is kept, and the history tells what ran when."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_SEQ = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the table; of what tasks went through before, nothing is known."""
    op.create_table(
        "transitions",
        sa.Column("seq", _SEQ, autoincrement=True, nullable=False),
        sa.Column("task_id", sa.String(), nullable=False),
        sa.Column("instance_id", sa.String(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("phase", sa.String(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["task_id"], ["tasks.task_id"], name="fk_transitions_task_id_tasks"
        ),
        sa.PrimaryKeyConstraint("seq", name="pk_transitions"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_transitions_task_id_seq", "transitions", ["task_id", "seq"])
    op.add_column("history", sa.Column("regressed_at", sa.BigInteger(), nullable=True))
    op.create_index("ix_history_service_instance_id", "history", ["service", "instance_id"])
