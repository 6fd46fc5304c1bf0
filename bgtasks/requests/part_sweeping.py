"""What the sweeps do with parts that nobody goes on with."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, delete, exists, literal_column, or_, select, type_coerce
from sqlalchemy.orm import Session

from bgtasks.claims import DIVIDED, about
from bgtasks.database import later, steady_later
from bgtasks.history import log
from bgtasks.models import FileRequest, Part
from bgtasks.requests.part_writer import (
    AS_IT_IS,
    OUT,
    PartWriter,
    Standing,
    is_out,
    named,
    out_as,
    set_part,
    set_request,
)
from bgtasks.requests.sweeping import WORKER_LOST
from bgtasks.requests.writer import NEXT_FENCE, UNLEASED, failed, said_to
from bgtasks.states import LIVE, EventKind
from bgtasks.tables import UtcDateTime

#: Parts, or requests that have some, that one look of a sweep finds.
LIMIT = 2000


@dataclass(frozen=True)
class WaitingPart:
    """A part that waits for a worker."""

    file_request: FileRequest
    part: Part
    is_due: bool  #: whether nobody believes in its message any more
    now: datetime  #: by the database's clock

    @property
    def has_message(self) -> bool:
        """Whether one was published: a part that was handed back has none for a while."""
        return self.part.published_at is not None

    @property
    def seconds(self) -> float:
        """How long it has waited for its message to be taken."""
        published = self.part.published_at
        return 0.0 if published is None else (self.now - published).total_seconds()


class PartSweeping(PartWriter):
    """The sweeps' side of parts."""

    def waiting(self, file_types: Collection[str], patience: float) -> list[WaitingPart]:
        """The parts that wait for a worker, and should have found one.

        :param file_types: of these alone: the others are left to the workers that know them.
        :param patience: seconds after which a message that was published is missed, if its queue is empty; those are
            not due yet.
        """
        missed = Part.published_at <= steady_later(-patience)
        is_due = Part.dispatch_at <= steady_later()
        columns = FileRequest, Part, is_due, type_coerce(later(), UtcDateTime())
        query = select(*columns).join(FileRequest, FileRequest.id == Part.request_id)
        query = query.where(*_out_of(file_types), Part.dispatch_at.is_not(None), or_(is_due, missed))
        with self._database.reading() as session:
            found = session.execute(query.order_by(Part.dispatch_at).limit(LIMIT))
            return [WaitingPart(row, part, bool(due), now) for row, part, due, now in found]

    def lapsed(self, file_types: Collection[str]) -> list[tuple[FileRequest, Part]]:
        """The parts whose workers give no sign of life, each with its request.

        :param file_types: of these alone.
        """
        query = select(FileRequest, Part).join(FileRequest, FileRequest.id == Part.request_id)
        query = query.where(*_out_of(file_types), Part.leased_until <= steady_later()).order_by(Part.leased_until)
        with self._database.reading() as session:
            return [(row, part) for row, part in session.execute(query.limit(LIMIT))]

    def left_over(self) -> Iterator[FileRequest]:
        """Requests that have ended, and have parts that nobody wants any more; none of them twice."""
        divided = select(Part.request_id).distinct().order_by(Part.request_id).limit(LIMIT)
        ids = self._all(divided)
        while ids:
            yield from self._all(select(FileRequest).where(FileRequest.id.in_(ids), FileRequest.state.not_in(LIVE)))
            ids = self._all(divided.where(Part.request_id > ids[-1]))

    def _all(self, query: Select[Any]) -> list[Any]:
        with self._database.reading() as session:
            return list(session.scalars(query))

    def recover(
        self, row: FileRequest, seen: Part, lost: str | None = None, queue: str | None = None
    ) -> Standing | None:
        """Take a part over from a dead worker, or fail its request when that was tried too often. None: it lives.

        :param lost: the owner that is known to be dead; None: whoever has let the lease lapse.
        :param queue: where the request goes on, since this has run out of memory; None: where it was.
        """
        dead = Part.leased_until <= later() if lost is None else Part.leased_by == lost
        freed = {"fence": Part.fence + 1, "attempts": Part.attempts + 1, **UNLEASED, "dispatches": 0}
        moved = {"fence": FileRequest.fence} if queue is None else {"queue": queue}
        with self._database.writing() as session:
            # The request first, as whoever ends a part does it: two who begin elsewhere could wait for each other.
            request = set_request(session, moved, *out_as(row))
            same = *named(row.id, seen.number), Part.fence == seen.fence, dead
            part = None if request is None else set_part(session, {**freed, **self._is_published()}, *same)
            if request is None or part is None:
                session.rollback()  # where it goes on, too
                return None
            if part.attempts >= self._settings.max_attempts:
                return self._given_up(session, request)
            log(session, request, EventKind.RECOVERED, step=DIVIDED, detail=_lost(seen, row, queue))
            return Standing(request, [part])

    def _given_up(self, session: Session, row: FileRequest) -> Standing | None:
        """One part was lost again and again: there will be no file."""
        code = "worker_lost"
        ended = {**failed(code, said_to(row, WORKER_LOST)), **NEXT_FENCE, **self._waiting(True)}
        given_up = set_request(session, ended, *out_as(row))
        if given_up is None:
            return None
        log(session, given_up, EventKind.FAILED, step=DIVIDED, detail=code)
        return Standing(given_up)

    def dispatch(self, row: FileRequest, seen: Part, delay: float | None = None) -> Part | None:
        """Before a part's message is published again. None: it waits no more.

        :param delay: seconds for which that is believed in (default: the usual time).
        """
        published = self._is_published() | ({} if delay is None else {"dispatch_at": later(delay)})
        with self._database.writing() as session:
            part = self._still_waiting(session, row, seen, {**published, "dispatches": Part.dispatches + 1})
            if part is not None:
                log(session, row, EventKind.DISPATCHED, step=DIVIDED, detail=f"part {part.number + 1}")
        return part

    def postpone(self, row: FileRequest, seen: Part) -> Part | None:
        """Believe for a while more in a message that may still be in its queue. None: it waits no more."""
        with self._database.writing() as session:
            return self._still_waiting(session, row, seen, {"dispatch_at": later(self._settings.patience)})

    @staticmethod
    def _still_waiting(session: Session, row: FileRequest, seen: Part, values: Mapping[str, Any]) -> Part | None:
        same = Part.fence == seen.fence, Part.dispatches == seen.dispatches, Part.dispatch_at.is_not(None)
        return set_part(session, values, *named(row.id, seen.number), *same, is_out(row.fence))

    def unwanted(self, seen: FileRequest) -> list[Part]:
        """The parts of a request that was seen to be without use for them; none, if it has gone on since."""
        with self._database.reading() as session:
            return list(session.scalars(select(Part).where(*_of(seen))))

    def drop(self, seen: FileRequest) -> None:
        """Forget those parts, once their objects are gone."""
        with self._database.writing() as session:
            session.execute(delete(Part).where(*_of(seen)), execution_options=AS_IT_IS)


def _of(seen: FileRequest) -> tuple[ColumnElement[bool], ...]:
    # After a retry the parts are others.
    same = FileRequest.id == Part.request_id, FileRequest.fence == seen.fence
    return Part.request_id == seen.id, exists(select(literal_column("1")).where(*same).correlate(Part))


def _out_of(file_types: Collection[str]) -> tuple[ColumnElement[bool], ...]:
    # An expression, for which there is no index: SQLite would walk along all requests of these types, ended ones too.
    return *OUT, FileRequest.file_type.concat("").in_(file_types)


def _lost(seen: Part, row: FileRequest, queue: str | None) -> str:
    """What the history says."""
    detail = f"{about(seen.number)}{seen.leased_by}"
    return detail if queue in (None, row.queue) else f"{detail}: out of memory, goes on in {queue}"
