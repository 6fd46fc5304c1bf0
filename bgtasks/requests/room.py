"""How many of somebody's requests go on at once, and when there is room for one more."""

from __future__ import annotations

import hashlib
import math
import statistics
from datetime import timedelta

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from bgtasks.errors import TooManyActive
from bgtasks.models import FileRequest, in_state
from bgtasks.requests.outlook import recent_runs
from bgtasks.states import LIVE

#: Seconds until it is worth asking again: where no request has finished yet, and at least, and at most.
UNKNOWN, SOONEST, LATEST = 60, 10, 3600


def take_turn(session: Session, requester: str, file_type: str) -> None:
    """Wait until nobody else asks for the same requester and type, before anything is counted.

    SQLite has one writer at a time. PostgreSQL needs a lock, which the transaction's end releases; two
    transactions that each count what they see would both find room otherwise (it takes READ COMMITTED).
    """
    if session.get_bind(FileRequest).dialect.name == "postgresql":
        name = f"bgtasks {file_type} {requester}".encode()
        number = int.from_bytes(hashlib.sha256(name).digest()[:8], signed=True)
        session.execute(select(func.pg_advisory_xact_lock(number)))


def see_room(session: Session, new: FileRequest, most: int) -> None:
    """Take a new request out again, if there is no room for it. Raises: TooManyActive.

    It is counted after the insert: a transaction on SQLite that read first could not write any more.
    """
    same = FileRequest.requester == new.requester, FileRequest.file_type == new.file_type
    others = select(func.count(), func.min(FileRequest.requested_at)).where(*same, in_state(*LIVE))
    count, oldest = session.execute(others.where(FileRequest.id != new.id)).one()
    if count >= most:
        session.execute(delete(FileRequest).where(FileRequest.id == new.id))
        raise TooManyActive(most, _seconds_until_room(session, new, new.requested_at - oldest))


def _seconds_until_room(session: Session, new: FileRequest, had: timedelta) -> int:
    """How long the one that was asked for first will take still, if it takes as long as the recent ones."""
    durations = [run.whole for run in recent_runs(session, new.file_type)]
    left = statistics.median(durations) - had.total_seconds() if durations else UNKNOWN
    return math.ceil(min(max(left, SOONEST), LATEST))
