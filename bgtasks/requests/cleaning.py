"""What the sweep ``clean`` does in the record: files expire, and rows go when their time is over.

Everything is found along an index, and changed a batch at a time: one transaction, which is over in milliseconds and
waits for nobody. A row that somebody else is writing just now is left to the next run.

What is still to be told keeps a file beyond its time: a mail that comes late prolongs the file, so that whoever is told
gets it for as long as was promised. Each try of ``notify`` does so too, however it ends. So a file that is over for
``bgtasks_give_up`` more has had no try for as long, and only then nobody will tell of it: its queue has no worker, or
its file type is gone. Then it goes, and a message that comes after all finds nothing to claim. An outage of days costs
a late mail and never a file.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, case, delete, literal_column, or_, select, tuple_, update
from sqlalchemy.orm import InstrumentedAttribute, Session

from bgtasks.database import likely, steady_later
from bgtasks.history import log_all
from bgtasks.models import FileRequest, Notification, Part, in_state
from bgtasks.object_keys import ObjectKey
from bgtasks.pacing import uninterrupted
from bgtasks.requests.part_writer import OUT
from bgtasks.requests.writer import NEXT_FENCE, UNLEASED, Writer
from bgtasks.states import EventKind, State

BATCH = 200  # rows that are read at once

#: Nobody is at work on the request, and nobody has still to be told.
_AT_REST = FileRequest.leased_by.is_(None), FileRequest.dispatch_at.is_(None)
#: It has ended, and there is no file to download (any more); in the words of the index ``leftovers``.
_WITHOUT_FILE = likely(in_state(State.FAILED, State.CANCELLED, State.EXPIRED))
_EXPIRED = in_state(State.EXPIRED)
_NEVER_READY = in_state(State.FAILED, State.CANCELLED)

_AS_IT_IS: dict[str, Any] = {"synchronize_session": False}


class Cleaning(Writer):
    """The record's side of ``clean``."""

    def overdue(self, leeway: float) -> Iterator[FileRequest]:
        """The ready requests whose file has expired so many seconds ago, the oldest first."""
        return self._found(FileRequest.expires_at, *self._overdue(leeway))

    def expire(self, seen: Sequence[FileRequest], leeway: float) -> list[FileRequest]:
        """Withdraw files whose time is over; their objects are left to the caller. Less, if one lasts for longer.

        Of a file that nobody was told of, the history says so.

        :param leeway: seconds since they have expired.
        """
        over = {"state": State.EXPIRED, "coalesce_key": None, **NEXT_FENCE, **UNLEASED, **self._waiting(False)}
        waited = {row.id: row.fence for row in seen if row.dispatch_at is not None or row.leased_by is not None}
        with uninterrupted(), self._database.writing() as session:
            changed = _changed(session, seen, *self._overdue(leeway), values=over)
            # With another fence than was seen, somebody has had a try meanwhile, and has said what became of it.
            untold = _untold(session, [row for row in changed if waited.get(row.id) == row.fence - 1])
            for rows, event in ((untold, EventKind.NOT_NOTIFIED), (changed, EventKind.EXPIRED)):
                if rows:
                    log_all(session, rows, event)
        return changed

    def with_leftovers(self) -> Iterator[FileRequest]:
        """Requests that have ended without a file and still name an object, with nobody at work on them."""
        free = or_(FileRequest.leased_by.is_(None), self._is_abandoned())
        return self._found(FileRequest.id, _WITHOUT_FILE, FileRequest.object_key.is_not(None), free)

    def drop_objects(self, seen: Sequence[FileRequest]) -> list[FileRequest]:
        """Their objects are gone: name them no more. Less, if a row names another, or none."""
        # Whatever the state is by now: a request that is retried writes an object of its own.
        gone = FileRequest.object_key.in_([row.object_key for row in seen])
        with uninterrupted(), self._database.writing() as session:
            return _changed(session, seen, gone, values={"object_key": None, "store_url": None})

    def file_types(self) -> list[str]:
        """The names of all file types that there are requests of, whether they are registered or not."""
        return self._each(FileRequest.file_type)

    def store_urls(self) -> list[str]:
        """The stores that rows name, beside the deployment's own, whether a file type names them or not."""
        return self._each(FileRequest.store_url, FileRequest.store_url.is_not(None))

    def outdated(self, file_type: str, retention: float) -> Iterator[FileRequest]:
        """Requests of a type that ended longer ago than rows are kept, and whose object is gone; the oldest first.

        :param retention: how long they are kept. Seconds.
        """
        for time, *is_over in _over(retention):
            yield from self._found(time, FileRequest.file_type == file_type, *is_over, *_WITHOUT_ANYTHING)

    def forget(self, seen: Sequence[FileRequest], retention: float) -> int:
        """Remove the rows of such requests, with their histories and ledgers; how many. Less, if one goes on."""
        too_old = or_(*(over & since for _, over, since in _over(retention)))
        with uninterrupted(), self._database.writing() as session:
            gone = delete(FileRequest).where(FileRequest.id.in_(_taken(seen, too_old, *_WITHOUT_ANYTHING)))
            return len(session.scalars(gone.returning(FileRequest.id), execution_options=_AS_IT_IS).all())

    def orphans(self, stored: Collection[ObjectKey]) -> list[ObjectKey]:
        """Which of these objects no row names, nor ever will; they must have been listed before this is asked."""
        ids = {key.request_id for key in stored}
        places = {(key.request_id, key.part) for key in stored if key.part is not None}
        row = FileRequest
        columns = row.id, row.fence, row.leased_by, row.object_key, and_(*OUT).label("parts_are_out")
        of_these = tuple_(Part.request_id, Part.number).in_(places)
        with self._database.reading() as session:
            rows = {found.id: found for found in session.execute(select(*columns).where(row.id.in_(ids)))}
            # After the requests: a part that ends in between names its object from then on.
            found = session.scalars(select(Part).where(of_these)) if places else ()
            parts: dict[Any, Part] = {(part.request_id, part.number): part for part in found}
        return [
            key for key in stored if _is_orphan(key, rows.get(key.request_id), parts.get((key.request_id, key.part)))
        ]

    def strangers(self, stored: Collection[ObjectKey]) -> int:
        """How many of these objects are of requests that the table does not have."""
        with self._database.reading() as session:
            ids = {key.request_id for key in stored}
            known = set(session.scalars(select(FileRequest.id).where(FileRequest.id.in_(ids))))
        return sum(key.request_id not in known for key in stored)

    def _overdue(self, leeway: float) -> tuple[ColumnElement[bool], ...]:
        """Whether a file's time is over, and nobody has still to be told, or nobody has tried to for too long."""
        over = FileRequest.expires_at <= steady_later(-leeway)
        too_long = FileRequest.expires_at <= steady_later(-leeway - self._settings.give_up)
        given_up = too_long & or_(FileRequest.leased_by.is_(None), self._is_abandoned())
        return in_state(State.READY), over, or_(and_(*_AT_REST), given_up)

    def _is_abandoned(self) -> ColumnElement[bool]:
        """Whether its worker has died so long ago that no sweep will take it over: its file type is gone."""
        return FileRequest.leased_until <= steady_later(-self._settings.give_up)

    def _each(self, column: InstrumentedAttribute[Any], *guards: ColumnElement[bool]) -> list[str]:
        """The values of a column that begins an index, each once."""
        found: list[str] = []
        first = select(column).where(*guards).order_by(column).limit(1)
        with self._database.reading() as session:
            value = session.scalar(first)
            while value is not None:  # a query for each: DISTINCT would read millions of rows
                found.append(value)
                value = session.scalar(first.where(column > value))
        return found

    def _found(self, place: InstrumentedAttribute[Any], *guards: ColumnElement[bool]) -> Iterator[FileRequest]:
        """The rows that are like this, a batch at a time; none of them twice.

        :param place: the column that an index has them sorted by.
        """
        # SQLite finds no index for what is sorted by the same column twice.
        columns = [place] if place is FileRequest.id else [place, FileRequest.id]
        key = tuple_(*columns)
        # Written out: PostgreSQL takes a parameter for a share of the table, and would plan it anew each time.
        some = select(FileRequest).where(*guards).order_by(*columns).limit(literal_column(str(BATCH)))
        page = self._page(some)
        while page:
            yield from page
            page = self._page(some.where(key > tuple(getattr(page[-1], column.key) for column in columns)))

    def _page(self, query: Select[Any]) -> list[FileRequest]:
        with self._database.reading() as session:
            return list(session.scalars(query))


