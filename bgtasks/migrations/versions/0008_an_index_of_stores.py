"""an index of the stores that rows name"""

from __future__ import annotations

import contextlib

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

TABLE = "bgtasks_file_requests"
INDEX = f"ix_{TABLE}_stores"
INVALID = "SELECT NOT indisvalid FROM pg_index WHERE indexrelid = to_regclass(:name)"


def upgrade() -> None:
    is_postgresql = op.get_bind().dialect.name == "postgresql"
    where = sa.text("store_url IS NOT NULL")
    # Nobody has to wait: a table of millions is written to all the time.
    with op.get_context().autocommit_block() if is_postgresql else contextlib.nullcontext():
        # What an interrupted run has left half made is made anew.
        if is_postgresql and op.get_bind().scalar(sa.text(INVALID), {"name": INDEX}):
            op.drop_index(INDEX, TABLE, postgresql_concurrently=True)
        op.create_index(
            INDEX,
            TABLE,
            ["store_url"],
            if_not_exists=True,
            postgresql_concurrently=True,
            postgresql_where=where,
            sqlite_where=where,
        )


def downgrade() -> None:
    is_postgresql = op.get_bind().dialect.name == "postgresql"
    with op.get_context().autocommit_block() if is_postgresql else contextlib.nullcontext():
        op.drop_index(INDEX, TABLE, if_exists=True, postgresql_concurrently=True)
