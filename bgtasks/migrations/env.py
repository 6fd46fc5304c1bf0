"""Run by Alembic, with the connection that ``upgrade`` has opened."""

from __future__ import annotations

from alembic import context

from bgtasks.migrations import VERSION_TABLE
from bgtasks.models import FileRequest

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=FileRequest.metadata,
    version_table=VERSION_TABLE,
    compare_type=True,
    render_as_batch=True,
    transaction_per_migration=True,
)
with context.begin_transaction():
    context.run_migrations()
