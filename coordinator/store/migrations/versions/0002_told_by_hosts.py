"""What hosts tell of their past: how much of it is known, and which rows of history it made."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add both columns; what is there was told by nobody's past."""
    op.add_column(
        "hosts", sa.Column("past_number", sa.BigInteger(), nullable=False, server_default="0")
    )
    op.add_column(
        "history", sa.Column("told_attempt", sa.Integer(), nullable=False, server_default="0")
    )
