"""What the sweeps look for in the table."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, select

from bgtasks import deployment, registry
from bgtasks.models import FileRequest
from bgtasks.requests import BY_HAND

#: Requests that one run looks at.
LIMIT = 1000


def found(order: Any, *due: ColumnElement[bool], limit: int = LIMIT) -> list[FileRequest]:
    """The requests of known types that are due; an unknown type is left to the workers that know it."""
    known = FileRequest.file_type.in_(registry.names()) | FileRequest.leased_by.startswith(BY_HAND)
    query = select(FileRequest).where(known, *due)
    with deployment.current().database.reading() as session:
        return list(session.scalars(query.order_by(order).limit(limit)))
