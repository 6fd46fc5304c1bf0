"""``coalesce = True``: while a file is being made or is fresh, the same requester's same wish is answered with it."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from bgtasks import registry, request_file, results, toolbox
from bgtasks.claims import Claim
from bgtasks.database import later
from bgtasks.deployment import Deployment
from bgtasks.errors import ClaimLost, RequestFailed
from bgtasks.execution import run
from bgtasks.models import FileRequest
from bgtasks.requests import asking
from bgtasks.states import State
from tests.asking.roads import (
    ADA,
    BOB,
    ROADS,
    Alike,
    Road,
    by_task,
    by_toolbox,
    by_view,
    count,
    failed,
    ready,
    register,
)
from tests.record.moves import at_once, claim, lapse, now, set_row, told

WISH = {"count": 1, "carriers": ["UA", "B6"]}


@pytest.fixture(autouse=True)
def _types(parts: Deployment) -> None:
    register()


def ask(criteria: Any = "", **more: Any) -> FileRequest:
    """A request for an ``Alike``."""
    return by_toolbox(criteria or WISH, "alike", **more)


@pytest.mark.parametrize("second", ROADS)
@pytest.mark.parametrize("first", ROADS)
def test_the_same_wish_is_answered_with_the_same_request(
    parts: Deployment, published: list[str], first: Road, second: Road
) -> None:
    """On whatever roads the two come: nothing is inserted, nothing is published, the first one's id is the answer."""
    row = first(WISH, "alike")
    assert second(WISH, "alike").id == row.id
    assert published == [row.id]
    assert count(parts) == 1
    assert told(parts, row) == ["requested"]


@pytest.mark.parametrize(
    ("wish", "more"),
    [
        ({"carriers": ["UA", "B6"], "count": 1}, {}),
        ({"carriers": ["B6", "UA"], "count": "1"}, {}),
        ({**WISH, "kind": None}, {}),
        ({**WISH, "k": None}, {}),
        (WISH, {"format": "csv"}),
        (WISH, {"language": "", "tz": ""}),
        (WISH, {"filename": "another.csv", "description": "In other words", "requester_email": BOB}),
    ],
)
def test_what_means_the_same_is_the_same(published: list[str], wish: Any, more: dict[str, Any]) -> None:
    """Order of keys, members of a set, defaults, the default format: what is said otherwise makes no other file."""
    assert ask(wish, **more).id == ask().id


@pytest.mark.parametrize(
    ("wish", "more"),
    [
        ({**WISH, "count": 2}, {}),
        ({**WISH, "k": "x"}, {}),
        (WISH, {"format": "xlsx"}),
        (WISH, {"language": "de"}),
        (WISH, {"tz": "Europe/Zurich"}),
        (WISH, {"requester": BOB}),
        (WISH, {"requester": None}),
        (WISH, {"requester": ""}),
    ],
)
def test_what_differs_is_another_request(published: list[str], wish: Any, more: dict[str, Any]) -> None:
    """Criteria, format, language, zone and requester decide what is in the file, and whose it is."""
    assert ask(wish, **more).id != ask().id


@pytest.mark.parametrize("requester", [None, ""])
@pytest.mark.parametrize("road", ROADS)
def test_nobodys_requests_are_not_coalesced(published: list[str], road: Road, requester: str | None) -> None:
    """Of two visitors without a name, neither gets the other's file."""
    assert road(WISH, "alike", requester).id != road(WISH, "alike", requester).id


def test_types_do_not_coalesce_unless_they_say_so(published: list[str]) -> None:
    """The default is a file for each request."""
    assert by_toolbox().id != by_toolbox().id


def test_requests_by_hand_are_not_coalesced(published: list[str]) -> None:
    """Neither with each other nor with scheduled ones: nobody else knows what their caller does with them."""
    rows = [toolbox.add_request(WISH, "alike", ADA), toolbox.add_request(WISH, "alike", ADA), ask()]
    assert len({row.id for row in rows}) == 3
    assert ask().id == rows[2].id


