"""Who may take a step: one claim is granted, and every other one ends in silence."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest

from bgtasks import toolbox
from bgtasks.claims import Claim, Held
from bgtasks.deployment import Deployment
from bgtasks.errors import ClaimLost
from bgtasks.models import FileRequest
from bgtasks.states import State
from tests.record.moves import advanced, ask, at_once, claim, end, lapse, now, told

RIVALS = 8


def test_a_claim_takes_the_lease_and_the_next_fence(parts: Deployment) -> None:
    """The first step makes a request running, with a lease, an owner and a higher fence."""
    asked = toolbox.add_request({"count": 1}, "numbers", requester="ada@example.com")
    held = parts.requests.claim(Claim.of(asked), "fetch_criteria", "", "worker 1")
    row = parts.requests.get(asked.id)
    assert row is not None
    assert (row.state, row.fence, row.leased_by) == (State.RUNNING, 1, "worker 1")
    assert row.started_at is not None
    assert row.leased_until is not None
    assert (row.leased_until - row.started_at).total_seconds() == pytest.approx(parts.settings.lease, abs=0.1)
    assert row.dispatch_at is None
    assert held.claim == Claim(asked.id, "numbers", 1)


def test_a_later_claim_keeps_the_state_and_the_start(parts: Deployment) -> None:
    """A request started when its first step did, and a ready one is not running again while its mail is sent."""
    row = advanced(parts, "tokenize")
    held = claim(parts, row)
    assert (held.file_request.state, held.file_request.started_at) == (State.READY, row.started_at)


@pytest.mark.parametrize(
    ("wrong", "step", "before"),
    [
        (lambda right: right, "build_items", "fetch_criteria"),  # done already
        (lambda right: right, "attach", "write_bytes"),  # not due yet
        (lambda right: replace(right, fence=right.fence - 1), "write_bytes", "build_items"),  # handed on earlier
        (lambda right: replace(right, fence=right.fence + 1), "write_bytes", "build_items"),  # never handed on
        (lambda right: replace(right, request_id=str(uuid.uuid4())), "write_bytes", "build_items"),
    ],
    ids=["done", "not due", "late", "forged", "no row"],
)
def test_a_claim_that_does_not_fit_the_row_is_lost(
    parts: Deployment, wrong: Callable[[Claim], Claim], step: str, before: str
) -> None:
    """Only the step after the last finished one, under the fence that was handed on, may begin."""
    row = advanced(parts, "build_items")
    with pytest.raises(ClaimLost):
        parts.requests.claim(wrong(Claim.of(row)), step, before, "worker 1")
    assert now(parts, row).fence == row.fence


def test_a_second_claim_with_the_same_fence_is_lost(parts: Deployment) -> None:
    """A doubled message does nothing, while the first works and after it has ended."""
    asked = ask()
    held = claim(parts, asked)
    with pytest.raises(ClaimLost):
        claim(parts, asked, "worker 2")
    end(parts, held)
    with pytest.raises(ClaimLost):
        claim(parts, asked, "worker 2")


def test_a_lapsed_lease_alone_admits_nobody(parts: Deployment) -> None:
    """A request is taken over by the sweep, which counts the attempt, and not by a message that happens to come."""
    asked = ask()
    lapse(parts, claim(parts, asked).file_request)
    with pytest.raises(ClaimLost):
        claim(parts, now(parts, asked), "worker 2")


def test_a_claim_that_is_retried_by_its_owner_is_granted(parts: Deployment) -> None:
    """Where the answer to a claim was lost, asking again finds one's own name: nothing is counted or taken twice."""
    asked = ask()
    first = claim(parts, asked, "worker 1")
    again = claim(parts, asked, "worker 1")
    assert again.file_request.fence == first.file_request.fence == 1
    assert now(parts, asked).attempts == 0
    assert end(parts, again).step == "fetch_criteria"


def test_a_retried_claim_is_lost_once_the_request_was_taken_over(parts: Deployment) -> None:
    """One's own name counts only under one's own fence."""
    asked = ask()
    lapsed = lapse(parts, claim(parts, asked, "worker 1").file_request)
    taken = parts.requests.recover(lapsed)
    assert taken is not None
    claim(parts, taken, "worker 1")
    with pytest.raises(ClaimLost):
        claim(parts, asked, "worker 1")


@pytest.mark.parametrize("state", [State.CANCELLED, State.EXPIRED])
def test_an_ended_request_has_no_steps(parts: Deployment, state: State) -> None:
    """What is over is over, whichever message still comes."""
    row = advanced(parts, "tokenize")
    with parts.database.writing() as session:
        seen = session.get_one(FileRequest, row.id)
        seen.state, seen.dispatch_at = state, None
    with pytest.raises(ClaimLost):
        claim(parts, row)


def test_of_a_failed_request_only_the_telling_is_left(parts: Deployment) -> None:
    """Whichever step failed, notify may begin, once; no other step may."""
    failed = parts.requests.fail(claim(parts, advanced(parts, "fetch_criteria")), "too_many_rows", "No.", waits=True)
    with pytest.raises(ClaimLost):
        parts.requests.claim(Claim.of(failed), "build_items", "fetch_criteria", "worker 2")
    held = parts.requests.claim(Claim.of(failed), "notify", "tokenize", "worker 2")
    over = parts.requests.finish(held, {}, waits=False)
    assert (over.state, over.step, over.dispatch_at) == (State.FAILED, "notify", None)
    with pytest.raises(ClaimLost):
        parts.requests.claim(Claim.of(over), "notify", "tokenize", "worker 3")


def test_one_of_many_simultaneous_claims_wins(parts: Deployment) -> None:
    """The database decides between workers that come at the same moment: one is granted, all others are lost."""
    for _ in range(5):
        asked = ask()
        answers = at_once([partial(claim, parts, asked, f"worker {number}") for number in range(RIVALS)])
        granted = [answer for answer in answers if isinstance(answer, Held)]
        assert len(granted) == 1
        assert {type(answer) for answer in answers} == {Held, ClaimLost}
        row = now(parts, asked)
        assert (row.leased_by, row.fence) == (granted[0].owner, 1)


def test_a_claim_leaves_no_trace_in_the_history(parts: Deployment) -> None:
    """The history tells what came to pass: an end, and not each beginning."""
    asked = ask()
    claim(parts, asked)
    assert told(parts, asked) == ["requested"]
