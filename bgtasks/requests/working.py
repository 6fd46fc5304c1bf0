"""What a worker does with a request: it claims a step, holds it, and ends it."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ClauseElement, ColumnElement, Float, and_, bindparam, case, func, or_

from bgtasks.claims import Claim, Held
from bgtasks.database import later
from bgtasks.errors import ClaimLost
from bgtasks.models import FileRequest
from bgtasks.requests.changes import ITS_FENCE, OWNER, ROW, Change, changing
from bgtasks.requests.writer import BY_HAND, NEXT_FENCE, UNLEASED, Writer, failed, mine
from bgtasks.states import LIVE, EventKind, State

#: The step that tells the requester, of a success or a failure.
NOTIFY = "notify"
#: The steps before the one that writes. If the database has forgotten the claim or the end of one after a crash, it is
#: done once more, in milliseconds and maybe under the same fence; who has it still is told at its next write. What
#: comes later outlasts any crash: hours of work, and the fence that is in an object's key.
REPEATABLE = ("fetch_criteria", "build_items")
#: The steps whose claim may be forgotten, too: they write no object and tell nobody, and their end, which waits for the
#: disk, has the claim before it. (Whoever joins the parts of a file waits for the disk before that.)
CHECKING = (*REPEATABLE, "attach", "tokenize")


class Working(Writer):
    """The steps' side of the record."""

    def claim(self, claim: Claim, step: str, before: str, owner: str, *, by_hand: bool = False) -> Held:
        """Take the lease for a step. Raises: ClaimLost, if it is done, not due, or in other hands.

        :param before: the step that must be the last finished one.
        :param owner: who works: told apart from every other delivery, also of the same message.
        :param by_hand: only if no chain handles the request.
        """
        bound = {"its_fence": claim.fence, "owner": owner, "before": before, "lease": float(self._settings.lease)}
        kind = {"tells": step == NOTIFY, "by_hand": by_hand, "durable": by_hand or step not in CHECKING}
        row = _claiming(**kind).make(self._database, claim.request_id, **bound)
        return Held(row or self._in_doubt(claim.request_id, fence=claim.fence + 1, leased_by=owner), step, owner)

    def take(self, seen: FileRequest, owner: str) -> Held:
        """Claim a pending request that no chain handles. Raises: ClaimLost."""
        return self.claim(Claim.of(seen), "attach", "", f"{BY_HAND} {owner}", by_hand=True)

    def renew(self, held: Held) -> bool:
        """The heartbeat: hold the lease for longer. False: it is not ours any more."""
        renewed = RENEWING.make(self._database, held.file_request.id, **_bound(held), lease=float(self._settings.lease))
        return renewed is not None

    def progress(self, held: Held, **values: Any) -> None:
        """Note how far a step has come, if there is news. Raises: ClaimLost, after a cancel for example."""
        given = _parameters(values or {"fence": held.file_request.fence})
        if _noting(tuple(given)).make(self._database, held.file_request.id, **_bound(held), **given) is None:
            raise ClaimLost(held.file_request.id)

    def keep(self, held: Held, **columns: Any) -> FileRequest:
        """Note on the row what a step has made, before its end. Raises: ClaimLost."""
        row = self._change(held.file_request.id, *mine(held), values=columns)
        if row is None:
            raise ClaimLost(held.file_request.id)
        return row

    def finish(
        self, held: Held, outcome: dict[str, Any], event: EventKind | None = None, *, waits: bool
    ) -> FileRequest:
        """End a step: its outcome, and the request waits for the next one. Raises: ClaimLost.

        :param event: what else to tell in the history.
        :param waits: whether a message for a next step will be in a queue.
        """
        given = _parameters(outcome)
        computed = {name: value for name, value in outcome.items() if not {NEW + name, IN + name} & given.keys()}
        kind = tuple(given), event, waits, held.step not in REPEATABLE
        make = _built(*kind, computed).make_once if computed else _ending(*kind).make
        bound = {"its_step": held.step, "patience": float(self._settings.patience), **given}
        row = make(self._database, held.file_request.id, **_bound(held), **bound)
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
        return self.keep(held, **lasting(max_age))


def available(max_age: float | None) -> dict[str, Any]:
    """What makes a row ``ready``.

    :param max_age: seconds until the file expires; None: never.
    """
    return {"state": State.READY, "finished_at": later(), "expires_at": None if max_age is None else later(max_age)}


