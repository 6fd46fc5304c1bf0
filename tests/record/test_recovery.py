"""What the sweeps may do to a row: take it over once its lease has lapsed, publish again once it is due."""

from __future__ import annotations

from bgtasks import toolbox
from bgtasks.deployment import Deployment
from bgtasks.states import State
from tests.record.moves import LONG, advanced, ask, at_once, claim, end, fall_due, lapse, now, set_row, told


def test_a_request_with_a_living_worker_is_left_alone(parts: Deployment) -> None:
    """Only a lease that has lapsed may be taken over, and only as it was seen."""
    held = claim(parts, ask())
    assert parts.requests.recover(held.file_request) is None
    seen = lapse(parts, held.file_request)
    parts.requests.renew(held)
    assert parts.requests.recover(seen) is None
    assert end(parts, held).attempts == 0


def test_recover_takes_a_lapsed_request_over(parts: Deployment) -> None:
    """The same step is due again, under a new fence; the attempt is counted, and the history names the dead."""
    held = claim(parts, advanced(parts, "build_items"))
    row = parts.requests.recover(lapse(parts, held.file_request))
    assert row is not None
    assert (row.state, row.step, row.attempts, row.leased_by) == (State.RUNNING, "build_items", 1, None)
    assert row.fence == held.file_request.fence + 1
    assert row.dispatch_at is not None
    entry = parts.requests.history(row.id)[-1]
    assert (entry.kind, entry.detail) == ("recovered", "worker 1")
    assert claim(parts, row).step == "write_bytes"


def test_one_of_many_simultaneous_recoveries_counts(parts: Deployment) -> None:
    """Two sweeps at once do no harm."""
    seen = lapse(parts, claim(parts, ask()).file_request)
    answers = at_once([lambda: parts.requests.recover(seen)] * 6)
    assert sum(answer is not None for answer in answers) == 1
    assert now(parts, seen).attempts == 1


def test_a_request_whose_workers_die_again_and_again_fails(parts: Deployment) -> None:
    """After bgtasks_max_attempts it is worker_lost, and its requester is to be told."""
    row = advanced(parts, "fetch_criteria")
    for attempt in range(parts.settings.max_attempts):
        assert (row.state, row.attempts) == (State.RUNNING, attempt)
        taken = parts.requests.recover(lapse(parts, claim(parts, row).file_request))
        assert taken is not None
        row = taken
    assert (row.state, row.error_code, row.attempts) == (State.FAILED, "worker_lost", 3)
    assert row.dispatch_at is not None
    assert row.finished_at is not None
    assert told(parts, row)[-2:] == ["recovered", "failed"]


def test_a_ready_file_stays_ready_when_its_telling_kills_every_worker(parts: Deployment) -> None:
    """Its history says notify_failed, and nothing tries again."""
    row = set_row(parts, advanced(parts, "tokenize"), attempts=2)
    taken = parts.requests.recover(lapse(parts, claim(parts, row).file_request))
    assert taken is not None
    assert (taken.state, taken.error_code, taken.dispatch_at) == (State.READY, None, None)
    assert told(parts, taken)[-1] == "notify_failed"


def test_a_handler_that_died_leaves_its_request_pending(parts: Deployment) -> None:
    """What was taken by hand is anybody's to handle again, however often; no chain begins."""
    row = toolbox.add_request("by hand")
    for attempt in range(1, parts.settings.max_attempts + 2):
        taken = parts.requests.recover(lapse(parts, parts.requests.take(row, "me").file_request))
        assert taken is not None
        row = taken
        assert (row.state, row.dispatch_at, row.attempts) == (State.PENDING, None, attempt)


def test_postpone_believes_in_the_message_for_longer(parts: Deployment) -> None:
    """A due request is published again by whoever could postpone it; the fence stays, since nothing has begun."""
    waiting = end(parts, claim(parts, ask()))
    assert parts.requests.postpone(waiting, LONG) is None
    due = fall_due(parts, waiting)
    answers = at_once([lambda: parts.requests.postpone(due, LONG)] * 6)
    postponed = [answer for answer in answers if answer is not None]
    assert [(row.fence, row.dispatches, row.attempts) for row in postponed] == [(due.fence, 1, 0)]
    assert told(parts, due)[-1] == "dispatched"
    assert claim(parts, due).step == "build_items"


def test_a_request_at_work_is_not_postponed(parts: Deployment) -> None:
    """A claim ends the waiting."""
    due = fall_due(parts, end(parts, claim(parts, ask())))
    claim(parts, due)
    assert parts.requests.postpone(due, LONG) is None
