"""``idempotency_key``: the same request twice is one request."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from celery.result import AsyncResult
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from bgtasks import registry, request_file, results, toolbox
from bgtasks.deployment import Deployment
from bgtasks.errors import RequestFailed
from bgtasks.models import FileRequest
from bgtasks.states import State
from tests.asking.roads import ADA, BOB, ROADS, Road, by_task, by_toolbox, by_view, count, failed, ready, somebody_waits
from tests.record.moves import at_once, now, told, wait_for
from tests.support.file_types import Numbers

KEY = "order 17"


@pytest.mark.parametrize("second", ROADS)
@pytest.mark.parametrize("first", ROADS)
def test_the_same_key_is_the_same_request(parts: Deployment, published: list[str], first: Road, second: Road) -> None:
    """On whatever roads they come: one row, one message, and the second's caller holds the first's id."""
    row = first({"count": 1}, idempotency_key=KEY)
    again = second({"count": 2}, idempotency_key=KEY)
    assert again.id == row.id
    assert again.criteria["count"] == 1
    assert count(parts) == 1
    assert published == [row.id]
    assert told(parts, row) == ["requested"]


@pytest.mark.parametrize("requester", [ADA, None, ""])
def test_a_key_is_its_requesters_and_its_types(parts: Deployment, published: list[str], requester: str | None) -> None:
    """Another requester, another type or another key is another request; nobody has keys as everybody else has."""
    registry.register(type("Others", (Numbers,), {"file_type": "others"}))
    first = by_toolbox(requester=requester, idempotency_key=KEY)
    assert by_toolbox(requester=requester, idempotency_key=KEY).id == first.id
    others = [
        by_toolbox(requester=BOB, idempotency_key=KEY),
        by_toolbox(file_type="others", requester=requester, idempotency_key=KEY),
        by_toolbox(requester=requester, idempotency_key="order 18"),
        by_toolbox(requester=requester),
        by_toolbox(requester=requester),
    ]
    assert len({row.id for row in (first, *others)}) == 6
    assert published == [first.id, *(row.id for row in others)]


@pytest.mark.parametrize("nothing", [None, ""])
@pytest.mark.usefixtures("published")
def test_an_empty_key_is_none(parts: Deployment, nothing: str | None) -> None:
    """Whoever has nothing to tell requests apart by does not get somebody else's file."""
    assert by_toolbox(idempotency_key=nothing).id != by_toolbox(idempotency_key=nothing).id


@pytest.mark.parametrize("key", [17, uuid.UUID(int=7)])
@pytest.mark.usefixtures("published")
def test_a_key_may_be_a_number_or_an_id(parts: Deployment, key: Any) -> None:
    """What an application has at hand is stored as its text."""
    row = by_toolbox(idempotency_key=key)
    assert row.idempotency_key == str(key)
    assert by_task(idempotency_key=str(key)).id == row.id


@pytest.mark.usefixtures("published")
def test_the_answer_is_there_at_once_as_the_first_one_stands(parts: Deployment) -> None:
    """Pending, running, ready, failed or cancelled: the second task succeeds with that, and waits for nothing."""
    row = by_task({"count": 1}, idempotency_key=KEY)

    def answer() -> dict[str, Any]:
        asked = str(uuid.uuid4())
        request_file.apply(("numbers", {}, ADA), {"idempotency_key": KEY}, task_id=asked)
        assert parts.requests.get(asked) is None
        return dict(request_file.apply(("numbers", {}, ADA), {"idempotency_key": KEY}).result)

    assert answer() == {
        "id": row.id, "state": "pending", "filename": "", "size": None, "rows": 0, "sha256": None,
    }  # fmt: skip
    row = ready(parts, row)
    assert answer() == results.result_of(row)
    assert answer()["state"] == "ready"
    other = by_task({"count": 1}, idempotency_key="order 18")
    failed(parts, other)
    assert request_file.apply(("numbers", {}, ADA), {"idempotency_key": "order 18"}).result["state"] == "failed"


@pytest.mark.usefixtures("published")
def test_the_answer_shows_its_state_alone(parts: Deployment) -> None:
    """Logs and monitors print what a task returns; a filename may be anybody's words."""
    by_task(filename="ada's secrets.csv", idempotency_key=KEY)
    answer = request_file.apply(("numbers", {}, ADA), {"idempotency_key": KEY}).result
    assert repr(answer) == "pending"
    assert answer["filename"] == "ada's secrets.csv"
    assert len(answer) == 6


def test_the_same_message_again_is_no_second_request(parts: Deployment, published: list[str]) -> None:
    """A doubled message finds its own row: it publishes again, and the result stays open."""
    asked = str(uuid.uuid4())
    for _ in range(2):
        request_file.apply(("numbers", {"count": 1}, ADA), {"idempotency_key": KEY}, task_id=asked)
    assert published == [asked, asked]
    assert AsyncResult(asked, app=parts.app).state == "PENDING"


