"""keys that answer for others"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

TABLE = "bgtasks_file_requests"
NOBODYS = "ix_bgtasks_file_requests_file_type_idempotency_key"
COALESCE = "ix_bgtasks_file_requests_coalesce_key"


def upgrade() -> None:
    nobodys = sa.text("requester IS NULL")
    op.create_index(
        NOBODYS,
        TABLE,
        ["file_type", "idempotency_key"],
        unique=True,
        postgresql_where=nobodys,
        sqlite_where=nobodys,
    )
    op.create_index(COALESCE, TABLE, ["coalesce_key"], unique=True)


def downgrade() -> None:
    op.drop_index(COALESCE, TABLE)
    op.drop_index(NOBODYS, TABLE)
