"""The one writer of request state.

Each change is a compare-and-set: one UPDATE that names the fence (and the state) it expects, and
that tells by returning no row that somebody else was there first. What happened is written to the
history in the same transaction. DESIGN, "The record", has the protocol.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, and_, case, delete, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.orm import Session

from bgtasks.claims import Claim, Held
from bgtasks.database import Database, later
from bgtasks.errors import BgtasksError, ClaimLost
from bgtasks.history import events_of, log
from bgtasks.models import Event, FileRequest
from bgtasks.settings import Settings
from bgtasks.states import ENDED, LIVE, EventKind, State

#: How the owner of a request begins that is handled by hand, with no chain to go on with.
BY_HAND = "by hand"
#: The step that tells the requester, of a success or a failure.
NOTIFY = "notify"

_UNLEASED: dict[str, Any] = {"leased_by": None, "leased_until": None}
_NEXT_FENCE = {"fence": FileRequest.fence + 1}


class Requests:
    """The record of one deployment. Every method is one transaction, unless it takes a session."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._settings = settings

    # -- asking and looking ---------------------------------------------------------------------

    def get(self, request_id: str) -> FileRequest | None:
        """The row as it is now."""
        with self._database.reading() as session:
            return session.get(FileRequest, request_id)

    def history(self, request_id: str) -> list[Event]:
        """What happened to a request, in order."""
        with self._database.reading() as session:
            return events_of(session, request_id)

    def note(self, seen: FileRequest, kind: EventKind, detail: str | None = None) -> None:
        """An entry in the history, with no change of state."""
        with self._database.writing() as session:
            log(session, seen, kind, detail=detail)

    def insert(self, new: dict[str, Any], *, scheduled: bool, fault: BgtasksError | None = None) -> FileRequest:
        """Store a request, or find the one that has this id already: a message may come twice.

        :param fault: what is wrong with it: it is stored as failed.
        """
        with self._database.writing() as session:
            if fault is None:
                return self.insert_with(session, new, scheduled=scheduled)
            return self.insert_with(session, {**new, **_failed(fault.error_code, str(fault))}, scheduled=False)

    def insert_with(self, session: Session, new: dict[str, Any], *, scheduled: bool) -> FileRequest:
        """The same within the caller's transaction."""
        values = {**new, "dispatch_at": self._patience() if scheduled else None}
        dialect = session.get_bind(FileRequest).dialect.name
        # ON CONFLICT rather than a look first: two callers in opposite order would deadlock.
        statement = (postgresql_insert if dialect == "postgresql" else sqlite_insert)(FileRequest)
        inserted = session.scalars(
            statement.values(values).on_conflict_do_nothing(index_elements=["id"]).returning(FileRequest)
        ).one_or_none()
        if inserted is None:
            return session.scalars(select(FileRequest).where(FileRequest.id == new["id"])).one()
        session.expunge(inserted)  # what is ours to write is not for the caller's session to flush or to expire
        log(session, inserted, EventKind.REQUESTED)
        if inserted.state == State.FAILED:
            log(session, inserted, EventKind.FAILED, detail=inserted.error_code)
        return inserted

    # -- working --------------------------------------------------------------------------------

    def claim(self, claim: Claim, step: str, before: str, owner: str, *guards: ColumnElement[bool]) -> Held:
        """Take the lease for a step. Raises: ClaimLost, if it is done, not due, or in other hands.

        :param before: the step that must be the last finished one.
        :param owner: who works: told apart from every other delivery, also of the same message.
        """
        free = FileRequest.fence == claim.fence, FileRequest.leased_by.is_(None)
        taken = {
            **_NEXT_FENCE,
            "state": case((FileRequest.state == State.PENDING, State.RUNNING), else_=FileRequest.state),
            "started_at": func.coalesce(FileRequest.started_at, later()),
            "leased_by": owner,
            "leased_until": later(self._settings.lease),
            "dispatch_at": None,
        }
        row = self._change(claim.request_id, *free, _is_due(step, before), *guards, values=taken)
        return Held(row or self._in_doubt(claim.request_id, fence=claim.fence + 1, leased_by=owner), step, owner)

    def take(self, seen: FileRequest, owner: str) -> Held:
        """Claim a pending request that no chain handles. Raises: ClaimLost."""
        free = FileRequest.dispatch_at.is_(None), FileRequest.state == State.PENDING
        return self.claim(Claim.of(seen), "attach", "", f"{BY_HAND} {owner}", *free)

    def renew(self, held: Held) -> bool:
        """The heartbeat: hold the lease for longer. False: it is not ours any more."""
        renewed = {"leased_until": later(self._settings.lease)}
        return self._change(held.file_request.id, *_mine(held), values=renewed) is not None

    def progress(self, held: Held, **values: Any) -> None:
        """Note how far a step has come. Raises: ClaimLost, after a cancel for example."""
        if self._change(held.file_request.id, *_mine(held), values=values) is None:
            raise ClaimLost(held.file_request.id)

    def finish(
        self, held: Held, outcome: dict[str, Any], event: EventKind | None = None, *, waits: bool
    ) -> FileRequest:
        """End a step: its outcome, and the request waits for the next one. Raises: ClaimLost.

        :param event: what else to tell in the history.
        :param waits: whether a message for a next step will be in a queue.
        """
        ended = {"step": held.step, **_UNLEASED, **self._waiting(waits), "dispatches": 0, **outcome}
        events = (EventKind.STEP, *([event] if event else []))
        row = self._change(held.file_request.id, *_mine(held), values=ended, events=events, step=held.step)
        return row or self._in_doubt(held.file_request.id, fence=held.file_request.fence, step=held.step)

    def publish(self, held: Held, outcome: dict[str, Any], max_age: float | None, *, waits: bool) -> FileRequest:
        """End the step that makes the file available. Raises: ClaimLost.

        :param max_age: seconds until the file expires; None: never.
        """
        return self.finish(held, {**outcome, **available(max_age)}, EventKind.READY, waits=waits)

    def fail(self, held: Held, code: str, message: str, *, waits: bool) -> FileRequest:
        """End a request that can't be fulfilled. Raises: ClaimLost.

        :param waits: whether its requester is to be told.
        """
        failed = {**_failed(code, message), **_UNLEASED, **self._waiting(waits)}
        guards = *_mine(held), FileRequest.state.in_(LIVE)
        entry = {"step": held.step, "detail": code}
        row = self._change(held.file_request.id, *guards, values=failed, events=(EventKind.FAILED,), **entry)
        return row or self._in_doubt(held.file_request.id, fence=held.file_request.fence, state=State.FAILED)

    def hand_back(self, held: Held, delay: float | None, reason: str | None = None) -> FileRequest | None:
        """Give up a step that somebody else shall repeat; no attempt is counted. None: it was lost already.

        :param delay: seconds until its message is published again; None: it is pending again, for the caller.
        """
        state = State.PENDING if delay is None else FileRequest.state
        waiting = {"state": state, "dispatch_at": None if delay is None else later(delay)}
        given = {**_NEXT_FENCE, **_UNLEASED, **waiting, "dispatches": FileRequest.dispatches + 1}
        entry = {"step": held.step, "detail": reason}
        return self._change(held.file_request.id, *_mine(held), values=given, events=(EventKind.HANDED_BACK,), **entry)

    # -- sweeping -------------------------------------------------------------------------------

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
        failed = _failed(code, sentence) | self._waiting(True)
        return self._change(seen.id, *untouched, too_long, values=failed, events=(EventKind.FAILED,), detail=code)

    def recover(self, seen: FileRequest) -> FileRequest | None:
        """Take a request over from a dead worker, or give up when that was tried too often. None: it lives."""
        lapsed = FileRequest.fence == seen.fence, FileRequest.leased_until <= later()
        taken = {**_NEXT_FENCE, "attempts": FileRequest.attempts + 1, **_UNLEASED, **self._waiting(True)}
        event, detail = EventKind.RECOVERED, seen.leased_by
        if (seen.leased_by or "").startswith(BY_HAND):
            taken |= {"state": State.PENDING, "dispatch_at": None}
        elif seen.attempts + 1 >= self._settings.max_attempts and seen.state in LIVE:
            taken |= _failed("worker_lost", "The file could not be made: its worker was lost again and again.")
            event, detail = EventKind.FAILED, "worker_lost"
        elif seen.attempts + 1 >= self._settings.max_attempts:  # it has ended well or badly: only the telling failed
            taken["dispatch_at"], event = None, EventKind.NOTIFY_FAILED
        return self._change(seen.id, *lapsed, values=taken, events=(event,), step=seen.step, detail=detail)

    # -- people ---------------------------------------------------------------------------------

    def cancel(self, request_id: str, actor: str | None = None) -> FileRequest | None:
        """End a live request; whoever works on it finds out at its next write. None: it was over."""
        over = {"state": State.CANCELLED, "finished_at": later(), "dispatch_at": None, **_UNLEASED, **_NEXT_FENCE}
        live = FileRequest.state.in_(LIVE)
        return self._change(request_id, live, values=over, events=(EventKind.CANCELLED,), actor=actor)

    def retry(self, request_id: str, actor: str | None = None, *, scheduled: bool) -> FileRequest | None:
        """Start a failed request anew, from its first step. None: it is not failed, or is being told."""
        blank = dict.fromkeys(("error_code", "error_message", "started_at", "finished_at", "notified_at", "rows_total"))
        zero = dict.fromkeys(("attempts", "dispatches", "rows_written"), 0)
        anew = {"state": State.PENDING, "step": "", **blank, **zero, **_NEXT_FENCE, **self._waiting(scheduled)}
        failed = FileRequest.state == State.FAILED, FileRequest.leased_by.is_(None)
        return self._change(request_id, *failed, values=anew, events=(EventKind.RETRIED,), actor=actor)

    def grant(self, request_id: str, token_id: str | None, max_age: float | None) -> FileRequest | None:
        """Allow downloads, under this token id unless there is one already, and for so long from now at least.

        :param max_age: seconds; None: for ever.
        """
        granted = {"token_id": func.coalesce(FileRequest.token_id, token_id), **_lasting(max_age)}
        return self._change(request_id, values=granted)

    def prolong(self, held: Held, max_age: float | None) -> FileRequest:
        """Before the requester is told: the file lasts for so long from now. Raises: ClaimLost."""
        row = self._change(held.file_request.id, *_mine(held), values=_lasting(max_age))
        if row is None:
            raise ClaimLost(held.file_request.id)
        return row

    def revoke(self, request_id: str, actor: str | None = None) -> FileRequest | None:
        """Make every link to this file invalid at once. None: there was none."""
        granted = FileRequest.token_id.is_not(None)
        return self._change(request_id, granted, values={"token_id": None}, events=(EventKind.REVOKED,), actor=actor)

    def downloaded(self, request_id: str, actor: str | None, address: str | None) -> None:
        """Count one whole download."""
        counted = {"downloads": FileRequest.downloads + 1, "last_downloaded_at": later()}
        self._change(request_id, values=counted, events=(EventKind.DOWNLOADED,), actor=actor, detail=address)

    def delete(self, request_id: str) -> FileRequest | None:
        """Remove the row and the history of an ended request; its object is left to the caller. None: it is live."""
        ended = FileRequest.id == request_id, FileRequest.state.in_(ENDED), FileRequest.leased_by.is_(None)
        with self._database.writing() as session:
            return session.scalars(delete(FileRequest).where(*ended).returning(FileRequest)).one_or_none()

    # -- the compare-and-set --------------------------------------------------------------------

    def _change(
        self,
        request_id: str,
        *guards: ColumnElement[bool],
        values: dict[str, Any],
        events: tuple[EventKind, ...] = (),
        **entry: Any,
    ) -> FileRequest | None:
        """The row after the change, or None where the guards did not hold."""
        statement = update(FileRequest).where(FileRequest.id == request_id, *guards).values(values)
        unsynchronized = {"synchronize_session": False}
        with self._database.writing() as session:
            changed = session.scalars(statement.returning(FileRequest), execution_options=unsynchronized).one_or_none()
            if changed is not None:
                for kind in events:
                    log(session, changed, kind, **entry)
            return changed

    def _in_doubt(self, request_id: str, **written: Any) -> FileRequest:
        """The row, if an earlier try of the same write made it so, and only the answer was lost. Raises: ClaimLost."""
        row = self.get(request_id)
        if row is None or any(getattr(row, column) != value for column, value in written.items()):
            raise ClaimLost(request_id)
        return row

    def _patience(self) -> later:
        return later(self._settings.patience)

    def _waiting(self, waits: bool) -> dict[str, Any]:
        return {"dispatch_at": self._patience() if waits else None}


