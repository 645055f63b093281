"""Alembic runs this for every command: it uses the connection that it is handed.

The caller holds the transaction, so that a migration happens as a whole or not at all.
"""

from __future__ import annotations

from alembic import context

from coordinator.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
