"""How a step ends: with one write under its fence, or not at all."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from bgtasks.claims import Held
from bgtasks.deployment import Deployment
from bgtasks.errors import ClaimLost
from bgtasks.models import FileRequest
from bgtasks.states import EventKind, State
from tests.record.moves import LONG, advanced, ask, claim, end, fall_due, lapse, now, set_row, told

#: Every write that a step may still make, after somebody else has the request.
LATE_WRITES: dict[str, Callable[[Deployment, Held], Any]] = {
    "progress": lambda parts, held: parts.requests.progress(held, rows_written=7),
    "prolong": lambda parts, held: parts.requests.prolong(held, LONG),
    "finish": lambda parts, held: parts.requests.finish(held, {"rows_total": 7}, waits=True),
    "publish": lambda parts, held: parts.requests.publish(held, {"filename": "late.csv"}, LONG, waits=True),
    "fail": lambda parts, held: parts.requests.fail(held, "internal_error", "Late.", waits=True),
}


def take_over(parts: Deployment, held: Held) -> FileRequest:
    """The sweep takes a held request from its worker, and another worker begins the same step."""
    taken = parts.requests.recover(lapse(parts, held.file_request))
    assert taken is not None
    return claim(parts, taken, "worker 2").file_request


@pytest.mark.parametrize("waits", [True, False])
def test_finish_writes_the_outcome_and_releases_the_lease(parts: Deployment, waits: bool) -> None:
    """A finished step leaves its outcome, no lease, and a time until which its next message is believed in."""
    held = claim(parts, advanced(parts, "fetch_criteria"))
    set_row(parts, held.file_request, dispatches=4)
    row = parts.requests.finish(held, {"rows_total": 3}, waits=waits)
    assert (row.step, row.rows_total, row.leased_by, row.leased_until) == ("build_items", 3, None, None)
    assert (row.state, row.fence, row.dispatches) == (State.RUNNING, held.file_request.fence, 0)
    assert (row.dispatch_at is not None) is waits
    assert told(parts, row)[-1] == EventKind.STEP
    assert parts.requests.history(row.id)[-1].step == "build_items"


def test_a_message_is_believed_in_for_the_patience(parts: Deployment) -> None:
    """The next message is expected to be taken up within bgtasks_patience."""
    row = end(parts, held := claim(parts, ask()))
    assert row.dispatch_at is not None
    assert held.file_request.started_at is not None
    waits = (row.dispatch_at - held.file_request.started_at).total_seconds()
    assert waits == pytest.approx(parts.settings.patience, abs=5)


def test_publish_makes_the_file_available(parts: Deployment) -> None:
    """A published file is ready, from now until its age is over."""
    row = advanced(parts, "attach")
    assert row.state == State.READY
    assert row.finished_at is not None
    assert row.expires_at is not None
    assert (row.expires_at - row.finished_at).total_seconds() == pytest.approx(LONG, abs=0.1)
    assert told(parts, row)[-2:] == [EventKind.STEP, EventKind.READY]


def test_a_file_without_an_age_never_expires(parts: Deployment) -> None:
    """max_age None means for ever."""
    held = claim(parts, advanced(parts, "write_bytes"))
    assert parts.requests.publish(held, {}, None, waits=False).expires_at is None


def test_the_expiry_moves_when_the_requester_is_told_and_never_back(parts: Deployment) -> None:
    """The file lasts as long as the link that is sent now, and never shorter than was said before."""
    held = claim(parts, advanced(parts, "tokenize"))
    before = now(parts, held.file_request).expires_at
    assert before is not None
    longer = parts.requests.prolong(held, LONG * 2).expires_at
    assert longer is not None
    assert longer - before > timedelta(seconds=LONG - 60)
    assert parts.requests.prolong(held, 1).expires_at == longer
    assert parts.requests.prolong(held, None).expires_at is None


def test_an_end_that_is_written_twice_counts_once(parts: Deployment) -> None:
    """Where the answer to an end was lost, writing it again finds it written: one entry in the history."""
    held = claim(parts, advanced(parts, "build_items"))
    first, again = end(parts, held), end(parts, held)
    assert (again.step, again.fence, again.object_key) == (first.step, first.fence, held.object_key)
    assert told(parts, held.file_request).count(EventKind.STEP) == 3


def test_a_failure_that_is_written_twice_counts_once(parts: Deployment) -> None:
    """The same for the end of a request that can't be fulfilled: whoever wrote it must go on to announce it."""
    held = claim(parts, ask())
    for _ in range(2):
        row = parts.requests.fail(held, "too_many_rows", "There are too many.", waits=True)
        assert (row.state, row.error_code, row.error_message) == (
            State.FAILED, "too_many_rows", "There are too many.",
        )  # fmt: skip
    assert told(parts, held.file_request) == ["requested", "failed"]


