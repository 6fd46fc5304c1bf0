"""queues, stores and sweeps"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

TABLE = "bgtasks_file_requests"
SWEEPS = "bgtasks_sweeps"


def upgrade() -> None:
    op.add_column(TABLE, sa.Column("queue", sa.Text()))
    op.add_column(TABLE, sa.Column("store_url", sa.Text()))
    op.create_table(
        SWEEPS,
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("ran_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_bgtasks_sweeps"),
    )


def downgrade() -> None:
    op.drop_table(SWEEPS)
    op.drop_column(TABLE, "store_url")
    op.drop_column(TABLE, "queue")
