"""What an operator looks up: the newest requests, one by the beginning of its id, and who was told of it.

Each query is bounded, and walks along an index whatever the size of the table: by requester, by file type or by
state, each with (requested_at, id), or the primary key. What else is asked for is looked at in the rows that come by.
"""

from __future__ import annotations

import heapq
import itertools
import uuid
from collections.abc import Collection, Iterator
from datetime import datetime
from operator import attrgetter
from typing import Any

from sqlalchemy import ColumnElement, select, tuple_
from sqlalchemy.orm import Session, defer

from bgtasks.models import FileRequest, Notification
from bgtasks.requests.writer import Writer, with_parts
from bgtasks.states import LIVE, State

#: Rows that are looked at with one query, where most of them may be of another kind.
LOOK = 2_000

#: What is read of each row that comes by.
_BRIEF = FileRequest.id, FileRequest.requested_at, FileRequest.state, FileRequest.file_type
_PLACE = tuple_(FileRequest.requested_at, FileRequest.id)
_newest_first = attrgetter("requested_at", "id")


class Listing(Writer):
    """The operator's side of the record."""

    def newest(
        self,
        most: int,
        *,
        states: Collection[State] = (),
        file_types: Collection[str] = (),
        requester: str | None = None,
        since: datetime | None = None,
        after: FileRequest | None = None,
    ) -> list[FileRequest]:
        """Requests, the newest first, without their criteria.

        :param most: how many.
        :param states: of these alone; none: of all. So for the types.
        :param since: asked for then or later.
        :param after: begin below this one.
        """
        bounds = [] if since is None else [FileRequest.requested_at >= since]
        paths = _paths(states, file_types, requester)
        size = LOOK if sum(map(bool, (states, file_types, requester))) > 1 else most
        with self._database.reading() as session:
            walks = [_walk(session, size, after, path, *bounds) for path in paths]
            rows = heapq.merge(*walks, key=_newest_first, reverse=True)
            wanted = (row.id for row in rows if _is_one_of(row.state, states) and _is_one_of(row.file_type, file_types))
            ids = list(itertools.islice(_once(wanted), most))
            found = select(FileRequest).options(defer(FileRequest.criteria)).where(FileRequest.id.in_(ids))
            sought = sorted(session.scalars(found), key=_newest_first, reverse=True)
            with_parts(session, sought)
            return sought

    def beginning_with(self, beginning: str, most: int) -> list[FileRequest]:
        """The requests whose id begins like this, so many at most. Raises: ValueError, if no id does.

        :param beginning: hexadecimal digits, with or without the dashes.
        """
        digits = beginning.replace("-", "").lower()
        lowest, highest = (str(uuid.UUID(digits.ljust(32, filling))) for filling in "0f")
        span = FileRequest.id >= lowest, FileRequest.id <= highest
        with self._database.reading() as session:
            rows = list(session.scalars(select(FileRequest).where(*span).order_by(FileRequest.id).limit(most)))
            with_parts(session, rows)
            return rows

    def notifications(self, request_id: str) -> list[Notification]:
        """Who was told what of a request, in order."""
        lines = select(Notification).where(Notification.request_id == request_id)
        with self._database.reading() as session:
            return list(session.scalars(lines.order_by(Notification.created_at)))


def _paths(states: Collection[State], file_types: Collection[str], requester: str | None) -> list[ColumnElement[bool]]:
    """What to walk along, so that few come by who are not wanted. Each is all of one key of an index."""
    if requester is not None:
        return [FileRequest.requester == requester]
    if file_types and not (states and set(states) <= set(LIVE)):  # of those that go on there are few
        return [FileRequest.file_type == name for name in file_types]
    return [FileRequest.state == state for state in states or State]


def _once(ids: Iterator[str]) -> Iterator[str]:
    """A request that changes its state meanwhile may come by twice."""
    seen = set[str]()
    return (seen.add(id) or id for id in ids if id not in seen)  # type: ignore[func-returns-value]


def _is_one_of(value: str, wanted: Collection[str]) -> bool:
    return not wanted or value in wanted


def _walk(session: Session, size: int, after: FileRequest | None, *guards: ColumnElement[bool]) -> Iterator[Any]:
    """What is like this, the newest first, read as the loop goes on."""
    place = None if after is None else (after.requested_at, after.id)
    while True:
        query = select(*_BRIEF).where(*guards)
        if place is not None:
            query = query.where(_PLACE < place)  # noqa: SIM300 - the column comes first
        newest = query.order_by(FileRequest.requested_at.desc(), FileRequest.id.desc())
        page = session.execute(newest.limit(size)).all()
        yield from page
        if len(page) < size:
            return
        place = page[-1].requested_at, page[-1].id
