"""How much room the disk of an instance has."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column: what is there is told with the next inventory."""
    op.add_column("instances", sa.Column("free_bytes", sa.BigInteger()))
