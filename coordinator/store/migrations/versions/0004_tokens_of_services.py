"""Tokens that see and act on some services only."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the patterns; tokens that are there are not restricted."""
    op.add_column("tokens", sa.Column("services", sa.JSON(), nullable=False, server_default="[]"))