def available(max_age: float | None) -> dict[str, Any]:
    """What makes a row ``ready``.

    :param max_age: seconds until the file expires; None: never.
    """
    return {"state": State.READY, "finished_at": later(), "expires_at": None if max_age is None else later(max_age)}


def _mine(held: Held) -> tuple[ColumnElement[bool], ...]:
    """Fence and owner: a heartbeat that is late must not lease a request that was released meanwhile."""
    return FileRequest.fence == held.file_request.fence, FileRequest.leased_by == held.owner


def _is_due(step: str, before: str) -> ColumnElement[bool]:
    """Whether the row's next step is this one. The telling is also what is left of a failed request."""
    due = and_(FileRequest.step == before, FileRequest.state.in_((*LIVE, State.READY)))
    untold = and_(FileRequest.state == State.FAILED, FileRequest.step != step)
    return or_(due, untold) if step == NOTIFY else due


def _lasting(max_age: float | None) -> dict[str, Any]:
    """A file that has an expiry keeps it, or gets a later one; never an earlier."""
    expires = FileRequest.expires_at
    return {"expires_at": None if max_age is None else case((expires < later(max_age), later(max_age)), else_=expires)}


def _failed(code: str, message: str) -> dict[str, Any]:
    return {"state": State.FAILED, "error_code": code, "error_message": message, "finished_at": later()}
