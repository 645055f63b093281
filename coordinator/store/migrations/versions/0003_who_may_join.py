"""Who may join: states of hosts, their keys and protocol, and how often a join token is good."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Every host that is there has joined; join tokens that are there keep no count."""
    for column in (
        sa.Column("state", sa.String(), nullable=False, server_default="joined"),
        sa.Column("state_since", sa.BigInteger()),
        sa.Column("fingerprint", sa.String(), nullable=False, server_default=""),
        sa.Column("token_id", sa.String(), nullable=False, server_default=""),
        sa.Column("generation", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("protocol_major", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("protocol_minor", sa.Integer(), nullable=False, server_default="0"),
    ):
        op.add_column("hosts", column)
    for column in (
        sa.Column("host_id", sa.String(), nullable=False, server_default=""),
        sa.Column("uses", sa.Integer()),
        sa.Column("used", sa.Integer(), nullable=False, server_default="0"),
    ):
        op.add_column("tokens", column)
    op.create_table(
        "token_uses",
        sa.Column("token_id", sa.String(), nullable=False),
        sa.Column("host_id", sa.String(), nullable=False),
        sa.Column("fingerprint", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("token_id", "host_id", "fingerprint", name="pk_token_uses"),
        sqlite_with_rowid=False,
    )