def test_fail_says_why_and_when(parts: Deployment) -> None:
    """A failed request keeps its last finished step, has no lease, and waits for its requester to be told."""
    held = claim(parts, advanced(parts, "fetch_criteria"))
    row = parts.requests.fail(held, "too_many_rows", "There are too many.", waits=True)
    assert (row.step, row.leased_by, row.leased_until) == ("fetch_criteria", None, None)
    assert row.finished_at is not None
    assert row.dispatch_at is not None
    entry = parts.requests.history(row.id)[-1]
    assert (entry.kind, entry.step, entry.detail) == (EventKind.FAILED, "build_items", "too_many_rows")


@pytest.mark.parametrize("step", ["attach", "tokenize"])
def test_a_ready_file_never_becomes_a_failure(parts: Deployment, step: str) -> None:
    """Whatever goes wrong once the file is whole, it stays available."""
    held = claim(parts, advanced(parts, step))
    with pytest.raises(ClaimLost):
        parts.requests.fail(held, "internal_error", "No.", waits=True)
    assert now(parts, held.file_request).state == State.READY


@pytest.mark.parametrize("write", LATE_WRITES.values(), ids=LATE_WRITES)
def test_nothing_is_written_after_a_takeover(parts: Deployment, write: Callable[[Deployment, Held], Any]) -> None:
    """A worker that was thought dead and comes back changes nothing, whatever it tries."""
    held = claim(parts, advanced(parts, "build_items"))
    before = take_over(parts, held)
    with pytest.raises(ClaimLost):
        write(parts, held)
    after = now(parts, before)
    assert {name: getattr(after, name) for name in FileRequest.__table__.columns.keys()} == {  # noqa: SIM118
        name: getattr(before, name)
        for name in FileRequest.__table__.columns.keys()  # noqa: SIM118
    }


@pytest.mark.parametrize("write", LATE_WRITES.values(), ids=LATE_WRITES)
def test_nothing_is_written_after_a_cancel(parts: Deployment, write: Callable[[Deployment, Held], Any]) -> None:
    """A running step learns of a cancel at its next write."""
    held = claim(parts, ask())
    parts.requests.progress(held, rows_written=2)
    parts.requests.cancel(held.file_request.id)
    with pytest.raises(ClaimLost):
        write(parts, held)
    row = now(parts, held.file_request)
    assert (row.state, row.rows_written) == (State.CANCELLED, 2)


def test_a_heartbeat_renews_only_what_is_held(parts: Deployment) -> None:
    """A late heartbeat must not lease a request that was released meanwhile: its next step would wait for nothing."""
    held = claim(parts, ask())
    lapse(parts, held.file_request)
    assert parts.requests.renew(held)
    renewed = now(parts, held.file_request)
    assert parts.requests.recover(renewed) is None
    ended = end(parts, held)
    assert not parts.requests.renew(held)
    assert now(parts, ended).leased_until is None


def test_a_heartbeat_after_a_takeover_does_nothing(parts: Deployment) -> None:
    """The lease of the new worker is its own."""
    held = claim(parts, ask())
    taken = take_over(parts, held)
    assert not parts.requests.renew(held)
    row = now(parts, taken)
    assert (row.leased_by, row.leased_until) == ("worker 2", taken.leased_until)


def test_a_step_that_is_handed_back_is_somebody_elses(parts: Deployment) -> None:
    """It is dispatched after the delay, under a new fence, from the same step; no attempt is counted."""
    held = claim(parts, advanced(parts, "fetch_criteria"))
    row = parts.requests.hand_back(held, LONG, "service_unavailable")
    assert row is not None
    assert (row.state, row.step, row.fence) == (State.RUNNING, "fetch_criteria", held.file_request.fence + 1)
    assert (row.attempts, row.dispatches, row.leased_by) == (0, 1, None)
    entry = parts.requests.history(row.id)[-1]
    assert (entry.kind, entry.step, entry.detail) == (EventKind.HANDED_BACK, "build_items", "service_unavailable")
    with pytest.raises(ClaimLost):
        end(parts, held)
    assert parts.requests.hand_back(held, 0) is None
    assert parts.requests.dispatch(fall_due(parts, row), 1) is not None


def test_a_request_that_is_handed_back_by_hand_is_pending_again(parts: Deployment) -> None:
    """With no delay it waits for the caller and for no message."""
    held = parts.requests.take(ask(), "me")
    row = parts.requests.hand_back(held, None)
    assert row is not None
    assert (row.state, row.step, row.dispatch_at, row.leased_by) == (State.PENDING, "", None, None)
    assert [found.id for found in FileRequest.to_handle()] == [row.id]


def test_a_handler_takes_only_what_is_pending_and_not_scheduled(parts: Deployment) -> None:
    """What has a chain, or another handler, is not for the taking."""
    scheduled = parts.requests.insert({"id": ask().id[:-4] + "abcd", "file_type": "numbers"}, scheduled=True)
    taken = ask()
    parts.requests.take(taken, "me")
    for seen in (scheduled, taken, now(parts, taken), advanced(parts, "fetch_criteria")):
        with pytest.raises(ClaimLost):
            parts.requests.take(seen, "you")
