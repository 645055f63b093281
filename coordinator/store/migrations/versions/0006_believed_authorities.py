"""Which authority has signed each host's certificate, and which ones the host believes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add both columns; of the hosts that are there neither is known until they return."""
    op.add_column(
        "hosts", sa.Column("certified_by", sa.String(), nullable=False, server_default="")
    )
    op.add_column("hosts", sa.Column("believes", sa.JSON(), nullable=False, server_default="[]"))
