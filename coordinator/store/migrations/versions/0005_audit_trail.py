"""The audit trail: rows that are only added, each with the hash of the one before."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_SEQ = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

_ONLY_ADDED = (
    """
    CREATE TRIGGER audit_is_not_changed BEFORE UPDATE ON audit
    BEGIN SELECT RAISE(ABORT, 'rows of the audit trail are never changed'); END
    """,
    """
    CREATE TRIGGER audit_is_not_inserted_into BEFORE INSERT ON audit
    WHEN NEW.seq <= (SELECT max(seq) FROM audit)
    BEGIN SELECT RAISE(ABORT, 'rows of the audit trail are only added at its end'); END
    """,
    """
    CREATE TRIGGER audit_is_not_removed BEFORE DELETE ON audit
    WHEN OLD.seq > (SELECT value FROM counters WHERE name = 'audit_removed')
    BEGIN SELECT RAISE(ABORT, 'rows of the audit trail are removed for their age only'); END
    """,
)


def upgrade() -> None:
    """Make the table with its counters, and let SQLite refuse what would change its rows."""
    op.create_table(
        "audit",
        sa.Column("seq", _SEQ, autoincrement=False, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("proof", sa.String(), nullable=False),
        sa.Column("who", sa.String(), nullable=False),
        sa.Column("token_id", sa.String(), nullable=False),
        sa.Column("role", sa.String(), nullable=False),
        sa.Column("address", sa.String(), nullable=False),
        sa.Column("operation", sa.String(), nullable=False),
        sa.Column("object_id", sa.String(), nullable=False),
        sa.Column("parameters", sa.JSON(), nullable=False),
        sa.Column("before", sa.JSON(), nullable=False),
        sa.Column("after", sa.JSON(), nullable=False),
        sa.Column("result", sa.String(), nullable=False),
        sa.Column("message", sa.String(), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("prev", sa.String(), nullable=False),
        sa.Column("hash", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_audit"),
    )
    op.create_index("ix_audit_at", "audit", ["at"])
    op.execute("INSERT INTO counters (name, value) VALUES ('audit', 0), ('audit_removed', 0)")
    if op.get_bind().dialect.name == "sqlite":
        for trigger in _ONLY_ADDED:
            op.execute(trigger)