def lasting(max_age: float | None) -> dict[str, Any]:
    """A file that has an expiry keeps it, or gets a later one; never an earlier."""
    expires = FileRequest.expires_at
    return {"expires_at": None if max_age is None else case((expires < later(max_age), later(max_age)), else_=expires)}


#: A step's right to write: fence and owner, as ``mine`` has them.
MINE = ROW.c.fence == ITS_FENCE, ROW.c.leased_by == OWNER
ITS_STEP = bindparam("its_step", type_=ROW.c.step.type)
BEFORE = bindparam("before", type_=ROW.c.step.type)
LEASE = later(bindparam("lease", type_=Float()))
PATIENCE = later(bindparam("patience", type_=Float()))
#: What a renewal would have spared, another worker does once more, under a fence of its own.
RENEWING = Change(changing(*MINE, values={"leased_until": LEASE}), durable=False)


def _bound(held: Held) -> dict[str, Any]:
    return {"its_fence": held.file_request.fence, "owner": held.owner}


@functools.cache
def _noting(given: Sequence[str]) -> Change:
    return Change(changing(*MINE, values=dict(map(_assigned, given))), durable=False)


@functools.cache
def _claiming(*, tells: bool, by_hand: bool, durable: bool) -> Change:
    taken = {
        "fence": ROW.c.fence + 1,
        "state": case((ROW.c.state == State.PENDING, State.RUNNING), else_=ROW.c.state),
        "started_at": func.coalesce(ROW.c.started_at, later()),
        "leased_by": OWNER,
        "leased_until": LEASE,
        "dispatch_at": None,
    }
    unscheduled = (ROW.c.dispatch_at.is_(None), ROW.c.state == State.PENDING) if by_hand else ()
    # Of a file that is written in parts: while they are out, there is no message for a step.
    in_turn = or_(ROW.c.parts_total.is_(None), ROW.c.dispatch_at.is_not(None))
    free = ROW.c.fence == ITS_FENCE, ROW.c.leased_by.is_(None), in_turn, _is_due(tells=tells), *unscheduled
    return Change(changing(*free, values=taken), durable=durable)


@functools.cache
def _ending(given: Sequence[str], event: EventKind | None, waits: bool, durable: bool) -> Change:
    """The end of a step, of which the outcome is given: nothing is computed by the database."""
    return _built(given, event, waits, durable, {})


def _built(
    given: Sequence[str], event: EventKind | None, waits: bool, durable: bool, computed: Mapping[str, Any]
) -> Change:
    """The end of any step.

    :param given: the names of the outcome's parameters.
    """
    outcome = dict(map(_assigned, given)) | dict(computed)
    waiting = {"dispatch_at": PATIENCE if waits else None, "dispatches": 0}
    ended = {"step": ITS_STEP, **UNLEASED, **waiting, **outcome}
    events = (EventKind.STEP, *([event] if event else []))
    entry = {"step": ITS_STEP, **({"detail": NEW_QUEUE} if NEW_QUEUE.key in given else {})}
    return Change(changing(*MINE, values=ended), events, durable=durable, **entry)


#: What a parameter's name begins with, since a column's own may be none: a new value, and seconds from now.
NEW, IN = "new_", "in_"
#: Where a step has the request go on: its history tells it.
NEW_QUEUE = bindparam(f"{NEW}queue", type_=ROW.c.queue.type)


def _parameters(outcome: Mapping[str, Any]) -> dict[str, Any]:
    """What of an outcome can be given to a prepared change, by the names of its parameters."""
    given = {}
    for name, value in outcome.items():
        if isinstance(value, later):
            given[IN + name] = value.seconds
        elif not isinstance(value, ClauseElement):
            given[NEW + name] = value
    return given


def _assigned(parameter: str) -> tuple[str, ColumnElement[Any]]:
    """A column, and what it is set to."""
    if parameter.startswith(IN):
        return parameter.removeprefix(IN), later(bindparam(parameter, type_=Float()))
    name = parameter.removeprefix(NEW)
    return name, bindparam(parameter, type_=ROW.c[name].type)


def _is_due(*, tells: bool) -> ColumnElement[bool]:
    """Whether the row's next step is the wanted one. The telling is also what is left of a failed or cancelled one."""
    due = and_(ROW.c.step == BEFORE, ROW.c.state.in_((*LIVE, State.READY)))
    # Of a cancel nobody needs to be told, unless the row waits for it.
    told_of = or_(ROW.c.state == State.FAILED, and_(ROW.c.state == State.CANCELLED, ROW.c.dispatch_at.is_not(None)))
    untold = and_(told_of, ROW.c.step != NOTIFY)
    return or_(due, untold) if tells else due
