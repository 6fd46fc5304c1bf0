"""Limits at the moment of asking: so many at once, criteria of such a size."""

from __future__ import annotations

import threading
import time
from datetime import timedelta
from typing import Any

import pytest
from celery.result import AsyncResult
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from bgtasks import registry, toolbox
from bgtasks.asking import MOST_CRITERIA
from bgtasks.database import later
from bgtasks.deployment import Deployment
from bgtasks.errors import InvalidCriteria, RequestFailed, TooManyActive
from bgtasks.models import FileRequest
from bgtasks.requests import room
from bgtasks.states import State
from tests.asking.roads import (
    ADA,
    BOB,
    ROADS,
    Few,
    Refused,
    Road,
    by_task,
    by_toolbox,
    by_view,
    count,
    failed,
    ready,
    register,
    somebody_waits,
)
from tests.record.moves import at_once, claim, set_row, told, wait_for
from tests.support.file_types import Numbers

REFUSED = (TooManyActive, Refused)


@pytest.fixture(autouse=True)
def _types(parts: Deployment) -> None:
    register()


def few(**more: Any) -> FileRequest:
    """A request for a ``Few``, of which there may be two."""
    return by_toolbox({}, "few", **more)


# -- so many at once --------------------------------------------------------------------------------


@pytest.mark.parametrize("road", ROADS)
def test_one_too_many_is_refused(parts: Deployment, published: list[str], road: Road) -> None:
    """On whatever road it comes; those that were there go on, and of it nothing is published but its failure."""
    kept = [road({}, "few").id for _ in range(2)]
    with pytest.raises(REFUSED, match="No more than 2 of these files can be made for you at once") as refused:
        road({}, "few")
    told = [refused.value.row.id] if isinstance(refused.value, Refused) else []
    assert published == [*kept, *told]


def test_the_error_says_how_many_and_when_to_come_back(parts: Deployment, published: list[str]) -> None:
    """In words for the requester, and in numbers for a program."""
    few(), few()
    with pytest.raises(TooManyActive) as refused:
        few()
    assert (refused.value.limit, refused.value.retry_after) == (2, room.UNKNOWN)
    assert refused.value.error_code == "too_many_active"
    assert str(refused.value).endswith(f"Please ask again in {room.UNKNOWN} seconds.")
    assert count(parts) == 2


def test_the_error_survives_a_process_boundary() -> None:
    """A result backend and a pool of processes make an exception again from its arguments."""
    refused = TooManyActive(3, 1800)
    again = type(refused)(*refused.args)
    assert (str(again), again.limit, again.retry_after) == (str(refused), 3, 1800)
    assert "in 30 minutes" in str(again)


def test_a_refused_message_leaves_a_failed_row(parts: Deployment, published: list[str]) -> None:
    """Whoever waits for ``request_file`` is told; the row says why, holds no keys, and takes no room."""
    first = few()
    few()
    with pytest.raises(Refused) as refused:
        by_task({"count": 7}, "few", idempotency_key="order 17")
    row = refused.value.row
    assert (row.state, row.error_code, row.idempotency_key) == (State.FAILED, "too_many_active", None)
    assert (row.criteria, row.requester) == ({"count": 7}, ADA)
    assert told(parts, row) == ["requested", "failed"]
    with pytest.raises(RequestFailed, match="ask again in"):
        AsyncResult(row.id, app=parts.app).get(timeout=5)
    toolbox.cancel(first)
    assert by_task({}, "few", idempotency_key="order 17").state == State.PENDING


def test_the_refused_message_again_is_refused_again(parts: Deployment, published: list[str]) -> None:
    """A doubled message does nothing, even if there is room by now: its requester has been told."""
    kept = [few() for _ in range(2)]
    with pytest.raises(Refused) as refused:
        by_task({}, "few")
    toolbox.cancel(kept[0])
    with pytest.raises(Refused) as again:
        by_task({}, "few", id=refused.value.row.id)
    assert again.value.row.id == refused.value.row.id
    assert count(parts) == 3


