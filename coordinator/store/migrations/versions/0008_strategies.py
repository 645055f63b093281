"""How a task goes through its instances, and what each of them ran before."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns: a task that is there has no strategy."""
    for column in (
        sa.Column("strategy", sa.JSON()),
        sa.Column("paused_at", sa.BigInteger()),
        sa.Column("passed", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("bake_until", sa.Double()),
        sa.Column("promoted_by", sa.String(), nullable=False, server_default=""),
        sa.Column("stopped", sa.String(), nullable=False, server_default=""),
        sa.Column("taken_back", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("follows", sa.String(), nullable=False, server_default=""),
        sa.Column("relation", sa.String(), nullable=False, server_default=""),
        sa.Column("led_to", sa.JSON(), nullable=False, server_default="[]"),
    ):
        op.add_column("tasks", column)
    for column in (
        sa.Column("since", sa.BigInteger()),
        sa.Column("left", sa.Double()),
        sa.Column("batch", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("turn", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("let_go", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("guarded", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("unreachable", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("discards", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("target", sa.JSON()),
        sa.Column("ran", sa.JSON()),
    ):
        op.add_column("assignments", column)