def test_the_answer_is_there_at_once(parts: Deployment, published: list[str]) -> None:
    """The second task succeeds with the row as it stands, whether or not the file is finished."""
    row = by_task(WISH, "alike")
    assert request_file.apply(("alike", WISH, ADA)).result == results.result_of(row)
    row = ready(parts, row)
    answer = request_file.apply(("alike", WISH, ADA))
    assert answer.state == "SUCCESS"
    assert answer.result == {
        "id": row.id, "state": "ready", "filename": "numbers.csv", "size": 3, "rows": 0, "sha256": None,
    }  # fmt: skip


def test_a_fresh_file_answers_until_its_time_is_over(parts: Deployment, published: list[str]) -> None:
    """By the clock, whether or not the sweep has been there."""
    row = ready(parts, ask())
    assert ask().id == row.id
    set_row(parts, row, expires_at=later(-0.001))
    again = ask()
    assert again.id != row.id
    assert ask().id == again.id
    assert now(parts, row).coalesce_key is None
    assert now(parts, row).state == State.READY


def test_a_file_that_never_expires_stays_fresh(parts: Deployment, published: list[str]) -> None:
    """As long as its link works, and that is for ever."""
    assert ready(parts, ask(), max_age=None).id == ask().id


def _expired(parts: Deployment, row: FileRequest) -> None:
    row = set_row(parts, ready(parts, row), expires_at=later(-10))
    assert parts.requests.expire([row], 0) != []


def _revoked(parts: Deployment, row: FileRequest) -> None:
    assert toolbox.revoke(ready(parts, row))


def _deleted(parts: Deployment, row: FileRequest) -> None:
    assert toolbox.delete(ready(parts, row))


def _lost(parts: Deployment, row: FileRequest) -> None:
    for _ in range(parts.settings.max_attempts):
        row = claim(parts, now(parts, row)).file_request
        assert parts.requests.recover(lapse(parts, row)) is not None
    assert now(parts, row).error_code == "worker_lost"


def _never_started(parts: Deployment, row: FileRequest) -> None:
    aged = set_row(parts, row, requested_at=later(-parts.settings.give_up - 1))
    assert parts.requests.give_up(aged) is not None


def _not_told(parts: Deployment, row: FileRequest) -> None:
    """Its requester has no link, and asks again."""
    for name in ("fetch_criteria", "build_items", "write_bytes", "attach", "tokenize"):
        run(name, _claim(parts, row), "worker 1")

    class Deaf(Alike):
        def send_notification(self, file_request: FileRequest, token: str) -> int:
            raise LookupError("no such channel")

    registry._classes["alike"] = Deaf
    with pytest.raises(RequestFailed):
        run("notify", _claim(parts, row), "worker 1")
    registry._classes["alike"] = Alike
    assert now(parts, row).state == State.READY


def _never_told(parts: Deployment, row: FileRequest) -> None:
    """The same, where the worker dies over it each time."""
    for name in ("fetch_criteria", "build_items", "write_bytes", "attach", "tokenize"):
        run(name, _claim(parts, row), "worker 1")
    for _ in range(parts.settings.max_attempts):
        claim(parts, now(parts, row))
        assert parts.requests.recover(lapse(parts, now(parts, row))) is not None
    assert now(parts, row).state == State.READY


def _claim(parts: Deployment, row: FileRequest) -> Claim:
    return Claim.of(now(parts, row))


ENDS: list[Callable[[Deployment, FileRequest], Any]] = [
    failed, lambda parts, row: toolbox.cancel(row), _revoked, _expired, _deleted, _lost, _never_started,
    _not_told, _never_told,
]  # fmt: skip


@pytest.mark.parametrize("end", ENDS)
def test_what_is_over_answers_for_nothing(
    parts: Deployment, published: list[str], end: Callable[[Deployment, FileRequest], Any]
) -> None:
    """Failed, cancelled, revoked, removed, or ready without anybody being told: the key goes in the same write."""
    row = ask()
    assert row.coalesce_key is not None
    end(parts, row)
    left = parts.requests.get(row.id)
    assert left is None or left.coalesce_key is None
    published.clear()
    again = ask()
    assert again.id != row.id
    assert published == [again.id]


def test_a_retried_request_answers_for_nothing(parts: Deployment, published: list[str]) -> None:
    """Another one may have been asked for since it failed."""
    row = failed(parts, ask())
    again = ask()
    assert toolbox.retry(row)
    assert ask().id == again.id != row.id


