"""How long a request still takes, guessed from those that went before it."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

from sqlalchemy import func, select, tuple_
from sqlalchemy.orm import Session

from bgtasks.database import likely
from bgtasks.models import FileRequest, in_state
from bgtasks.requests.writer import Writer
from bgtasks.states import LIVE, State

#: How many finished requests of a type are looked at to tell how long one takes.
RECENT = 200


class Run(NamedTuple):
    """How long a request took that is ready now. Seconds."""

    whole: float  #: from the asking to the finished file
    work: float  #: from the first step to the finished file


@dataclass(frozen=True)
class Outlook:
    """What a requester can expect."""

    position: int | None = None  #: in the queue of its type, from 1; None: its work has begun, or it is over
    seconds: float | None = None  #: until the file is ready, more or less; None: nothing is known


class Expecting(Writer):
    """The record's answer to "when will it be ready?"."""

    def outlook(self, row: FileRequest) -> Outlook:
        """What can be told of a request as it was seen."""
        is_by_hand = row.dispatch_at is None and row.leased_by is None and not row.parts_are_out
        if row.state not in LIVE or is_by_hand:
            return Outlook()  # it is over, or somebody handles it by hand
        with self._database.reading() as session:
            runs = recent_runs(session, row.file_type)
            typical = statistics.median(run.work for run in runs) if runs else None
            if row.state == State.RUNNING:
                return Outlook(None, seconds_left(row, typical))
            return _waiting(session, row, typical)


def seconds_left(row: FileRequest, typical: float | None) -> float | None:
    """Until a running request is ready: by its own rows, or else as long as such a file usually takes.

    :param typical: seconds; None: not known.
    """
    if row.started_at is None:
        return typical
    elapsed = (datetime.now(UTC) - row.started_at).total_seconds()
    if row.rows_total and row.rows_written:
        return elapsed * max(row.rows_total - row.rows_written, 0) / row.rows_written
    return typical - elapsed if typical is not None and typical > elapsed else None


def recent_runs(session: Session, file_type: str) -> list[Run]:
    """The latest finished requests of a type; found by an index, whatever the size of the table."""
    columns = FileRequest.requested_at, FileRequest.started_at, FileRequest.finished_at
    ready = select(*columns).where(in_state(State.READY), FileRequest.file_type == file_type)
    rows = session.execute(ready.order_by(FileRequest.requested_at.desc()).limit(RECENT)).all()
    return [
        Run((end - asked).total_seconds(), (end - (began or asked)).total_seconds())
        for asked, began, end in rows
        if end
    ]


def _waiting(session: Session, row: FileRequest, typical: float | None) -> Outlook:
    same = likely(FileRequest.file_type == row.file_type)
    before = tuple_(FileRequest.requested_at, FileRequest.id) < (row.requested_at, row.id)
    count = select(func.count()).select_from(FileRequest)
    scheduled = in_state(State.PENDING), FileRequest.dispatch_at.is_not(None)
    ahead = session.scalar(count.where(same, *scheduled, before)) or 0
    working = session.scalar(count.where(same, in_state(State.RUNNING)))
    # As many are worked on at once as are just now; each of them is, on average, half done.
    rounds = ahead / max(working or 0, 1) + (1.5 if working else 1)
    return Outlook(ahead + 1, None if typical is None else typical * rounds)