#: What is left of it is the row.
_WITHOUT_ANYTHING = FileRequest.object_key.is_(None), *_AT_REST


def _changed(
    session: Session, seen: Sequence[FileRequest], *guards: ColumnElement[bool], values: dict[str, Any]
) -> list[FileRequest]:
    """Those of the rows for which the guards hold, after the change."""
    change = update(FileRequest).where(FileRequest.id.in_(_taken(seen, *guards))).values(values)
    return list(session.scalars(change.returning(FileRequest), execution_options=_AS_IT_IS))


def _untold(session: Session, rows: list[FileRequest]) -> list[FileRequest]:
    """Those of which nobody was told what was still to be told: that the file is ready, or else that it expires soon.

    Where one recipient was told and another could not be, somebody was.
    """
    if not rows:
        return []
    ids = Notification.request_id.in_([row.id for row in rows]), Notification.sent_at.is_not(None)
    told = {(line.request_id, line.event) for line in session.scalars(select(Notification).where(*ids))}
    return [row for row in rows if (row.id, "ready" if row.notified_at is None else "expiring") not in told]


def _taken(seen: Sequence[FileRequest], *guards: ColumnElement[bool]) -> Select[Any]:
    """The ids of those rows that are still like this, locked; without those that somebody else has locked."""
    # One value, for which SQLite looks for no index: by the guards it would walk through all that has ended.
    holds = case((and_(*guards), 1), else_=0) == 1
    ids = select(FileRequest.id).where(FileRequest.id.in_([row.id for row in seen]), holds)
    # Two runs that took them in another order could wait for each other.
    return select(ids.order_by(FileRequest.id).with_for_update(skip_locked=True).cte("taken").c.id)


