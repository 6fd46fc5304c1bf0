"""What the sweep ``clean`` does in the record: files expire, and rows go when their time is over."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from sqlalchemy import ColumnElement, func, or_, select

from bgtasks.database import later
from bgtasks.models import FileRequest
from bgtasks.object_keys import ObjectKey
from bgtasks.requests.writer import NEXT_FENCE, Writer
from bgtasks.states import ENDED, EventKind, State

BATCH = 100  # rows that are read at once

#: Nobody is at work on the request, and nobody has still to be told.
_AT_REST = FileRequest.leased_by.is_(None), FileRequest.dispatch_at.is_(None)
#: It has ended, and there is no file to download (any more).
_WITHOUT_FILE = FileRequest.state.in_([state for state in ENDED if state != State.READY])


class Cleaning(Writer):
    """The record's side of ``clean``."""

    def overdue(self, leeway: float) -> Iterator[FileRequest]:
        """The ready requests whose file has expired so many seconds ago."""
        return self._found(*_overdue(leeway))

    def expire(self, seen: FileRequest, leeway: float) -> FileRequest | None:
        """Withdraw a file whose time is over; its object is left to the caller. None: it lasts for longer after all.

        :param leeway: seconds since it has expired.
        """
        over = {"state": State.EXPIRED, "coalesce_key": None, **NEXT_FENCE}
        guards = FileRequest.fence == seen.fence, *_overdue(leeway)
        return self._change(seen.id, *guards, values=over, events=(EventKind.EXPIRED,))

    def with_leftovers(self) -> Iterator[FileRequest]:
        """Requests that have ended without a file and still name an object, with nobody at work on them."""
        return self._found(_WITHOUT_FILE, FileRequest.object_key.is_not(None), FileRequest.leased_by.is_(None))

    def drop_object(self, seen: FileRequest) -> FileRequest | None:
        """The object is gone: name it no more. None: the row names another, or none."""
        # Whatever the state is by now: a request that is retried writes an object of its own.
        return self._change(seen.id, FileRequest.object_key == seen.object_key, values={"object_key": None})

    def outdated(self) -> Iterator[FileRequest]:
        """Requests that ended longer ago than rows are kept, and whose object is gone."""
        return self._found(*self._outdated())

    def forget(self, seen: FileRequest) -> FileRequest | None:
        """Remove the row of such a request, with its history and its ledger. None: it goes on, or is gone."""
        return self._remove(seen.id, FileRequest.fence == seen.fence, *self._outdated())

    def orphans(self, stored: Collection[ObjectKey]) -> list[ObjectKey]:
        """Which of these objects no row names, nor ever will; they must have been listed before this is asked."""
        ids = {key.request_id for key in stored}
        columns = FileRequest.id, FileRequest.fence, FileRequest.leased_by, FileRequest.object_key
        with self._database.reading() as session:
            rows = {row.id: row for row in session.execute(select(*columns).where(FileRequest.id.in_(ids)))}
        return [key for key in stored if key.request_id not in rows or _is_orphan(key, *rows[key.request_id][1:])]

    def _outdated(self) -> tuple[ColumnElement[bool], ...]:
        # A link that was made after a file's end may have taken its time away.
        ended = func.coalesce(FileRequest.expires_at, FileRequest.finished_at)
        without_end = FileRequest.state.in_([State.FAILED, State.CANCELLED])
        long_ago = later(-self._settings.retention)
        too_old = or_(
            (FileRequest.state == State.EXPIRED) & (ended <= long_ago),
            without_end & (FileRequest.finished_at <= long_ago),
        )
        return too_old, FileRequest.object_key.is_(None), *_AT_REST

    def _found(self, *guards: ColumnElement[bool]) -> Iterator[FileRequest]:
        """The rows that are like this, a batch at a time; none of them twice."""
        page = self._page(*guards)
        while page:
            yield from page
            page = self._page(*guards, FileRequest.id > page[-1].id)

    def _page(self, *guards: ColumnElement[bool]) -> list[FileRequest]:
        with self._database.reading() as session:
            return list(session.scalars(select(FileRequest).where(*guards).order_by(FileRequest.id).limit(BATCH)))


def _overdue(leeway: float) -> tuple[ColumnElement[bool], ...]:
    return FileRequest.state == State.READY, FileRequest.expires_at <= later(-leeway), *_AT_REST


def _is_orphan(key: ObjectKey, fence: int, leased_by: str | None, object_key: str | None) -> bool:
    # A fence is granted once: who held this one has written its outcome, or can't any more. Age plays no part.
    is_over = fence > key.fence or (fence == key.fence and leased_by is None)
    return is_over and (key.is_staged or object_key != key.text)
