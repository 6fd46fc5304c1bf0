"""Forgetting a person: their requests go, and other people's keep no trace of them.

What only a look at every row can tell, such as where they have downloaded somebody else's file, is read in one
pass that holds no lock, and changed a batch at a time.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, case, delete, func, null, or_, select, tuple_, update

from bgtasks.database import later
from bgtasks.models import Event, FileRequest, Notification
from bgtasks.pacing import uninterrupted
from bgtasks.requests.writer import NEXT_FENCE, UNLEASED, Writer
from bgtasks.states import ENDED, LIVE, EventKind, State

BATCH = 100  # rows that are changed in one transaction
#: Who did it, where that person is forgotten.
SOMEBODY = "(forgotten)"

_UNCHANGED: dict[str, Any] = {"synchronize_session": False}


@dataclass(frozen=True)
class Erased:
    """What went with the row of one request."""

    events: int
    notifications: int


class Forgetting(Writer):
    """The record's side of ``toolbox.forget``."""

    def number_of(self, requester: str) -> int:
        """How many requests somebody has."""
        own = select(func.count()).select_from(FileRequest).where(FileRequest.requester == requester)
        with self._database.reading() as session:
            return session.scalar(own) or 0

    def all_of(self, requester: str) -> Iterator[FileRequest]:
        """Somebody's requests, the oldest first, a batch at a time; none of them twice."""
        own = select(FileRequest).where(FileRequest.requester == requester)
        place = tuple_(FileRequest.requested_at, FileRequest.id)
        oldest = own.order_by(FileRequest.requested_at, FileRequest.id).limit(BATCH)
        page = self._rows(oldest)
        while page:
            yield from page
            page = self._rows(oldest.where(place > (page[-1].requested_at, page[-1].id)))

    def withdraw(self, seen: FileRequest, actor: str | None = None) -> FileRequest | None:
        """Before a request is erased: nobody works on it any more, and no link to its file works. None: it is gone.

        Until it is erased, ``clean`` sees to its object.
        """
        state = FileRequest.state
        withdrawn = {
            "state": case((state.in_(LIVE), State.CANCELLED), (state == State.READY, State.EXPIRED), else_=state),
            "finished_at": func.coalesce(FileRequest.finished_at, later()),
            **dict.fromkeys(("token_id", "coalesce_key", "idempotency_key", "dispatch_at")),
            **UNLEASED,
            **NEXT_FENCE,
        }
        theirs = FileRequest.requester == seen.requester
        return self._change(seen.id, theirs, values=withdrawn, events=(EventKind.FORGOTTEN,), actor=actor)

    def erase(self, withdrawn: FileRequest) -> Erased | None:
        """Remove a withdrawn request whose file is gone: its row, history and ledger. None: it goes on, or is gone."""
        own = Event.request_id == withdrawn.id, Notification.request_id == withdrawn.id
        same = FileRequest.id == withdrawn.id, FileRequest.fence == withdrawn.fence
        row = delete(FileRequest).where(*same, FileRequest.state.in_(ENDED), FileRequest.leased_by.is_(None))
        with uninterrupted(), self._database.writing() as session:
            events, lines = (session.scalar(select(func.count()).where(theirs)) or 0 for theirs in own)
            gone = session.execute(row, execution_options=_UNCHANGED).rowcount  # type: ignore[attr-defined]
        return Erased(events, lines) if gone else None

    def anonymise_events(self, requester: str) -> Iterator[int]:
        """Take somebody out of the history of other people's requests; how many entries, for each batch.

        That a file was downloaded, and when, is its requester's business: by whom and from where is not kept.
        """
        # An address is in the detail of a download alone.
        detail = case((Event.kind == EventKind.DOWNLOADED, null()), else_=Event.detail)
        for ids in self._hits(select(Event.id).where(Event.actor == requester)):
            changed = update(Event).where(Event.id.in_(ids)).values(actor=SOMEBODY, detail=detail)
            yield self._count_changed(changed)

    def anonymise_notifications(self, addresses: Collection[str]) -> Iterator[int]:
        """Take somebody's addresses out of the ledger of other people's requests."""
        for ids in self._hits(select(Notification.id).where(_is_any(Notification.recipient, addresses))):
            with uninterrupted(), self._database.writing() as session:
                # A recipient is unique: two who are forgotten may have been told of the same file.
                for id in ids:
                    line = update(Notification).where(Notification.id == id)
                    session.execute(line.values(recipient=_somebody(id)), execution_options=_UNCHANGED)
            yield len(ids)

    def anonymise_recipients(self, requester: str, addresses: Collection[str]) -> Iterator[int]:
        """Take somebody's addresses from other people's requests, which tell them no more."""
        others = or_(FileRequest.requester.is_(None), FileRequest.requester != requester)
        theirs = select(FileRequest.id).where(_is_any(FileRequest.requester_email, addresses), others)
        for ids in self._hits(theirs):
            yield self._count_changed(update(FileRequest).where(FileRequest.id.in_(ids)).values(requester_email=None))

    def _rows(self, query: Select[Any]) -> list[FileRequest]:
        with self._database.reading() as session:
            return list(session.scalars(query))

    def _hits(self, query: Select[Any]) -> Iterator[list[Any]]:
        with self._database.streaming() as connection:
            for page in connection.execute(query).scalars().partitions(BATCH):
                yield list(page)

    def _count_changed(self, statement: Any) -> int:
        with uninterrupted(), self._database.writing() as session:
            return int(session.execute(statement, execution_options=_UNCHANGED).rowcount)  # type: ignore[attr-defined]


def _is_any(column: Any, addresses: Collection[str]) -> ColumnElement[bool]:
    """Addresses are the same in capitals."""
    return func.lower(column).in_([address.lower() for address in addresses])


def _somebody(line: UUID) -> str:
    return f"{SOMEBODY} {line.hex}"
