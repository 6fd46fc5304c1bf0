"""What the sweeps look for in the table."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, case, false, func, not_, or_, select, type_coerce

from bgtasks import deployment, registry
from bgtasks.database import later, steady_later
from bgtasks.models import Event, FileRequest, UtcDateTime, in_state
from bgtasks.requests import BY_HAND
from bgtasks.states import EventKind, State

#: How many messages wait in a queue; None: the broker can't tell.
Lengths = Callable[[str], int | None]

#: A message is believed in for longer each time, up to so many times the patience.
LONGEST_WAIT = 8
#: Where the queue is empty, for so much less: what is not in it has been lost, or is being taken just now.
SOONER = 10
#: Requests that one run looks at.
LIMIT = 2000


@dataclass(frozen=True)
class Waiting:
    """A request that waits for a worker."""

    row: FileRequest
    since: datetime  #: when it was given its fence, or its message was last published
    now: datetime  #: by the database's clock
    has_message: bool  #: whether one was published: a request that was handed back has none for a while

    @property
    def seconds(self) -> float:
        """How long it has waited for its message to be taken."""
        return (self.now - self.since).total_seconds()

    @property
    def is_due(self) -> bool:
        """Whether nobody believes in its message any more."""
        return self.row.dispatch_at is not None and self.row.dispatch_at <= self.now


def wait(dispatches: int, patience: float) -> float:
    """How long the next message is believed in, of what was published again so often. Seconds."""
    return patience * float(min(2**dispatches, LONGEST_WAIT))


def is_lost(is_due: bool, seconds: float, length: int | None, dispatches: int, patience: float) -> bool:
    """Whether a message can't be in the queue any more, or has been believed in for long enough.

    :param is_due: whether nobody believes in it any more; ``seconds``: how long it has waited.
    :param length: of its queue; None: there is no message, or nobody can tell.
    """
    if length is None:
        return is_due
    if length > 0:
        return is_due and seconds >= LONGEST_WAIT * patience
    return is_due or seconds >= wait(dispatches, patience) / SOONER


def lapsed() -> list[FileRequest]:
    """The requests whose workers give no sign of life."""
    by_hand = FileRequest.leased_by.startswith(BY_HAND)
    query = select(FileRequest).where(FileRequest.leased_until <= steady_later(), or_(_is_known(), by_hand))
    with deployment.current().database.reading() as session:
        return list(session.scalars(query.order_by(FileRequest.leased_until).limit(LIMIT)))


def due() -> list[Waiting]:
    """The requests whose messages should have been taken by now."""
    return _waiting(FileRequest.dispatch_at <= steady_later())


def chosen_queues() -> list[str]:
    """The queues that requests wait in which are not their types' first ones."""
    queues = select(FileRequest.queue).where(FileRequest.dispatch_at > steady_later(), FileRequest.queue.is_not(None))
    with deployment.current().database.reading() as session:
        return [queue for queue in session.scalars(queues.distinct()) if queue]


def missed(file_types: Collection[str], queues: Collection[str], seconds: float) -> list[Waiting]:
    """Requests that are not due, and have waited for so long for a message that was published.

    :param file_types: those whose first queue is looked at.
    :param queues: others.
    """
    first = and_(FileRequest.queue.is_(None), FileRequest.file_type.in_(file_types))
    waits = FileRequest.dispatch_at > steady_later(), not_(_backs_off()), _since() <= steady_later(-seconds)
    return _waiting(or_(first, FileRequest.queue.in_(queues)), *waits)


def outstanding(but: Collection[str]) -> list[str]:
    """The ids of the requests that a process may begin or go on with, the oldest first.

    :param but: ids to leave out.
    """
    waits = and_(
        FileRequest.dispatch_at.is_not(None), or_(FileRequest.dispatch_at <= steady_later(), not_(_backs_off()))
    )
    begins = or_(waits, and_(FileRequest.dispatch_at.is_(None), in_state(State.PENDING)))
    query = select(FileRequest.id).where(_is_known(), FileRequest.leased_by.is_(None), begins)
    query = query.where(FileRequest.id.not_in(but)).order_by(FileRequest.requested_at, FileRequest.id)
    with deployment.current().database.reading() as session:
        return list(session.scalars(query.limit(LIMIT)))


def _waiting(*conditions: ColumnElement[bool]) -> list[Waiting]:
    columns: tuple[Any, ...] = (FileRequest, _since(), type_coerce(later(), UtcDateTime()), not_(_backs_off()))
    query = select(*columns).where(_is_known(), FileRequest.dispatch_at.is_not(None), *conditions)
    with deployment.current().database.reading() as session:
        return [Waiting(*found) for found in session.execute(query.order_by(FileRequest.dispatch_at).limit(LIMIT))]


def _is_known() -> ColumnElement[bool]:
    """An unknown type is left to the workers that know it."""
    return FileRequest.file_type.in_(registry.names())


# A row does not say when its message was published: its history does, in the entry of whatever
# gave it the fence that the message bears, or in that of a later publication.


def _since() -> ColumnElement[Any]:
    return select(func.max(Event.at, type_=UtcDateTime())).where(*_IN_HAND).scalar_subquery()


def _backs_off() -> ColumnElement[bool]:
    handed_back, dispatched = (
        func.max(case((Event.kind == kind, 1), else_=0)) for kind in (EventKind.HANDED_BACK, EventKind.DISPATCHED)
    )
    # Looked up for each row: PostgreSQL may answer several questions of what EXISTS by reading the whole history.
    return func.coalesce(select(handed_back > dispatched).where(*_IN_HAND).scalar_subquery(), false())


_IN_HAND = (Event.request_id == FileRequest.id, Event.fence == FileRequest.fence)
