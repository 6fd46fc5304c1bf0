"""What the sweeps do with a request that nobody goes on with."""

from __future__ import annotations

from bgtasks.database import later
from bgtasks.models import FileRequest
from bgtasks.requests.writer import BY_HAND, NEXT_FENCE, UNLEASED, Writer, failed
from bgtasks.states import LIVE, EventKind, State


class Sweeping(Writer):
    """The sweeps' side of the record."""

    def postpone(self, seen: FileRequest, delay: float) -> FileRequest | None:
        """Before a message is published again: believe in it for so many seconds. None: it is not due any more."""
        due = FileRequest.fence == seen.fence, FileRequest.dispatch_at <= later()
        waiting = {"dispatch_at": later(delay), "dispatches": FileRequest.dispatches + 1}
        return self._change(seen.id, *due, values=waiting, events=(EventKind.DISPATCHED,))

    def give_up(self, seen: FileRequest) -> FileRequest | None:
        """Fail a scheduled request that nobody has ever started, after so long. None: somebody has, or may yet."""
        untouched = FileRequest.fence == 0, FileRequest.state == State.PENDING, FileRequest.dispatch_at.is_not(None)
        too_long = FileRequest.requested_at <= later(-self._settings.give_up)
        code, sentence = "never_started", "Nobody was there to make the file. Please ask for it again."
        ended = failed(code, sentence) | self._waiting(True)
        return self._change(seen.id, *untouched, too_long, values=ended, events=(EventKind.FAILED,), detail=code)

    def recover(self, seen: FileRequest) -> FileRequest | None:
        """Take a request over from a dead worker, or give up when that was tried too often. None: it lives."""
        lapsed = FileRequest.fence == seen.fence, FileRequest.leased_until <= later()
        taken = {**NEXT_FENCE, "attempts": FileRequest.attempts + 1, **UNLEASED, **self._waiting(True)}
        event, detail = EventKind.RECOVERED, seen.leased_by
        if (seen.leased_by or "").startswith(BY_HAND):
            taken |= {"state": State.PENDING, "dispatch_at": None}
        elif seen.attempts + 1 >= self._settings.max_attempts and seen.state in LIVE:
            taken |= failed("worker_lost", "The file could not be made: its worker was lost again and again.")
            event, detail = EventKind.FAILED, "worker_lost"
        elif seen.attempts + 1 >= self._settings.max_attempts:  # it has ended well or badly: only the telling failed
            taken["dispatch_at"], event = None, EventKind.NOTIFY_FAILED
        return self._change(seen.id, *lapsed, values=taken, events=(event,), step=seen.step, detail=detail)
