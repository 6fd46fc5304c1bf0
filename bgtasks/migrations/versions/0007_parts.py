"""parts"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

REQUESTS = "bgtasks_file_requests"
PARTS = "bgtasks_parts"


def upgrade() -> None:
    op.add_column(REQUESTS, sa.Column("parts_total", sa.Integer()))
    op.add_column(REQUESTS, sa.Column("parts_done", sa.Integer()))
    op.create_table(
        PARTS,
        sa.Column("request_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("range", sa.JSON().with_variant(JSONB(), "postgresql"), nullable=False),
        sa.Column("fence", sa.Integer(), nullable=False),
        sa.Column("leased_by", sa.Text()),
        sa.Column("leased_until", sa.DateTime(timezone=True)),
        sa.Column("dispatch_at", sa.DateTime(timezone=True)),
        sa.Column("dispatches", sa.Integer(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("published_at", sa.DateTime(timezone=True)),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("object_key", sa.Text()),
        sa.Column("size", sa.BigInteger()),
        sa.Column("sha256", sa.Text()),
        sa.PrimaryKeyConstraint("request_id", "number", name="pk_bgtasks_parts"),
        sa.ForeignKeyConstraint(
            ["request_id"],
            [f"{REQUESTS}.id"],
            name="fk_bgtasks_parts_request_id",
            ondelete="CASCADE",
        ),
    )
    for name, column in (("waiting", "dispatch_at"), ("leased", "leased_until")):
        where = sa.text(f"{column} IS NOT NULL")
        options: Any = {"postgresql_where": where, "sqlite_where": where}
        op.create_index(f"ix_{PARTS}_{name}", PARTS, [column], **options)


def downgrade() -> None:
    op.drop_table(PARTS)
    op.drop_column(REQUESTS, "parts_done")
    op.drop_column(REQUESTS, "parts_total")
