"""What the sweeps do with parts that nobody goes on with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import ColumnElement, delete, exists, literal_column, or_, select
from sqlalchemy.orm import Session

from bgtasks.claims import about
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

#: Parts that one run of a sweep looks at.
LIMIT = 2000
#: The step that is done in parts.
WRITE = "write_bytes"


class PartSweeping(PartWriter):
    """The sweeps' side of parts."""

    def waiting(self, patience: float) -> list[tuple[FileRequest, Part, bool]]:
        """The parts that wait for a worker, and should have found one: each with its request, and whether it is due.

        :param patience: seconds after which a message that was published is missed, if its queue is empty; those are
            not due yet.
        """
        missed = Part.published_at <= steady_later(-patience)
        is_due = Part.dispatch_at <= steady_later()
        query = select(FileRequest, Part, is_due).join(FileRequest, FileRequest.id == Part.request_id)
        query = query.where(*OUT, Part.dispatch_at.is_not(None), or_(is_due, missed)).order_by(Part.dispatch_at)
        with self._database.reading() as session:
            return [(row, part, bool(due)) for row, part, due in session.execute(query.limit(LIMIT))]

    def lapsed(self) -> list[tuple[FileRequest, Part]]:
        """The parts whose workers give no sign of life, each with its request."""
        query = select(FileRequest, Part).join(FileRequest, FileRequest.id == Part.request_id)
        query = query.where(*OUT, Part.leased_until <= steady_later()).order_by(Part.leased_until)
        with self._database.reading() as session:
            return [(row, part) for row, part in session.execute(query.limit(LIMIT))]

    def left_over(self) -> list[FileRequest]:
        """Requests that have ended, and have parts that nobody wants any more."""
        over = FileRequest.state.not_in(LIVE), FileRequest.id.in_(select(Part.request_id).distinct())
        with self._database.reading() as session:
            return list(session.scalars(select(FileRequest).where(*over).limit(LIMIT)))

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
            log(session, request, EventKind.RECOVERED, step=WRITE, detail=_lost(seen, row, queue))
            return Standing(request, [part])

    def _given_up(self, session: Session, row: FileRequest) -> Standing | None:
        """One part was lost again and again: there will be no file."""
        code = "worker_lost"
        ended = {**failed(code, said_to(row, WORKER_LOST)), **NEXT_FENCE, **self._waiting(True)}
        given_up = set_request(session, ended, *out_as(row))
        if given_up is None:
            return None
        log(session, given_up, EventKind.FAILED, step=WRITE, detail=code)
        return Standing(given_up)

    def dispatch(self, row: FileRequest, seen: Part) -> Part | None:
        """Before a part's message is published again. None: it waits no more."""
        with self._database.writing() as session:
            part = self._still_waiting(session, row, seen, self._is_published())
            if part is not None:
                log(session, row, EventKind.DISPATCHED, step=WRITE, detail=f"part {part.number + 1}")
        return part

    def postpone(self, row: FileRequest, seen: Part) -> Part | None:
        """Believe for a while more in a message that may still be in its queue. None: it waits no more."""
        with self._database.writing() as session:
            return self._still_waiting(session, row, seen, {"dispatch_at": later(self._settings.patience)})

    @staticmethod
    def _still_waiting(session: Session, row: FileRequest, seen: Part, values: Mapping[str, Any]) -> Part | None:
        same = Part.fence == seen.fence, Part.dispatches == seen.dispatches, Part.dispatch_at.is_not(None)
        again = {**values, "dispatches": Part.dispatches + 1}
        return set_part(session, again, *named(row.id, seen.number), *same, is_out(row.fence))

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


def _lost(seen: Part, row: FileRequest, queue: str | None) -> str:
    """What the history says."""
    detail = f"{about(seen.number)}{seen.leased_by}"
    return detail if queue in (None, row.queue) else f"{detail}: out of memory, goes on in {queue}"
