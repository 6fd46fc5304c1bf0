"""The states of a request and the entries of its history."""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    """Where a request stands. ``ready`` may still become ``expired``; the others below it are final."""

    PENDING = "pending"  #: stored, and no step has begun
    RUNNING = "running"  #: the chain is at work, or waits for a worker between two steps
    READY = "ready"  #: the file is whole and may be downloaded
    FAILED = "failed"  #: ``error_code`` and ``error_message`` say why
    CANCELLED = "cancelled"  #: given up by its requester or an operator
    EXPIRED = "expired"  #: the file has been removed, as announced


#: A request in one of these goes on by itself; every other state is an ended one.
LIVE = (State.PENDING, State.RUNNING)
ENDED = tuple(state for state in State if state not in LIVE)


class EventKind(StrEnum):
    """What an entry of a request's history tells. A finished step's entry is ``step``."""

    REQUESTED = "requested"
    STEP = "step"
    PARTS = "parts"  #: its parts are out
    PART = "part"  #: one of them is done
    READY = "ready"
    FAILED = "failed"
    CANCELLED = "cancelled"
    RETRIED = "retried"
    HANDED_BACK = "handed_back"
    RECOVERED = "recovered"
    DISPATCHED = "dispatched"
    NOTIFIED = "notified"
    NOT_NOTIFIED = "not_notified"
    NOTIFY_FAILED = "notify_failed"
    EXPIRING = "expiring"
    REMINDED = "reminded"
    DOWNLOADED = "downloaded"
    REVOKED = "revoked"
    LINKED = "linked"
    FORGOTTEN = "forgotten"
    EXPIRED = "expired"
