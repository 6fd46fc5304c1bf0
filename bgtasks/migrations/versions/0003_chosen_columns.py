"""chosen columns"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

TABLE = "bgtasks_file_requests"


def upgrade() -> None:
    op.add_column(TABLE, sa.Column("columns", sa.JSON().with_variant(JSONB(), "postgresql")))


def downgrade() -> None:
    op.drop_column(TABLE, "columns")