@pytest.mark.parametrize(
    "fault",
    [
        {"file_type": "nubmers"},
        {"description": "\0"},
        {"criteria": {"count": "x" * 200_000}},
        {"idempotency_key": KEY + "\0"},
        {"idempotency_key": "x" * 801},
    ],
)
def test_what_was_refused_holds_no_key(parts: Deployment, published: list[str], fault: dict[str, Any]) -> None:
    """The row says why, and the corrected request gets through with the same key."""
    registry._classes.pop("nubmers", None)
    refused = by_task(**{"idempotency_key": KEY, **fault})
    assert (refused.state, refused.idempotency_key, refused.coalesce_key) == (State.FAILED, None, None)
    row = by_task(idempotency_key=KEY)
    assert (row.state, row.idempotency_key) == (State.PENDING, KEY)
    assert row.id != refused.id
    assert published[-1] == row.id
    with pytest.raises(RequestFailed):
        AsyncResult(refused.id, app=parts.app).get(timeout=5)


@pytest.mark.usefixtures("published")
def test_what_has_failed_keeps_its_key(parts: Deployment) -> None:
    """A request that was taken and then failed was made; whoever wants it again says so with ``retry``."""
    row = failed(parts, by_toolbox(idempotency_key=KEY))
    assert by_toolbox(idempotency_key=KEY).state == State.FAILED
    assert toolbox.retry(row)
    assert by_toolbox(idempotency_key=KEY).state == State.PENDING


def test_a_request_that_is_deleted_leaves_its_key(parts: Deployment, published: list[str]) -> None:
    """The key is as old as the row."""
    row = by_toolbox(idempotency_key=KEY)
    toolbox.cancel(row)
    assert by_toolbox(idempotency_key=KEY).id == row.id
    assert toolbox.delete(row)
    assert by_toolbox(idempotency_key=KEY).id != row.id


def test_requests_by_hand_have_keys_too(parts: Deployment, published: list[str]) -> None:
    """A cron job that runs twice stores one request; and what was stored by hand is not scheduled after all."""
    row = toolbox.add_request({"year": 2026}, requester=ADA, idempotency_key=KEY)
    assert toolbox.add_request({"year": 2026}, requester=ADA, idempotency_key=KEY).id == row.id
    by_hand = toolbox.add_request({}, "numbers", ADA, idempotency_key=KEY)
    assert by_toolbox(idempotency_key=KEY).id == by_hand.id
    assert len(list(FileRequest.to_handle())) == 2
    assert published == []


def test_many_at_once_are_one(parts: Deployment, published: list[str]) -> None:
    """Of producers that ask at the same moment, on every road, one is first."""
    calls: list[Callable[[], FileRequest]] = [
        lambda: by_task(idempotency_key=KEY),
        lambda: by_toolbox(idempotency_key=KEY),
        lambda: by_view(idempotency_key=KEY),
    ]
    answers = at_once(calls * 3)
    assert len({row.id for row in answers}) == 1
    assert count(parts) == 1
    assert published == [answers[0].id]


# -- in a transaction of the caller's ---------------------------------------------------------------


def test_a_conflict_does_not_break_the_callers_transaction(
    parts: Deployment, engine: Engine, published: list[str]
) -> None:
    """It goes on as if nothing had happened, gets a row that is not the session's, and publishes nothing."""
    first = by_toolbox(idempotency_key=KEY)
    with Session(engine) as session:
        again = toolbox.add_request({}, "numbers", ADA, session=session, schedule=True, idempotency_key=KEY)
        assert session.scalar(text("SELECT 7")) == 7
        new = toolbox.add_request({}, "numbers", ADA, session=session, schedule=True)
        assert again not in session
        session.commit()
    assert again.id == first.id
    assert published == [first.id, new.id]
    assert count(parts) == 2


def test_twice_in_one_transaction_is_published_once(parts: Deployment, engine: Engine, published: list[str]) -> None:
    """The second one finds what is not committed yet."""
    with Session(engine) as session:
        rows = [
            toolbox.add_request({}, "numbers", ADA, session=session, schedule=True, idempotency_key=KEY)
            for _ in range(2)
        ]
        session.commit()
    assert rows[0].id == rows[1].id
    assert published == [rows[0].id]


@pytest.mark.parametrize("commits", [True, False])
def test_a_commit_that_comes_late_decides(
    parts: Deployment, engine: Engine, published: list[str], commits: bool
) -> None:
    """Who asks in the meantime waits for the other transaction: its row answers, or there is none and theirs counts."""
    answers: list[FileRequest] = []
    app = parts.app

    def ask() -> None:
        app.set_current()
        answers.append(by_toolbox(idempotency_key=KEY))

    with Session(engine) as session:
        first = toolbox.add_request({}, "numbers", ADA, session=session, schedule=True, idempotency_key=KEY)
        waiting = threading.Thread(target=ask)
        waiting.start()
        if engine.dialect.name == "postgresql":
            wait_for(lambda: somebody_waits(parts))
        assert answers == []
        session.commit() if commits else session.rollback()
    waiting.join()
    assert (answers[0].id == first.id) is commits
    assert published == [answers[0].id]
    assert now(parts, answers[0]).state == State.PENDING
