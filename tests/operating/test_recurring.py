"""A report that beat asks for: of the days that it is about when it is asked for, once, and mailed."""

from __future__ import annotations

import io
from collections.abc import Iterator
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from openpyxl import load_workbook
from sqlalchemy import insert, select

from bgtasks import periods
from bgtasks.deployment import Deployment
from bgtasks.models import FileRequest
from bgtasks.stack import Mailbox, Process, Stack, wait_for
from bgtasks.states import State
from tasks.flights import flights
from tests.operating import markers
from tests.support.flights import flight

OFFICE = ZoneInfo("America/New_York")


@pytest.fixture
def last_week(parts: Deployment) -> periods.Period:
    """Flights on each of its days, and on those before and after."""
    found = periods.of("last week", datetime.now(OFFICE).date())
    assert found is not None
    days = [found.first + timedelta(days=number) for number in range(-1, 8)]
    assert days[-2] == found.last
    with parts.database.writing() as session:
        session.execute(insert(flights), [{**flight(number), "date": day} for number, day in enumerate(days)])
    return found


@pytest.fixture
def beats(stack: Stack, worker: Process) -> Iterator[list[Process]]:
    """Two at once, each of which asks twice a second."""
    made = [stack.celery(name, "beat", "-s", str(stack.var / name), "--pidfile=", "-l", "INFO") for name in ("a", "b")]
    yield made
    for beat in made:
        beat.kill()


def test_each_week_there_is_one_file_of_its_days(
    parts: Deployment, last_week: periods.Period, beats: list[Process], worker: Process, post: Mailbox
) -> None:
    """However often it is asked for: the row has the days, in the office's zone, and the office has a mail."""
    asking = "(bgtasks.request_file)"
    wait_for(lambda: all(beat.output().count(asking) >= 3 for beat in beats), "beat does not ask")
    wait_for(lambda: _mails(post), "no mail has come")
    asked = sum(beat.output().count(asking) for beat in beats)
    wait_for(lambda: worker.output().count("bgtasks.request_file[") >= asked, "not all of it has been asked")

    with parts.database.reading() as session:
        [row] = session.scalars(select(FileRequest).where(FileRequest.requester == markers.OFFICE)).all()
    assert (row.state, row.rows_written, row.format) == (State.READY, 7, "xlsx")
    days = {"from_date": str(last_week.first), "until_date": str(last_week.last), "carrier": None}
    assert row.criteria == days
    year, week, _ = datetime.now(OFFICE).isocalendar()
    assert row.idempotency_key == f"flights-of-last-week {year}-W{week:02}"
    assert len(_mails(post)) == 1
    sheet = load_workbook(io.BytesIO(b"".join(parts.store.read(str(row.object_key))))).active
    assert sheet is not None
    assert [cells[0].date() for cells in sheet.iter_rows(min_row=2, values_only=True)] == [
        last_week.first + timedelta(days=number) for number in range(7)
    ]


def _mails(post: Mailbox) -> list[str]:
    return [str(mail["Subject"]) for mail in post.mails if mail["To"] == markers.OFFICE]
