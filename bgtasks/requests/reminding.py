"""What the sweep ``remind`` does in the record: files expire soon, and nobody has downloaded them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from sqlalchemy import ColumnElement, and_, exists, or_, select

from bgtasks.database import steady_later
from bgtasks.models import Event, FileRequest, in_state
from bgtasks.requests.writer import Writer
from bgtasks.states import EventKind, State


class Reminder(NamedTuple):
    """What a file type says of it."""

    seconds: float  #: before the file expires
    step: str  #: the chain's last one


#: It has been told of, its link works, and nobody has used it.
_UNSEEN = (
    in_state(State.READY),
    FileRequest.downloads == 0,
    FileRequest.token_id.is_not(None),
    FileRequest.notified_at.is_not(None),
)
#: Nobody is at work on it, and nobody has been woken.
_AT_REST = FileRequest.leased_by.is_(None), FileRequest.dispatch_at.is_(None)


class Reminding(Writer):
    """The record's side of ``remind``."""

    def unseen(self, types: Mapping[str, Reminder], limit: int) -> list[FileRequest]:
        """The requests whose file expires soon, and that nobody has been reminded of: the next to expire first.

        :param types: the file types that remind.
        :param limit: how many at most.
        """
        wanted = [and_(FileRequest.file_type == name, *_is_near(one)) for name, one in types.items()]
        # The one bound that holds for all of them is what the index is read by.
        widest = max((one.seconds for one in types.values()), default=0.0)
        soon = FileRequest.expires_at > steady_later(), FileRequest.expires_at <= steady_later(widest)
        query = select(FileRequest).where(*soon, *_UNSEEN, *_AT_REST, _never_reminded(), or_(*wanted))
        with self._database.reading() as session:
            return list(session.scalars(query.order_by(FileRequest.expires_at).limit(limit)))

    def remind(self, seen: FileRequest, reminder: Reminder) -> FileRequest | None:
        """Have somebody be reminded, once: the row waits for it. None: that is so already, or nobody needs it now."""
        near = FileRequest.expires_at > steady_later(), *_is_near(reminder)
        guards = FileRequest.fence == seen.fence, *near, *_UNSEEN, *_AT_REST, _never_reminded()
        return self._change(
            seen.id, *guards, values={**self._waiting(True), "dispatches": 0}, events=(EventKind.EXPIRING,)
        )


def _is_near(reminder: Reminder) -> tuple[ColumnElement[bool], ...]:
    return FileRequest.step == reminder.step, FileRequest.expires_at <= steady_later(reminder.seconds)


def _never_reminded() -> ColumnElement[bool]:
    """Each file has one reminder, whatever becomes of it."""
    return ~exists().where(Event.request_id == FileRequest.id, Event.kind == EventKind.EXPIRING)
