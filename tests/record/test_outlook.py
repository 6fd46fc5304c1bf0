"""How long a request still takes: a guess that is honest about what is not known."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bgtasks import toolbox
from bgtasks.deployment import Deployment
from bgtasks.models import FileRequest
from bgtasks.requests.outlook import Outlook, seconds_left
from bgtasks.states import State
from tests.support.handmade import REQUESTER, alter, finished, in_seconds


def running(began: float | None, written: int = 0, total: int | None = None) -> FileRequest:
    """A row that is being worked on since so many seconds."""
    started = None if began is None else datetime.now(UTC) - timedelta(seconds=began)
    return FileRequest(started_at=started, rows_written=written, rows_total=total)


@pytest.mark.parametrize(
    ("seen", "typical", "expected"),
    [
        ((10, 100, 400), None, 30),
        ((10, 100, 400), 500, 30),
        ((10, 400, 400), 500, 0),
        ((10, 500, 400), None, 0),  # the table has grown since it was counted
        ((10, 0, 400), 50, 40),
        ((10, 100, None), 50, 40),
        ((60, 100, None), 50, None),  # it takes longer than usual: nobody knows how long
        ((10,), None, None),
        ((None,), 50, 50),
    ],
)
def test_its_own_rows_say_more_than_the_others(
    seen: tuple[Any, ...], typical: float | None, expected: float | None
) -> None:
    """A rate is taken from its own rows, or else from how long such a file usually takes."""
    found = seconds_left(running(*seen), typical)
    assert found == (None if expected is None else pytest.approx(expected, abs=1))


def ask(parts: Deployment, **columns: Any) -> FileRequest:
    """A request that waits for a worker."""
    asked = toolbox.add_request({}, "numbers", REQUESTER, schedule=True)
    return alter(parts, asked, **columns) if columns else asked


def test_where_nothing_has_finished_there_is_no_estimate(parts: Deployment) -> None:
    """The first one of its type has a place and no time."""
    assert parts.requests.outlook(ask(parts)) == Outlook(1, None)


def test_other_types_and_hands_are_not_in_the_queue(parts: Deployment) -> None:
    """Nobody waits for what has another queue, is handled by hand, has begun, or was asked for later."""
    toolbox.add_request({}, "numbers", REQUESTER)
    ask(parts, file_type="others")
    ask(parts, state=State.RUNNING)
    ask(parts, requested_at=in_seconds(100))
    ask(parts, requested_at=in_seconds(-100))
    assert parts.requests.outlook(ask(parts)).position == 2


def test_more_workers_make_it_shorter(parts: Deployment) -> None:
    """As many as are being made just now are made at once."""
    alter(parts, finished(), started_at=in_seconds(-100), finished_at=in_seconds(0))
    for number in range(4):
        ask(parts, requested_at=in_seconds(number - 100))
    last = ask(parts)
    alone = parts.requests.outlook(last).seconds
    for _ in range(2):
        ask(parts, state=State.RUNNING)
    together = parts.requests.outlook(last).seconds
    assert alone is not None
    assert together is not None
    assert together < alone


def test_what_is_over_has_no_outlook(parts: Deployment) -> None:
    """Neither has what somebody handles by hand."""
    assert parts.requests.outlook(finished()) == Outlook()
    assert parts.requests.outlook(toolbox.add_request({}, "numbers", REQUESTER)) == Outlook()


def test_what_is_typical(parts: Deployment) -> None:
    """The middle one of how long finished files of the type were worked on; waits, failures and others don't count."""
    over = [(State.READY, "numbers", work) for work in (10, 100, 1000)]
    over += [(State.FAILED, "numbers", 1), (State.READY, "others", 9000)] * 2
    for state, file_type, work in over:
        took = {"requested_at": in_seconds(-9999), "started_at": in_seconds(-work), "finished_at": in_seconds(0)}
        alter(parts, finished(), state=state, file_type=file_type, **took)
    ask(parts, requested_at=in_seconds(-9))
    last = ask(parts)
    assert parts.requests.outlook(last).seconds == pytest.approx(200, rel=0.1)  # the one ahead, and itself
    for file_type in ("numbers", "others", "others"):
        ask(parts, state=State.RUNNING, file_type=file_type)
    assert parts.requests.outlook(last).seconds == pytest.approx(250, rel=0.1)  # and half of what is being made


def test_of_two_that_came_together_one_is_first(parts: Deployment) -> None:
    """Nobody has the place of somebody else."""
    same = in_seconds(-1)
    rows = [ask(parts, requested_at=same) for _ in range(2)]
    assert {parts.requests.outlook(row).position for row in rows} == {1, 2}


def test_what_a_step_holds_goes_on(parts: Deployment) -> None:
    """A request in a worker's hands has an outlook, though no message of it is expected."""
    held = ask(parts, state=State.RUNNING, dispatch_at=None, leased_by="w", started_at=in_seconds(-10))
    held = alter(parts, held, rows_total=400, rows_written=100)
    assert parts.requests.outlook(held).seconds == pytest.approx(30, abs=3)