def _over(retention: float) -> tuple[tuple[Any, ColumnElement[bool], ColumnElement[bool]], ...]:
    """How a request can be over for longer than this: the time that counts, the state, and since when."""
    long_ago = steady_later(-retention)
    ended, expired = FileRequest.finished_at, FileRequest.expires_at
    return (
        (expired, _EXPIRED, expired <= long_ago),
        # A link that was made after a file's end may have taken its time away.
        (ended, _EXPIRED & expired.is_(None), ended <= long_ago),
        (ended, _NEVER_READY, ended <= long_ago),
    )


def _is_orphan(key: ObjectKey, row: Any, part: Part | None) -> bool:
    """Whether no row names this object, nor ever will.

    :param row: ``fence``, ``leased_by``, ``object_key`` and ``parts_are_out`` of its request; None: it is gone.
    :param part: the part whose object it is; None: it is of none, or that is gone.
    """
    if row is None:
        return True
    if key.part is not None:
        return _is_orphan_of_part(key, row, part)
    # A fence is granted once: who held this one has written its outcome, or can't any more. Age plays no part.
    is_over = row.fence > key.fence or (row.fence == key.fence and row.leased_by is None)
    return is_over and (key.is_staged or row.object_key != key.text)


def _is_orphan_of_part(key: ObjectKey, row: Any, part: Part | None) -> bool:
    if row.fence < key.fence or (part is not None and part.object_key == key.text):
        return False
    if row.fence > key.fence or part is None or part.fence > key.part_fence:
        return True
    return part.fence == key.part_fence and (part.leased_by is None or not row.parts_are_out)
