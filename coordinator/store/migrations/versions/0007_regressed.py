"""Which assignments had completed and then regressed while their hosts watched."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; of what is there nothing was watched."""
    op.add_column(
        "assignments",
        sa.Column("regressed", sa.Boolean(), nullable=False, server_default=sa.false()),
    )