def test_a_message_that_comes_again_is_not_one_more(parts: Deployment, published: list[str]) -> None:
    """Its request has its room already."""
    rows = [by_task({}, "few") for _ in range(2)]
    assert by_task({}, "few", id=rows[1].id).state == State.PENDING
    assert count(parts) == 2


@pytest.mark.parametrize("end", [ready, failed, lambda parts, row: toolbox.cancel(row)])
def test_whatever_ends_makes_room(parts: Deployment, published: list[str], end: Any) -> None:
    """Only what is pending or running counts."""
    few()
    row = claim(parts, few()).file_request
    with pytest.raises(TooManyActive):
        few()
    toolbox.cancel(row)
    end(parts, few())
    few()
    with pytest.raises(TooManyActive):
        few()


def test_the_limit_is_each_requesters_and_each_types(parts: Deployment, published: list[str]) -> None:
    """Others are not in anybody's way, and types without a limit have none."""
    registry.register(type("FewMore", (Few,), {"file_type": "few_more"}))
    for requester in (ADA, BOB):
        for _ in range(2):
            few(requester=requester)
            by_toolbox({}, "few_more", requester)
    for _ in range(5):
        by_toolbox()


@pytest.mark.parametrize("requester", [None, ""])
def test_requests_of_nobody_are_not_limited(parts: Deployment, published: list[str], requester: str | None) -> None:
    """There is nobody to come back later."""
    for road in ROADS:
        for _ in range(3):
            assert road({}, "few", requester).state == State.PENDING


def test_what_is_handled_by_hand_is_not_refused(parts: Deployment, published: list[str]) -> None:
    """Its caller has their own order; but a file that is made is a file that is made."""
    for _ in range(3):
        toolbox.add_request({}, "few", ADA)
    with pytest.raises(TooManyActive):
        few()


def test_an_answer_is_no_new_request(parts: Deployment, published: list[str]) -> None:
    """Where an older request answers, there is nothing to refuse."""
    keyed = few(idempotency_key="order 17")
    few()
    assert few(idempotency_key="order 17").id == keyed.id
    wish = by_toolbox({"count": 1}, "few_alike")
    by_toolbox({"count": 2}, "few_alike")
    assert by_task({"count": 1}, "few_alike").id == wish.id
    with pytest.raises(TooManyActive):
        by_toolbox({"count": 3}, "few_alike")


# -- at the same moment -----------------------------------------------------------------------------


def test_many_at_once_get_as_many_as_there_may_be(parts: Deployment, published: list[str]) -> None:
    """Two producers that each see room for one do not both get in."""
    roads = [lambda: by_task({}, "few"), lambda: by_toolbox({}, "few"), lambda: by_view({}, "few")]
    answers = at_once(roads * 3)
    taken = [answer for answer in answers if isinstance(answer, FileRequest)]
    assert len(taken) == 2
    told = [answer.row for answer in answers if isinstance(answer, Refused)]
    assert sorted(published) == sorted(row.id for row in (*taken, *told))
    assert all(isinstance(answer, (FileRequest, *REFUSED)) for answer in answers), answers


def test_many_at_once_of_which_some_are_the_same(parts: Deployment, published: list[str]) -> None:
    """Answers and refusals in one go: at most two rows, and nobody is refused what is being made already."""
    answers = at_once([lambda n=n: by_toolbox({"count": n % 3}, "few_alike") for n in range(9)])
    taken = {answer.id for answer in answers if isinstance(answer, FileRequest)}
    assert len(taken) == 2
    assert sum(isinstance(answer, TooManyActive) for answer in answers) == 3


