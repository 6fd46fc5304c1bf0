"""What the sweep ``clean`` does in the record: files expire, and rows go when their time is over.

Everything is found along an index, and changed a batch at a time: one transaction, which is over in milliseconds and
waits for nobody. A row that somebody else is writing just now is left to the next run.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Select, delete, literal_column, or_, select, tuple_, update
from sqlalchemy.orm import InstrumentedAttribute

from bgtasks.database import steady_later
from bgtasks.history import log_all
from bgtasks.models import FileRequest, in_state
from bgtasks.object_keys import ObjectKey
from bgtasks.requests.writer import NEXT_FENCE, Writer
from bgtasks.states import EventKind, State

BATCH = 200  # rows that are read at once

#: Nobody is at work on the request, and nobody has still to be told.
_AT_REST = FileRequest.leased_by.is_(None), FileRequest.dispatch_at.is_(None)
#: It has ended, and there is no file to download (any more); in the words of the index ``leftovers``.
_WITHOUT_FILE = in_state(State.FAILED, State.CANCELLED, State.EXPIRED)
_EXPIRED = in_state(State.EXPIRED)
_NEVER_READY = in_state(State.FAILED, State.CANCELLED)

_AS_IT_IS: dict[str, Any] = {"synchronize_session": False}


class Cleaning(Writer):
    """The record's side of ``clean``."""

    def overdue(self, leeway: float) -> Iterator[FileRequest]:
        """The ready requests whose file has expired so many seconds ago, the oldest first."""
        return self._found(FileRequest.expires_at, *_overdue(leeway))

    def expire(self, seen: Sequence[FileRequest], leeway: float) -> list[FileRequest]:
        """Withdraw files whose time is over; their objects are left to the caller. Less, if one lasts for longer.

        :param leeway: seconds since they have expired.
        """
        over = {"state": State.EXPIRED, "coalesce_key": None, **NEXT_FENCE}
        return self._change_all(seen, *_overdue(leeway), values=over, event=EventKind.EXPIRED)

    def with_leftovers(self) -> Iterator[FileRequest]:
        """Requests that have ended without a file and still name an object, with nobody at work on them."""
        named = FileRequest.object_key.is_not(None), FileRequest.leased_by.is_(None)
        return self._found(FileRequest.id, _WITHOUT_FILE, *named)

    def drop_objects(self, seen: Sequence[FileRequest]) -> list[FileRequest]:
        """Their objects are gone: name them no more. Less, if a row names another, or none."""
        # Whatever the state is by now: a request that is retried writes an object of its own.
        gone = FileRequest.object_key.in_([row.object_key for row in seen])
        return self._change_all(seen, gone, values={"object_key": None, "store_url": None})

    def file_types(self) -> list[str]:
        """The names of all file types that there are requests of, whether they are registered or not."""
        found: list[str] = []
        first = select(FileRequest.file_type).order_by(FileRequest.file_type).limit(1)
        with self._database.reading() as session:
            name = session.scalar(first)
            while name is not None:  # a query for each: DISTINCT would read millions of rows
                found.append(name)
                name = session.scalar(first.where(FileRequest.file_type > name))
        return found

    def outdated(self, file_type: str, retention: float) -> Iterator[FileRequest]:
        """Requests of a type that ended longer ago than rows are kept, and whose object is gone; the oldest first.

        :param retention: how long they are kept. Seconds.
        """
        for time, *is_over in _over(retention):
            yield from self._found(time, FileRequest.file_type == file_type, *is_over, *_WITHOUT_ANYTHING)

    def forget(self, seen: Sequence[FileRequest], retention: float) -> int:
        """Remove the rows of such requests, with their histories and ledgers; how many. Less, if one goes on."""
        too_old = or_(*(over & since for _, over, since in _over(retention)))
        with self._database.writing() as session:
            gone = delete(FileRequest).where(FileRequest.id.in_(_taken(seen, too_old, *_WITHOUT_ANYTHING)))
            return len(session.scalars(gone.returning(FileRequest.id), execution_options=_AS_IT_IS).all())

    def orphans(self, stored: Collection[ObjectKey]) -> list[ObjectKey]:
        """Which of these objects no row names, nor ever will; they must have been listed before this is asked."""
        ids = {key.request_id for key in stored}
        columns = FileRequest.id, FileRequest.fence, FileRequest.leased_by, FileRequest.object_key
        with self._database.reading() as session:
            rows = {row.id: row for row in session.execute(select(*columns).where(FileRequest.id.in_(ids)))}
        return [key for key in stored if key.request_id not in rows or _is_orphan(key, *rows[key.request_id][1:])]

    def strangers(self, stored: Collection[ObjectKey]) -> int:
        """How many of these objects are of requests that the table does not have."""
        with self._database.reading() as session:
            ids = {key.request_id for key in stored}
            known = set(session.scalars(select(FileRequest.id).where(FileRequest.id.in_(ids))))
        return sum(key.request_id not in known for key in stored)

    def _change_all(
        self,
        seen: Sequence[FileRequest],
        *guards: ColumnElement[bool],
        values: dict[str, Any],
        event: EventKind | None = None,
    ) -> list[FileRequest]:
        """Those of the rows for which the guards hold, after the change."""
        change = update(FileRequest).where(FileRequest.id.in_(_taken(seen, *guards))).values(values)
        with self._database.writing() as session:
            changed = session.scalars(change.returning(FileRequest), execution_options=_AS_IT_IS).all()
            if event is not None and changed:
                log_all(session, changed, event)
            return list(changed)

    def _found(self, place: InstrumentedAttribute[Any], *guards: ColumnElement[bool]) -> Iterator[FileRequest]:
        """The rows that are like this, a batch at a time; none of them twice.

        :param place: the column that an index has them sorted by.
        """
        key = tuple_(place, FileRequest.id)
        # Written out: PostgreSQL takes a parameter for a share of the table, and would plan it anew each time.
        some = select(FileRequest).where(*guards).order_by(place, FileRequest.id).limit(literal_column(str(BATCH)))
        page = self._page(some)
        while page:
            yield from page
            page = self._page(some.where(key > (getattr(page[-1], place.key), page[-1].id)))

    def _page(self, query: Select[Any]) -> list[FileRequest]:
        with self._database.reading() as session:
            return list(session.scalars(query))


#: What is left of it is the row.
_WITHOUT_ANYTHING = FileRequest.object_key.is_(None), *_AT_REST


def _taken(seen: Sequence[FileRequest], *guards: ColumnElement[bool]) -> Select[Any]:
    """The ids of those rows that are still like this, locked; without those that somebody else has locked."""
    ids = select(FileRequest.id).where(FileRequest.id.in_([row.id for row in seen]), *guards)
    # Two runs that took them in another order could wait for each other.
    return select(ids.order_by(FileRequest.id).with_for_update(skip_locked=True).cte("taken").c.id)


def _overdue(leeway: float) -> tuple[ColumnElement[bool], ...]:
    return in_state(State.READY), FileRequest.expires_at <= steady_later(-leeway), *_AT_REST


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


def _is_orphan(key: ObjectKey, fence: int, leased_by: str | None, object_key: str | None) -> bool:
    # A fence is granted once: who held this one has written its outcome, or can't any more. Age plays no part.
    is_over = fence > key.fence or (fence == key.fence and leased_by is None)
    return is_over and (key.is_staged or object_key != key.text)
