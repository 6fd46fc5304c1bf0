"""Rows of ended requests are kept for ``bgtasks_retention``, and go with all that hangs on them."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import func, select

from bgtasks import FileType, registry, toolbox
from bgtasks.deployment import Deployment
from bgtasks.models import Event, Notification
from bgtasks.states import State
from tests.clean.scenes import (
    LONG_AGO,
    cancelled,
    claim,
    ended,
    failed,
    in_seconds,
    keys,
    now,
    overdue,
    path,
    run,
    set_row,
)
from tests.record.moves import told

RETENTION = 86_400.0
WITHOUT_FILE = [State.EXPIRED, State.CANCELLED, State.FAILED]


@pytest.fixture
def conf() -> dict[str, Any]:
    """Rows are kept for a day."""
    return {"bgtasks_retention": RETENTION}


def lines(parts: Deployment, table: type[Event | Notification], request_id: str) -> int:
    """How many lines hang on a request."""
    with parts.database.reading() as session:
        return session.scalar(select(func.count()).where(table.request_id == request_id)) or 0


@pytest.mark.parametrize("state", WITHOUT_FILE)
def test_the_row_goes_with_its_history_and_its_ledger(parts: Deployment, state: State) -> None:
    """Nothing is left of the request."""
    other, row = ended(parts, state, 0), ended(parts, state, -RETENTION - 60)
    for table in (Event, Notification):
        assert lines(parts, table, row.id) > 0
    done = run()
    assert (done.rows, parts.requests.get(row.id)) == (1, None)
    for table in (Event, Notification):
        assert lines(parts, table, row.id) == 0
        assert lines(parts, table, other.id) > 0


@pytest.mark.parametrize("state", WITHOUT_FILE)
def test_the_row_stays_until_its_time_is_over(parts: Deployment, state: State) -> None:
    """Counted from its end; for an expired file from its expiry, however long ago it was made."""
    row = ended(parts, state, -RETENTION + 60)
    if state == State.EXPIRED:
        set_row(parts, row, finished_at=in_seconds(LONG_AGO))
    assert run().rows == 0
    assert now(parts, row).state == state


def test_a_ready_file_stays_for_ever_if_it_has_no_expiry(parts: Deployment) -> None:
    """Somebody has asked for that."""
    row = ended(parts, State.READY, LONG_AGO)
    assert run().rows == 0
    assert keys(parts) == {row.object_key}


def test_an_expired_file_of_which_a_link_is_made_again_goes_all_the_same(parts: Deployment) -> None:
    """A signer without an end takes the expiry from the row; then its making counts."""
    row = set_row(parts, ended(parts, State.EXPIRED, LONG_AGO), expires_at=None)
    assert run().rows == 0
    set_row(parts, row, finished_at=in_seconds(LONG_AGO))
    assert run().rows == 1


@pytest.mark.parametrize("waits", [True, False])
def test_a_failure_that_is_still_to_be_told_stays(parts: Deployment, waits: bool) -> None:
    """Its requester would never learn of it."""
    row = set_row(parts, failed(parts, waits=waits), finished_at=in_seconds(LONG_AGO))
    assert run().rows == (0 if waits else 1)
    assert (parts.requests.get(row.id) is not None) is waits


def test_a_failure_that_is_being_told_stays(parts: Deployment) -> None:
    """Whoever holds it would find it gone."""
    row = claim(parts, failed(parts, waits=True)).file_request
    set_row(parts, row, finished_at=in_seconds(LONG_AGO), object_key=None)
    assert run().rows == 0
    assert now(parts, row).leased_by == row.leased_by


def test_the_row_stays_until_its_object_is_gone(parts: Deployment) -> None:
    """What names an object is what finds it again: a store that keeps it keeps its row."""
    row = set_row(parts, cancelled(parts), finished_at=in_seconds(LONG_AGO))
    stubborn = path(parts, str(row.object_key))
    stubborn.unlink()
    (stubborn / "in the way").mkdir(parents=True)
    done = run()
    assert (done.faults, done.rows, now(parts, row).object_key) == (1, 0, row.object_key)
    (stubborn / "in the way").rmdir()
    stubborn.rmdir()
    assert run().rows == 1


def test_a_retry_beside_the_sweep_wins(parts: Deployment) -> None:
    """A row that was seen as over, and goes on again, is not removed; one that has failed once more is."""
    row = ended(parts, State.FAILED, LONG_AGO)
    assert toolbox.retry(now(parts, row))
    assert parts.requests.forget([row], RETENTION) == 0
    assert told(parts, row)[-1] == "retried"


def test_a_file_may_expire_and_go_in_one_run(parts: Deployment) -> None:
    """After a long pause without a sweep, nothing waits for another one."""
    row = overdue(parts, since=-LONG_AGO)
    done = run()
    assert (done.expired, done.rows, parts.requests.get(row.id)) == (1, 1, None)


class _Kept(FileType):
    """A type whose rows are kept for as long as a test says."""

    file_type = "kept"

    def get_items(self, criteria: Any) -> Any:
        return []


@pytest.mark.parametrize(
    ("state", "retention", "goes"),
    [
        (State.EXPIRED, None, False),
        (State.FAILED, 2 * RETENTION + 60, False),
        (State.CANCELLED, RETENTION + 60, True),
        (State.EXPIRED, 60.0, True),
        (State.FAILED, "default", True),
    ],
)
def test_a_type_says_how_long_its_rows_are_kept(
    parts: Deployment, monkeypatch: pytest.MonkeyPatch, state: State, retention: Any, goes: bool
) -> None:
    """For longer, for less long, or for ever; the setting holds for all others, and for types that nobody knows."""
    registry.register(_Kept)
    monkeypatch.setattr(_Kept, "retention", retention)
    fresh, kept, unknown = (ended(parts, state, 0) for _ in range(3))
    column = "expires_at" if state == State.EXPIRED else "finished_at"
    for row, name in ((kept, "kept"), (unknown, "unknown")):
        set_row(parts, row, file_type=name, **{column: in_seconds(-2 * RETENTION)})
    set_row(parts, fresh, **{column: in_seconds(60 - RETENTION)})
    assert run().rows == 1 + goes
    assert (parts.requests.get(kept.id) is None) is goes
    assert parts.requests.get(unknown.id) is None
    assert now(parts, fresh).state == state


def test_a_type_whose_retention_is_not_known_keeps_its_rows(
    parts: Deployment, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What raises there costs a line in the log, and nobody else's rows stay."""
    registry.register(_Kept)
    monkeypatch.setattr(_Kept, "get_retention", lambda _: 1 / 0)
    kept, other = (ended(parts, State.FAILED, 0) for _ in range(2))
    set_row(parts, kept, file_type="kept", finished_at=in_seconds(LONG_AGO))
    set_row(parts, other, finished_at=in_seconds(LONG_AGO))
    done = run()
    assert (done.rows, done.faults, parts.requests.get(other.id)) == (1, 0, None)
    assert now(parts, kept).state == State.FAILED
    assert "how long the rows of kept are kept is not known" in caplog.text