@pytest.mark.parametrize("commits", [True, False])
def test_a_commit_that_comes_late_takes_its_room(
    parts: Deployment, engine: Engine, published: list[str], commits: bool
) -> None:
    """Whoever asks meanwhile waits for the other transaction, and is counted after it."""
    answers: list[FileRequest | TooManyActive] = []
    app = parts.app

    def ask() -> None:
        app.set_current()
        try:
            answers.append(few())
        except TooManyActive as refused:
            answers.append(refused)

    few()
    with Session(engine) as session:
        few(session=session)
        waiting = threading.Thread(target=ask)
        waiting.start()
        if engine.dialect.name == "postgresql":
            wait_for(lambda: somebody_waits(parts))
        assert answers == []
        session.commit() if commits else session.rollback()
    waiting.join()
    assert isinstance(answers[0], TooManyActive if commits else FileRequest)
    assert count(parts) == 2


def test_a_refusal_does_not_break_the_callers_transaction(
    parts: Deployment, engine: Engine, published: list[str]
) -> None:
    """It goes on without the request, of which nothing is left."""
    kept = few()
    with Session(engine) as session:
        second = few(session=session)
        with pytest.raises(TooManyActive):
            few(session=session)
        other = by_toolbox(session=session)
        session.commit()
    assert published == [kept.id, second.id, other.id]
    assert count(parts) == 3
    with parts.database.reading() as reading:
        assert reading.scalar(text("SELECT count(*) FROM bgtasks_events")) == 3


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_only_the_same_requester_and_type_wait_for_each_other(
    parts: Deployment, engine: Engine, published: list[str]
) -> None:
    """A transaction that is left open keeps nobody else waiting, and types without a limit take no lock."""
    with Session(engine) as session:
        few(session=session)
        by_toolbox(session=session)
        began = time.monotonic()
        few(requester=BOB)
        by_toolbox()
        assert time.monotonic() - began < 2
        session.rollback()


# -- when to come back ------------------------------------------------------------------------------


def wait_of(parts: Deployment) -> int:
    """The seconds that a refusal names."""
    with pytest.raises(TooManyActive) as refused:
        few()
    return refused.value.retry_after


def took(parts: Deployment, seconds: float, file_type: str = "few") -> None:
    """A request of somebody's that took so long."""
    row = ready(parts, by_toolbox({}, file_type, BOB))
    assert row.finished_at is not None
    set_row(parts, row, requested_at=row.finished_at - timedelta(seconds=seconds))


def test_the_wait_is_what_a_file_takes_less_what_the_oldest_has_had(parts: Deployment, published: list[str]) -> None:
    """The middle one of the recent ones of this type; one that took very long is no measure."""
    for seconds in (280, 300, 30_000):
        took(parts, seconds)
    took(parts, 20, "numbers")
    set_row(parts, few(), requested_at=later(-100))
    few()
    assert 195 <= wait_of(parts) <= 201


@pytest.mark.parametrize(("seconds", "had", "wait"), [(1, 0, room.SOONEST), (60, 900, room.SOONEST), (90_000, 0, 3600)])
def test_the_wait_has_bounds(parts: Deployment, published: list[str], seconds: float, had: float, wait: int) -> None:
    """Nobody is sent away for a day, nor invited to ask again at once."""
    took(parts, seconds)
    for _ in range(2):
        set_row(parts, few(), requested_at=later(-had))
    assert wait_of(parts) == wait


# -- the criteria's size ----------------------------------------------------------------------------


def register_free(name: str, **attributes: Any) -> None:
    """Make a type known that takes any criteria."""
    declared = {"file_type": name, "Criteria": None, "get_items": lambda self, criteria: []}
    registry.register(type(name, (Numbers,), declared | attributes))


def of_size(size: int) -> str:
    """Criteria of so many bytes of JSON."""
    return "x" * (size - 2)


@pytest.mark.parametrize("road", ROADS)
def test_criteria_have_a_size(parts: Deployment, published: list[str], road: Road) -> None:
    """Its limit is a hundred thousand bytes, unless a type says otherwise."""
    register_free("free")
    register_free("short", max_criteria_size=10)
    register_free("long", max_criteria_size=None)
    for name, most in (("free", MOST_CRITERIA), ("short", 10)):
        assert road(of_size(most), name).state == State.PENDING
        sentence = f"criteria: are too big: {most + 1:,} bytes, where {most:,} are the most"
        if road is by_task:
            row = road(of_size(most + 1), name)
            assert (row.state, row.error_code, row.criteria) == (State.FAILED, "invalid_criteria", "")
            assert sentence in str(row.error_message)
            assert row.requester == ADA
        else:
            with pytest.raises(InvalidCriteria) as refused:
                road(of_size(most + 1), name)
            assert sentence in str(refused.value)
    assert len(road(of_size(3 * MOST_CRITERIA), "long").criteria) > 2 * MOST_CRITERIA


