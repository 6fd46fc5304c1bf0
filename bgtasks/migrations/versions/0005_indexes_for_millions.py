"""indexes for millions of requests"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

Index = tuple[list[str], str | None]

TABLE = "bgtasks_file_requests"
PREFIX = f"ix_{TABLE}_"
WITHOUT_FILE = "state IN ('failed', 'cancelled', 'expired')"
#: By their names: columns, and the rows that are in it (None: all).
OLD = {
    "coalesce_key": (["coalesce_key"], None),
    "requester_requested_at": (["requester", "requested_at"], None),
    "dispatch_at": (["dispatch_at"], None),
    "leased_until": (["leased_until"], None),
    "expires_at": (["expires_at"], None),
}
NEW = {
    "coalescing": (["coalesce_key"], "coalesce_key IS NOT NULL"),
    "waiting": (["file_type", "dispatch_at"], "dispatch_at IS NOT NULL"),
    "leased": (["leased_until"], "leased_until IS NOT NULL"),
    "ready_until": (["expires_at"], "state = 'ready'"),
    "expired": (["file_type", "expires_at"], "state = 'expired'"),
    "without_file": (["file_type", "finished_at"], "state IN ('failed', 'cancelled')"),
    "leftovers": (["id"], f"object_key IS NOT NULL AND {WITHOUT_FILE}"),
    "live": (["requester", "file_type"], "state IN ('pending', 'running')"),
    "ready": (["file_type", "requested_at"], "state = 'ready'"),
    "requesters": (["requester", "requested_at", "id"], "requester IS NOT NULL"),
    "file_type_requested_at_id": (["file_type", "requested_at", "id"], None),
}
UNIQUE = ("coalesce_key", "coalescing")


def upgrade() -> None:
    _replace(OLD, NEW)


def downgrade() -> None:
    _replace(NEW, OLD)


def _replace(old: Mapping[str, Index], new: Mapping[str, Index]) -> None:
    """Make the new indexes first: at no time is a query without one, or a key without its guard."""
    is_postgresql = op.get_bind().dialect.name == "postgresql"
    # Nobody has to wait: a table of millions is written to all the time.
    with op.get_context().autocommit_block() if is_postgresql else contextlib.nullcontext():
        # What an interrupted run has left half made is made anew. What it has finished stays: the old ones may be gone.
        for name in _invalid() & new.keys() if is_postgresql else ():
            _drop(name)
        for name, (columns, condition) in new.items():
            where = None if condition is None else sa.text(condition)
            options: dict[str, Any] = {"unique": name in UNIQUE, "postgresql_where": where, "sqlite_where": where}
            op.create_index(PREFIX + name, TABLE, columns, postgresql_concurrently=True, if_not_exists=True, **options)
        for name in old:
            _drop(name)


def _invalid() -> set[str]:
    """The names of the indexes that PostgreSQL does not use, since it could not finish them."""
    query = "SELECT indexrelid::regclass::text FROM pg_index WHERE NOT indisvalid AND indrelid = CAST(:t AS regclass)"
    found = op.get_bind().scalars(sa.text(query), {"t": TABLE})
    return {name.rpartition(".")[2].removeprefix(PREFIX) for name in found}


def _drop(name: str) -> None:
    op.drop_index(PREFIX + name, TABLE, if_exists=True, postgresql_concurrently=True)
