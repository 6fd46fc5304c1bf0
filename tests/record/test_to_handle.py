"""``FileRequest.to_handle()``: what there is to do for whoever handles requests by hand."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta

import pytest

from bgtasks import models, toolbox
from bgtasks.deployment import Deployment
from bgtasks.errors import ClaimLost
from bgtasks.models import FileRequest
from tests.record.moves import advanced, ask, set_row

BEGIN = datetime(2024, 2, 29, 12, tzinfo=UTC)


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "BATCH", 3)


def asked(parts: Deployment, hours: float, file_type: str = "") -> FileRequest:
    """A pending request that was made so many hours after the first."""
    row = toolbox.add_request(f"{hours}", file_type)
    return set_row(parts, row, requested_at=BEGIN + timedelta(hours=hours))


def ids() -> list[str]:
    """What there is to handle."""
    return [row.id for row in FileRequest.to_handle()]


def test_pending_requests_come_oldest_first_through_every_batch(parts: Deployment, small_batches: None) -> None:
    """However many there are, each comes once; those of the same moment too."""
    hours = [5, 3, 8, 1, 3, 3, 3, 3, 0, 7.000001]
    rows = [asked(parts, hour) for hour in hours]
    expected = sorted(rows, key=lambda row: (row.requested_at, row.id))
    assert ids() == [row.id for row in expected]


def test_nothing_to_handle_is_an_empty_loop(parts: Deployment) -> None:
    """No row, no error."""
    assert ids() == []


def test_what_others_handle_is_left_alone(parts: Deployment) -> None:
    """A scheduled request has its chain, a taken one its handler, an ended one its end."""
    parts.requests.insert({"id": str(uuid.uuid4()), "file_type": "numbers"}, scheduled=True)
    parts.requests.take(ask(), "me")
    advanced(parts, "build_items")
    parts.requests.cancel(ask().id)
    toolbox.attach_file(ask(), b"done")
    mine = ask()
    assert ids() == [mine.id]


def test_a_type_may_be_chosen(parts: Deployment) -> None:
    """One handler for each kind of file."""
    report, other, plain = asked(parts, 0, "report"), asked(parts, 1, "other"), asked(parts, 2)
    assert [row.id for row in FileRequest.to_handle("report")] == [report.id]
    assert [row.id for row in FileRequest.to_handle("")] == [plain.id]
    assert ids() == [report.id, other.id, plain.id]


def test_the_loop_handles_each_request_as_it_goes(parts: Deployment, small_batches: None) -> None:
    """Requests that are handled within the loop don't make it skip or repeat others; later ones come too."""
    rows = [asked(parts, hour) for hour in range(7)]
    handled = []
    for number, row in enumerate(FileRequest.to_handle()):
        toolbox.attach_file(row, b"done")
        handled.append(row.id)
        if number == 0:
            rows.append(asked(parts, 24))
    assert handled == [row.id for row in rows]
    assert ids() == []


def test_what_another_handler_took_meanwhile_is_lost_and_the_loop_goes_on(parts: Deployment) -> None:
    """A row that was read before another handler took it can't be handled twice."""
    rows = [asked(parts, hour) for hour in range(3)]
    handled, lost = [], []
    for row in FileRequest.to_handle():
        if row.id == rows[0].id:
            toolbox.attach_file(rows[1], b"by somebody else")
            toolbox.cancel(rows[2])
        try:
            toolbox.attach_file(row, b"by me")
            handled.append(row.id)
        except ClaimLost:
            lost.append(row.id)
    assert (handled, lost) == ([rows[0].id], [rows[1].id, rows[2].id])