@pytest.mark.parametrize("file_type", ["", "unheard_of"])
def test_without_a_type_the_default_holds(parts: Deployment, file_type: str) -> None:
    """By hand, and for a type that nobody knows."""
    toolbox.add_request(of_size(MOST_CRITERIA), file_type)
    with pytest.raises(InvalidCriteria, match="too big"):
        toolbox.add_request(of_size(MOST_CRITERIA + 1), file_type)
    assert by_task(of_size(MOST_CRITERIA + 1), "unheard_of").criteria == ""


def test_every_fault_is_found_at_once(parts: Deployment) -> None:
    """What is too big is not stored because something else is wrong as well."""
    row = by_task(of_size(MOST_CRITERIA + 1), "numbers", description="\0")
    assert row.criteria == row.description == ""
    assert "criteria: " in str(row.error_message)
    assert "description: " in str(row.error_message)


def test_the_size_is_that_of_what_is_stored(parts: Deployment, published: list[str]) -> None:
    """In bytes of JSON, in which a letter may take six."""
    register_free("short", max_criteria_size=20)
    assert by_toolbox("ü" * 3, "short").criteria == "üüü"
    with pytest.raises(InvalidCriteria, match="26 bytes, where 20"):
        by_toolbox("ü" * 4, "short")


def nested(depth: int) -> Any:
    """A list in a list in a list."""
    criteria: Any = 1
    for _ in range(depth):
        criteria = [criteria]
    return criteria


@pytest.mark.parametrize("depth", [254, 255, 990, 5000])
def test_criteria_that_are_nested_too_deeply(parts: Deployment, published: list[str], depth: int) -> None:
    """They break no worker and no producer, at any depth: stored or refused."""
    register_free("free", coalesce=True)
    row = by_task(nested(depth), "free")
    if depth < 255:
        assert (row.state, row.criteria) == (State.PENDING, nested(depth))
        with pytest.raises(RequestFailed, match="The criteria are not valid"):
            registry.dispatch(row.id)
    else:
        assert (row.state, row.error_code, row.criteria) == (State.FAILED, "invalid_criteria", "")
        assert "nested too deeply" in str(row.error_message)
        with pytest.raises(InvalidCriteria, match="nested too deeply"):
            by_toolbox(nested(depth), "free")


@pytest.mark.parametrize(
    "criteria", [object(), {"since": object()}, b"\xff", 10**5000], ids=["object", "deep", "bytes", "number"]
)
def test_what_is_no_json_is_refused(criteria: Any) -> None:
    """With an error of ours, that names the argument and never the value."""
    with pytest.raises(InvalidCriteria, match="can't be written as JSON") as refused:
        toolbox.add_request(criteria, requester=ADA)
    assert list(refused.value.fields) == ["criteria"]


def test_a_text_that_is_looked_up_has_a_length(parts: Deployment, published: list[str]) -> None:
    """PostgreSQL's indexes take no long texts; the longest that are allowed can all come together."""
    longest = {"requester": "ü" * 400, "idempotency_key": "ß" * 400}
    assert by_task(**longest).state == State.PENDING
    row = by_task(**longest, file_type="x" * 800)
    assert (row.state, row.error_code) == (State.FAILED, "unknown_file_type")
    row = by_task(file_type="x" * 801, requester="y" * 801, idempotency_key="z" * 801)
    assert (row.state, row.file_type, row.requester, row.idempotency_key) == (State.FAILED, "", None, None)
    assert str(row.error_message).count("is longer than 800 bytes") == 3
