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
    """Its history says notify_failed, and nothing tries again; the telling has attempts of its own."""
    row = set_row(parts, advanced(parts, "tokenize"), attempts=2)
    for _ in range(parts.settings.max_attempts):
        assert row.dispatch_at is not None
        taken = parts.requests.recover(lapse(parts, claim(parts, row).file_request))
        assert taken is not None
        row = taken
    assert (row.state, row.error_code, row.dispatch_at) == (State.READY, None, None)
    assert told(parts, row)[-3:] == ["recovered", "recovered", "notify_failed"]


def test_who_has_lost_every_worker_is_told_so_though_one_more_is_lost(parts: Deployment) -> None:
    """The attempts at the file are used up, and those at the telling are not."""
    row = set_row(parts, advanced(parts, "fetch_criteria"), attempts=2)
    failed = parts.requests.recover(lapse(parts, claim(parts, row).file_request))
    assert failed is not None
    assert failed.error_code == "worker_lost"
    taken = parts.requests.recover(lapse(parts, claim(parts, failed).file_request))
    assert taken is not None
    assert taken.dispatch_at is not None
    assert told(parts, taken)[-2:] == ["failed", "recovered"]


def test_a_handler_that_died_leaves_its_request_pending(parts: Deployment) -> None:
    """What was taken by hand is anybody's to handle again, however often; no chain begins."""
    row = toolbox.add_request("by hand")
    for attempt in range(1, parts.settings.max_attempts + 2):
        taken = parts.requests.recover(lapse(parts, parts.requests.take(row, "me").file_request))
        assert taken is not None
        row = taken
        assert (row.state, row.dispatch_at, row.attempts) == (State.PENDING, None, attempt)


def test_a_message_is_published_again_by_one(parts: Deployment) -> None:
    """A due request is published again by whoever could postpone it; the fence stays, since nothing has begun."""
    due = fall_due(parts, end(parts, claim(parts, ask())))
    answers = at_once([lambda: parts.requests.dispatch(due, LONG)] * 6)
    postponed = [answer for answer in answers if answer is not None]
    assert [(row.fence, row.dispatches, row.attempts) for row in postponed] == [(due.fence, 1, 0)]
    assert told(parts, due)[-1] == "dispatched"
    assert parts.requests.expedite(postponed[0]) is None
    assert claim(parts, due).step == "build_items"


def test_a_message_that_may_still_come_is_believed_in_without_a_trace(parts: Deployment) -> None:
    """Nothing was published: nothing is counted or told, and only the time has changed."""
    due = fall_due(parts, end(parts, claim(parts, ask())))
    before = told(parts, due)
    parts.requests.postpone([due])
    postponed = now(parts, due)
    assert (postponed.dispatches, told(parts, due)) == (0, before)
    assert postponed.dispatch_at is not None
    assert due.dispatch_at is not None
    assert postponed.dispatch_at > due.dispatch_at


def test_a_row_that_was_handed_back_meanwhile_is_not_postponed(parts: Deployment) -> None:
    """It has no message in any queue: the belief was in that of another fence."""
    due, other = (fall_due(parts, end(parts, claim(parts, ask()))) for _ in range(2))
    handed_back = parts.requests.hand_back(claim(parts, due), 0, "stopping")
    assert handed_back is not None
    parts.requests.postpone([due, other])
    assert now(parts, due).dispatch_at == handed_back.dispatch_at
    assert now(parts, other).dispatch_at != other.dispatch_at


def test_a_message_that_is_known_to_be_lost_is_published_at_once_one_time(parts: Deployment) -> None:
    """What kills its worker before it can claim must not go round and round."""
    waiting = end(parts, claim(parts, ask()))
    answers = at_once([lambda: parts.requests.expedite(waiting)] * 6)
    expedited = [answer for answer in answers if answer is not None]
    assert [(row.fence, row.dispatches, row.attempts) for row in expedited] == [(waiting.fence, 1, 0)]
    assert parts.requests.expedite(expedited[0]) is None
    held = claim(parts, expedited[0])
    assert parts.requests.expedite(held.file_request) is None


def test_an_owner_that_is_known_to_be_dead_needs_no_lapse(parts: Deployment) -> None:
    """Its request is taken over at once; not that of another owner, or of the same one's next claim."""
    held = claim(parts, ask(), "worker 1")
    assert parts.requests.recover(held.file_request, "worker 2") is None
    assert parts.requests.recover(held.file_request) is None
    taken = parts.requests.recover(held.file_request, "worker 1")
    assert taken is not None
    assert (taken.attempts, taken.leased_by, told(parts, taken)[-1]) == (1, None, "recovered")
    assert parts.requests.recover(held.file_request, "worker 1") is None


def test_a_request_at_work_is_not_postponed(parts: Deployment) -> None:
    """A claim ends the waiting."""
    due = fall_due(parts, end(parts, claim(parts, ask())))
    claim(parts, due)
    assert parts.requests.dispatch(due, LONG) is None
    parts.requests.postpone([due])
    assert now(parts, due).dispatch_at is None
