"""What people do with a request: its requester, a downloader, an operator."""

from __future__ import annotations

from sqlalchemy import bindparam, func, select, tuple_

from bgtasks.database import later
from bgtasks.models import FileRequest
from bgtasks.requests.changes import ENTRY, ROW, Change, changing
from bgtasks.requests.working import lasting
from bgtasks.requests.writer import NEXT_FENCE, UNLEASED, Writer, with_parts
from bgtasks.states import ENDED, LIVE, EventKind, State

#: A download, by whom and to where.
COUNTING = Change(
    changing(values={"downloads": ROW.c.downloads + 1, "last_downloaded_at": later()}),
    (EventKind.DOWNLOADED,),
    actor=bindparam("actor", type_=ENTRY.c.actor.type),
    detail=bindparam("detail", type_=ENTRY.c.detail.type),
)


class People(Writer):
    """The people's side of the record."""

    def cancel(self, request_id: str, actor: str | None = None, *, waits: bool = False) -> FileRequest | None:
        """End a live request; whoever works on it finds out at its next write. None: it was over.

        :param waits: whether somebody is to be told of it.
        """
        ended = {"state": State.CANCELLED, "finished_at": later(), "coalesce_key": None, "dispatches": 0}
        over = {**ended, **UNLEASED, **NEXT_FENCE, **self._waiting(waits)}
        live = FileRequest.state.in_(LIVE)
        return self._change(request_id, live, values=over, events=(EventKind.CANCELLED,), actor=actor)

    def retry(self, request_id: str, actor: str | None = None, *, scheduled: bool) -> FileRequest | None:
        """Start a failed request anew, from its first step. None: it is not failed, or is being told.

        It answers for no other request: one that was asked for since may have its ``coalesce_key``.
        """
        told = "error_code", "error_message", "started_at", "finished_at", "notified_at"
        blank = dict.fromkeys((*told, "rows_total", "parts_total", "parts_done"))
        zero = dict.fromkeys(("attempts", "dispatches", "rows_written"), 0)
        anew = {"state": State.PENDING, "step": "", **blank, **zero, **NEXT_FENCE, **self._waiting(scheduled)}
        failed = FileRequest.state == State.FAILED, FileRequest.leased_by.is_(None)
        return self._change(request_id, *failed, values=anew, events=(EventKind.RETRIED,), actor=actor)

    def grant(self, request_id: str, token_id: str | None, max_age: float | None) -> FileRequest | None:
        """Allow downloads, under this token id unless there is one already, and for so long from now at least.

        :param max_age: seconds; None: for ever.
        """
        granted = {"token_id": func.coalesce(FileRequest.token_id, token_id), **lasting(max_age)}
        return self._change(request_id, values=granted)

    def revoke(self, request_id: str, actor: str | None = None) -> FileRequest | None:
        """Make every link to this file invalid at once. None: there was none."""
        granted = FileRequest.token_id.is_not(None)
        revoked = {"token_id": None, "coalesce_key": None}
        return self._change(request_id, granted, values=revoked, events=(EventKind.REVOKED,), actor=actor)

    def downloaded(self, request_id: str, actor: str | None, address: str | None) -> None:
        """Count one whole download."""
        COUNTING.make(self._database, request_id, actor=actor, detail=address)

    def of(self, requester: str, most: int, after: str | None = None) -> list[FileRequest]:
        """Somebody's requests, the newest first.

        :param most: how many.
        :param after: begin below this request of theirs; where it is gone, at the newest.
        """
        own = select(FileRequest).where(FileRequest.requester == requester)
        newest = own.order_by(FileRequest.requested_at.desc(), FileRequest.id.desc()).limit(most)
        with self._database.reading() as session:
            last = session.scalar(own.where(FileRequest.id == after)) if after else None
            if last is not None:
                place = tuple_(FileRequest.requested_at, FileRequest.id)
                newest = newest.where(place < (last.requested_at, last.id))
            rows = list(session.scalars(newest))
            with_parts(session, rows)
            return rows

    def delete(self, request_id: str) -> FileRequest | None:
        """Remove the row and the history of an ended request; its object is left to the caller. None: it is live."""
        return self._remove(request_id, FileRequest.state.in_(ENDED), FileRequest.leased_by.is_(None))