def test_an_idempotency_key_is_stronger(parts: Deployment, published: list[str]) -> None:
    """The same key is the same request, whatever was chosen; another key does not part what coalesces."""
    first = ask(idempotency_key="a")
    other = ask({"count": 9}, idempotency_key="b")
    assert ask({"count": 9}, idempotency_key="a").id == first.id
    assert ask(WISH, idempotency_key="b").id == other.id
    assert ask(WISH, idempotency_key="c").id == first.id


@pytest.mark.parametrize("wish", [{"count": "many"}, {"carriers": 5}, [1], None])
def test_criteria_that_are_not_valid_are_compared_as_they_came(published: list[str], wish: Any) -> None:
    """The chain says what is wrong with them."""
    assert by_toolbox(wish, "alike").id == by_toolbox(wish, "alike").id != ask().id


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_validator_that_raises_breaks_nothing(published: list[str]) -> None:
    """What a user's own code does there is told by the chain."""

    class Broken(Alike):
        def get_criteria_class(self) -> Any:
            raise LookupError("the tariffs are gone")

    registry._classes["alike"] = Broken
    assert ask().id == ask().id


def test_a_late_step_of_the_old_holder_does_no_harm(parts: Deployment, published: list[str]) -> None:
    """A cancelled request's worker can't take the key back."""
    row = ask()
    held = claim(parts, row)
    toolbox.cancel(row)
    again = ask()
    with pytest.raises(ClaimLost):
        parts.requests.finish(held, {}, waits=True)
    assert ask().id == again.id


# -- at the same moment -----------------------------------------------------------------------------


def test_many_at_once_are_one(parts: Deployment, published: list[str]) -> None:
    """One row is made, and one message is published, whoever was first."""
    roads = [lambda: by_task(WISH, "alike"), lambda: by_toolbox(WISH, "alike"), lambda: by_view(WISH, "alike")]
    answers = at_once(roads * 3)
    assert len({row.id for row in answers}) == 1
    assert count(parts) == 1
    assert published == [answers[0].id]


def test_many_at_once_after_the_last_one_has_expired(parts: Deployment, published: list[str]) -> None:
    """The old holder loses its key once, to one of them."""
    old = set_row(parts, ready(parts, ask()), expires_at=later(-1))
    answers = at_once([ask] * 8)
    assert len({row.id for row in answers}) == 1
    assert answers[0].id != old.id
    assert count(parts) == 2


def test_a_holder_whose_time_is_over_in_between_is_no_answer(
    parts: Deployment, published: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fresh when it was in the way and not when it is read: the request is stored after all."""
    old = ready(parts, ask())
    set_row(parts, old, expires_at=later(-1))
    release, tries = asking._release, itertools.count()
    monkeypatch.setattr(asking, "_release", lambda *given: next(tries) and release(*given))
    again = ask()
    assert again.id != old.id
    assert published == [old.id, again.id]


def test_asking_while_the_holder_ends(parts: Deployment, published: list[str]) -> None:
    """Whoever asks in that moment gets the one that ends or a new one, and never an error; one holder is left."""
    for _ in range(5):
        row = ask()
        answers = at_once([ask, lambda row=row: toolbox.cancel(row), ask, ask])
        assert answers[1] is True
        ids = {answers[0].id, answers[2].id, answers[3].id}
        assert len(ids - {row.id}) <= 1
        toolbox.cancel(ask())


def test_a_conflict_does_not_break_the_callers_transaction(
    parts: Deployment, engine: Engine, published: list[str]
) -> None:
    """Also where an old holder has to give its key up first; a rollback gives it back."""
    old = set_row(parts, ready(parts, ask()), expires_at=later(-1))
    with Session(engine) as session:
        made = ask(session=session)
        assert ask(session=session).id == made.id
        assert session.scalar(text("SELECT 7")) == 7
        session.rollback()
        assert now(parts, old).coalesce_key is not None
        kept = ask(session=session)
        session.commit()
    assert len({old.id, made.id, kept.id}) == 3
    assert ask().id == kept.id
    assert published == [old.id, kept.id]
