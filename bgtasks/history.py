"""The append-only history of requests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from bgtasks import tallies
from bgtasks.models import Event, FileRequest
from bgtasks.states import EventKind


def log(session: Session, row: FileRequest, kind: EventKind, *, counted: str | None = None, **entry: Any) -> None:
    """An entry, in the transaction of the change that it tells of.

    :param counted: the word that metrics have for it, where that is not the whole detail.
    :param entry: ``step``, ``actor`` and ``detail``, where the kind has them.
    """
    session.execute(insert(Event).values(request_id=row.id, kind=kind, fence=row.fence, **entry))
    tallies.happens(session, kind, row, counted or entry.get("detail"))


def log_all(session: Session, rows: Sequence[FileRequest], kind: EventKind) -> None:
    """The same entry for each of some rows."""
    entries = [{"request_id": row.id, "kind": kind, "fence": row.fence, "step": ""} for row in rows]
    session.execute(insert(Event.__table__), entries)  # type: ignore[arg-type]
    for row in rows:
        tallies.happens(session, kind, row)


def events_of(session: Session, request_id: str) -> list[Event]:
    """What happened to a request, in order."""
    return list(session.scalars(select(Event).where(Event.request_id == request_id).order_by(Event.id)))
