"""What the sweeps do with a request that nobody goes on with."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from sqlalchemy import ColumnElement, tuple_, update

from bgtasks.claims import Held
from bgtasks.database import later
from bgtasks.errors import BgtasksError, ImproperlyConfigured, Sentence
from bgtasks.models import FileRequest
from bgtasks.requests.writer import BY_HAND, NEXT_FENCE, UNLEASED, Writer, failed, said_to
from bgtasks.states import LIVE, EventKind, State

NEVER_STARTED = Sentence("Nobody was there to make the file. Please ask for it again.")
WORKER_LOST = Sentence("The file could not be made: its worker was lost again and again.")


class Sweeping(Writer):
    """The sweeps' side of the record."""

    def dispatch(self, seen: FileRequest, delay: float) -> FileRequest | None:
        """Before a message is published again: believe in it for so many seconds. None: the row waits no more."""
        again = {"dispatch_at": later(delay), "dispatches": FileRequest.dispatches + 1}
        return self._change(seen.id, *_waits_as(seen), values=again, events=(EventKind.DISPATCHED,))

    def postpone(self, seen: Sequence[FileRequest]) -> None:
        """Believe in messages that may still be in their queues for a while more: nothing is published or counted."""
        # A row that was handed back meanwhile has another fence, and no message.
        same = tuple_(FileRequest.id, FileRequest.fence).in_([(row.id, row.fence) for row in seen])
        due = FileRequest.leased_by.is_(None), FileRequest.dispatch_at <= later()
        waiting = update(FileRequest).where(same, *due).values(self._waiting(True))
        with self._database.writing() as session:
            session.execute(waiting, execution_options={"synchronize_session": False})

    def expedite(self, seen: FileRequest) -> FileRequest | None:
        """Before a message that is known to be lost is published again at once; once. None: not (any more)."""
        again = {**self._waiting(True), "dispatches": 1}
        first = FileRequest.dispatches == 0
        return self._change(seen.id, *_waits_as(seen), first, values=again, events=(EventKind.DISPATCHED,))

    def settle(self, seen: FileRequest) -> FileRequest | None:
        """End the waiting of a row with no step left to do: a live one's type has lost it. None: it waits no more."""
        if seen.state not in LIVE:
            return self._change(seen.id, *_waits_as(seen), values={"dispatch_at": None})
        code = ImproperlyConfigured.error_code
        ended = failed(code, said_to(seen, BgtasksError().sentence)) | self._waiting(True)
        return self._change(seen.id, *_waits_as(seen), values=ended, events=(EventKind.FAILED,), detail=code)

    def give_up(self, seen: FileRequest) -> FileRequest | None:
        """Fail a scheduled request that nobody has ever started, after so long. None: somebody has, or may yet."""
        untouched = FileRequest.fence == 0, FileRequest.state == State.PENDING, FileRequest.dispatch_at.is_not(None)
        too_long = FileRequest.requested_at <= later(-self._settings.give_up)
        code = "never_started"
        ended = failed(code, said_to(seen, NEVER_STARTED)) | self._waiting(True)
        return self._change(seen.id, *untouched, too_long, values=ended, events=(EventKind.FAILED,), detail=code)

    def recover(self, seen: FileRequest, lost: str | None = None, queue: str | None = None) -> FileRequest | None:
        """Take a request over from a dead worker, or give up when that was tried too often. None: it lives.

        :param lost: the owner that is known to be dead; None: whoever has let the lease lapse.
        :param queue: where it goes on, since it has run out of memory; None: where it was.
        """
        dead = FileRequest.leased_until <= later() if lost is None else FileRequest.leased_by == lost
        taken = {**NEXT_FENCE, "attempts": FileRequest.attempts + 1, **UNLEASED, **self._waiting(True), "dispatches": 0}
        is_last = self._times_lost(seen) + 1 >= self._settings.max_attempts
        event, detail = EventKind.RECOVERED, seen.leased_by
        if (seen.leased_by or "").startswith(BY_HAND):
            taken |= {"state": State.PENDING, "dispatch_at": None}
        elif is_last and seen.state in LIVE:
            taken |= failed("worker_lost", said_to(seen, WORKER_LOST))
            event, detail = EventKind.FAILED, "worker_lost"
        elif is_last:  # it has ended well or badly: only the telling failed
            taken |= {"dispatch_at": None, "coalesce_key": None}
            event = EventKind.NOTIFY_FAILED
        elif queue is not None and queue != seen.queue:
            taken |= {"queue": queue}
            detail = f"{detail}: out of memory, goes on in {queue}"
        return self._change(
            seen.id, FileRequest.fence == seen.fence, dead, values=taken, events=(event,), step=seen.step, detail=detail
        )

    def lose(self, held: Held, queue: str | None = None) -> FileRequest | None:
        """The same of a step by itself: there is no memory for it here."""
        return self.recover(held.file_request, held.owner, queue)

    def _times_lost(self, seen: FileRequest) -> int:
        """How often its worker was lost: the making of a file has its attempts, and the telling has its own."""
        if seen.state in LIVE:
            return seen.attempts
        entries = reversed(self.history(seen.id))
        since = itertools.takewhile(lambda entry: entry.kind not in _TELLING_BEGINS, entries)
        return sum(entry.kind == EventKind.RECOVERED for entry in since)


#: The entries of a history with which somebody is to be told, once more.
_TELLING_BEGINS = (EventKind.READY, EventKind.FAILED, EventKind.CANCELLED, EventKind.EXPIRING)


def _waits_as(seen: FileRequest) -> tuple[ColumnElement[bool], ...]:
    """Whether a row still waits for the same message as when it was seen."""
    same = FileRequest.fence == seen.fence, FileRequest.dispatches == seen.dispatches
    return *same, FileRequest.leased_by.is_(None), FileRequest.dispatch_at.is_not(None)
