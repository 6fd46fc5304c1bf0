"""refused notifications"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

TABLE = "bgtasks_notifications"


def upgrade() -> None:
    op.add_column(TABLE, sa.Column("refused_at", sa.DateTime(timezone=True)))
    op.add_column(TABLE, sa.Column("refusal", sa.Text()))


def downgrade() -> None:
    op.drop_column(TABLE, "refusal")
    op.drop_column(TABLE, "refused_at")
