"""What hosts keep on disk: pinned versions, and releases that were fetched ahead of time."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table and add the column; nothing is pinned, and nothing fetched ahead of time."""
    op.add_column("instances", sa.Column("fetched", sa.JSON(), nullable=False, server_default="[]"))
    op.create_table(
        "pins",
        sa.Column("service", sa.String(), nullable=False),
        sa.Column("version", sa.String(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("created_by", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("service", "version", name="pk_pins"),
        sqlite_with_rowid=False,
    )
