"""A file type with parts; and requests whose parts are out, each of them where a test wants it, without a worker."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import insert, select, update

from bgtasks import FileType, registry
from bgtasks.claims import HeldPart, PartClaim
from bgtasks.deployment import Deployment
from bgtasks.models import FileRequest, Part
from bgtasks.requests.part_writer import Standing
from tasks.login_events import Base, LoginEvent
from tests.record.moves import advanced, claim
from tests.support.handmade import fresh

FIRST = datetime(2026, 3, 28, tzinfo=UTC)  # the last day of winter in Zurich
#: Rows of a file, and of each of its parts.
ROWS, EACH = 90, 30


class Logins(FileType):
    """Who has logged in when, in three parts."""

    file_type = "logins"
    formats = ("csv", "csv.gz", "jsonl")
    columns = {"id": "No.", "at": "When", "username": "Name"}
    coalesce = True
    max_active_per_requester = 2
    parts = 3
    part_key = LoginEvent.id
    notifiers = ()

    def get_items(self, criteria: Any) -> Any:
        return select(LoginEvent.id, LoginEvent.at, LoginEvent.username).order_by(LoginEvent.id)


class WholeLogins(Logins):
    """The same by one writer."""

    file_type = "whole_logins"
    parts = None


def fill(parts: Deployment, number: int) -> None:
    """So many logins, an hour after the other; and the two types are registered."""
    for file_type in (Logins, WholeLogins):
        registry.register(file_type)
    Base.metadata.create_all(parts.database.engine)
    same = {"address": "192.0.2.1", "succeeded": True}
    rows = [{**same, "at": FIRST + timedelta(hours=each), "username": f"name {each}"} for each in range(number)]
    with parts.database.writing() as session:
        session.execute(insert(LoginEvent), rows)


def fan_out(parts: Deployment, seen: FileRequest | None = None, most: int | None = None) -> FileRequest:
    """A request of which three parts are out.

    :param seen: the request (default: a new one); no step has begun.
    :param most: how many of the parts wait for a worker at once.
    """
    held = claim(parts, advanced(parts, "fetch_criteria", seen))
    parts.parting.plan(held, [{}] * (ROWS // EACH))
    planned = {"rows_total": ROWS, "parts_total": ROWS // EACH, "parts_done": 0}
    held = claim(parts, parts.requests.finish(held, planned, waits=True))
    return parts.parting.fan_out(held, {}, most).file_request


def begin(parts: Deployment, row: FileRequest, number: int, rows: int, owner: str = "worker@host 1") -> HeldPart:
    """A part at work, which has written so many rows.

    :param number: from 0.
    """
    held = parts.parting.claim(PartClaim.of(row, parts.parting.of(row.id)[number]), owner)
    parts.parting.progress(held, rows_written=rows)
    return held


def finish(parts: Deployment, held: HeldPart) -> Standing:
    """The end of a part, with an object in the store."""
    with parts.store.open_writer(held.object_key, lambda: None) as buffer:
        buffer.write(b"x")
        buffer.commit()
    made = {"object_key": held.object_key, "size": buffer.size, "sha256": buffer.sha256}
    return parts.parting.finish(held, {**made, "rows": EACH})


def halfway(parts: Deployment, seen: FileRequest | None = None) -> FileRequest:
    """One part is done, one is half done, and one waits: 45 of 90 rows."""
    row = fan_out(parts, seen)
    finish(parts, begin(parts, row, 0, EACH))
    begin(parts, row, 1, EACH // 2, "worker@elsewhere 2")
    return fresh(parts, row)


def alter_part(parts: Deployment, row: FileRequest, number: int, **columns: Any) -> None:
    """What only time does otherwise: columns of a part are set past the protocol."""
    which = Part.request_id == row.id, Part.number == number
    with parts.database.writing() as session:
        session.execute(update(Part).where(*which).values(columns))
