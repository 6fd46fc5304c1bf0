"""the first tables"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# Types as they were at this revision: a migration must not change when the models do.
MOMENT = sa.DateTime(timezone=True)
JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "bgtasks_file_requests",
        sa.Column("id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("file_type", sa.Text(), nullable=False),
        sa.Column("format", sa.Text(), nullable=False),
        sa.Column("criteria", JSON, nullable=False),
        sa.Column("requester", sa.Text(), nullable=True),
        sa.Column("requester_email", sa.Text(), nullable=True),
        sa.Column("language", sa.Text(), nullable=True),
        sa.Column("timezone", sa.Text(), nullable=True),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("filename", sa.Text(), nullable=False),
        sa.Column("content_type", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("step", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("fence", sa.Integer(), nullable=False),
        sa.Column("leased_by", sa.Text(), nullable=True),
        sa.Column("leased_until", MOMENT, nullable=True),
        sa.Column("dispatch_at", MOMENT, nullable=True),
        sa.Column("dispatches", sa.Integer(), nullable=False),
        sa.Column("rows_total", sa.BigInteger(), nullable=True),
        sa.Column("rows_written", sa.BigInteger(), nullable=False),
        sa.Column("object_key", sa.Text(), nullable=True),
        sa.Column("size", sa.BigInteger(), nullable=True),
        sa.Column("sha256", sa.Text(), nullable=True),
        sa.Column("error_code", sa.Text(), nullable=True),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.Column("idempotency_key", sa.Text(), nullable=True),
        sa.Column("coalesce_key", sa.Text(), nullable=True),
        sa.Column("token_id", sa.Text(), nullable=True),
        sa.Column("requested_at", MOMENT, nullable=False),
        sa.Column("started_at", MOMENT, nullable=True),
        sa.Column("finished_at", MOMENT, nullable=True),
        sa.Column("expires_at", MOMENT, nullable=True),
        sa.Column("notified_at", MOMENT, nullable=True),
        sa.Column("downloads", sa.Integer(), nullable=False),
        sa.Column("last_downloaded_at", MOMENT, nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_bgtasks_file_requests"),
        sa.UniqueConstraint(
            "requester",
            "file_type",
            "idempotency_key",
            name="uq_bgtasks_file_requests_requester_file_type_idempotency_key",
        ),
    )
    for columns in (
        ["state", "requested_at", "id"],
        ["requester", "requested_at"],
        ["dispatch_at"],
        ["leased_until"],
        ["expires_at"],
    ):
        op.create_index(f"ix_bgtasks_file_requests_{'_'.join(columns)}", "bgtasks_file_requests", columns)

    op.create_table(
        "bgtasks_events",
        sa.Column("id", SERIAL, nullable=False),
        sa.Column("request_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("step", sa.Text(), nullable=False),
        sa.Column("fence", sa.Integer(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=True),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["request_id"], ["bgtasks_file_requests.id"], name="fk_bgtasks_events_request_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_bgtasks_events"),
    )
    op.create_index("ix_bgtasks_events_request_id_id", "bgtasks_events", ["request_id", "id"])

    op.create_table(
        "bgtasks_notifications",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("request_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("recipient", sa.Text(), nullable=False),
        sa.Column("message_id", sa.Text(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("sent_at", MOMENT, nullable=True),
        sa.ForeignKeyConstraint(
            ["request_id"], ["bgtasks_file_requests.id"], name="fk_bgtasks_notifications_request_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_bgtasks_notifications"),
        sa.UniqueConstraint(
            "request_id",
            "event",
            "channel",
            "recipient",
            name="uq_bgtasks_notifications_request_id_event_channel_recipient",
        ),
    )


def downgrade() -> None:
    op.drop_table("bgtasks_notifications")
    op.drop_table("bgtasks_events")
    op.drop_table("bgtasks_file_requests")
