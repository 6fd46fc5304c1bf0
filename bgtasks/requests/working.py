"""What a worker does with a request: it claims a step, holds it, and ends it."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, and_, case, func, or_

from bgtasks.claims import Claim, Held
from bgtasks.database import later
from bgtasks.errors import ClaimLost
from bgtasks.models import FileRequest
from bgtasks.requests.writer import BY_HAND, NEXT_FENCE, UNLEASED, Writer, failed, mine
from bgtasks.states import LIVE, EventKind, State

#: The step that tells the requester, of a success or a failure.
NOTIFY = "notify"


class Working(Writer):
    """The steps' side of the record."""

    def claim(self, claim: Claim, step: str, before: str, owner: str, *guards: ColumnElement[bool]) -> Held:
        """Take the lease for a step. Raises: ClaimLost, if it is done, not due, or in other hands.

        :param before: the step that must be the last finished one.
        :param owner: who works: told apart from every other delivery, also of the same message.
        """
        free = FileRequest.fence == claim.fence, FileRequest.leased_by.is_(None)
        taken = {
            **NEXT_FENCE,
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
        return self._change(held.file_request.id, *mine(held), values=renewed) is not None

    def progress(self, held: Held, **values: Any) -> None:
        """Note how far a step has come, if there is news. Raises: ClaimLost, after a cancel for example."""
        values = values or {"fence": held.file_request.fence}
        if self._change(held.file_request.id, *mine(held), values=values) is None:
            raise ClaimLost(held.file_request.id)

    def finish(
        self, held: Held, outcome: dict[str, Any], event: EventKind | None = None, *, waits: bool
    ) -> FileRequest:
        """End a step: its outcome, and the request waits for the next one. Raises: ClaimLost.

        :param event: what else to tell in the history.
        :param waits: whether a message for a next step will be in a queue.
        """
        ended = {"step": held.step, **UNLEASED, **self._waiting(waits), "dispatches": 0, **outcome}
        events = (EventKind.STEP, *([event] if event else []))
        row = self._change(held.file_request.id, *mine(held), values=ended, events=events, step=held.step)
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
        ended = {**failed(code, message), **UNLEASED, **self._waiting(waits)}
        guards = *mine(held), FileRequest.state.in_(LIVE)
        entry = {"step": held.step, "detail": code}
        row = self._change(held.file_request.id, *guards, values=ended, events=(EventKind.FAILED,), **entry)
        return row or self._in_doubt(held.file_request.id, fence=held.file_request.fence, state=State.FAILED)

    def hand_back(self, held: Held, delay: float | None, reason: str | None = None) -> FileRequest | None:
        """Give up a step that somebody else shall repeat; no attempt is counted. None: it was lost already.

        :param delay: seconds until its message is published again; None: it is pending again, for the caller.
        :param reason: for the history.
        """
        state = State.PENDING if delay is None else FileRequest.state
        waiting = {"state": state, "dispatch_at": None if delay is None else later(delay)}
        again = FileRequest.dispatches + 1 if delay else 0  # what grows with each failure is the back-off
        given = {**NEXT_FENCE, **UNLEASED, **waiting, "dispatches": again}
        entry = {"step": held.step, "detail": reason}
        return self._change(held.file_request.id, *mine(held), values=given, events=(EventKind.HANDED_BACK,), **entry)

    def prolong(self, held: Held, max_age: float | None) -> FileRequest:
        """Before the requester is told: the file lasts for so long from now. Raises: ClaimLost."""
        row = self._change(held.file_request.id, *mine(held), values=lasting(max_age))
        if row is None:
            raise ClaimLost(held.file_request.id)
        return row


def available(max_age: float | None) -> dict[str, Any]:
    """What makes a row ``ready``.

    :param max_age: seconds until the file expires; None: never.
    """
    return {"state": State.READY, "finished_at": later(), "expires_at": None if max_age is None else later(max_age)}


def lasting(max_age: float | None) -> dict[str, Any]:
    """A file that has an expiry keeps it, or gets a later one; never an earlier."""
    expires = FileRequest.expires_at
    return {"expires_at": None if max_age is None else case((expires < later(max_age), later(max_age)), else_=expires)}


def _is_due(step: str, before: str) -> ColumnElement[bool]:
    """Whether the row's next step is this one. The telling is also what is left of a failed request."""
    due = and_(FileRequest.step == before, FileRequest.state.in_((*LIVE, State.READY)))
    untold = and_(FileRequest.state == State.FAILED, FileRequest.step != step)
    return or_(due, untold) if step == NOTIFY else due
