"""What ``request_file`` does with bad input: a clear reason on a row, and nothing lost."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from celery import Celery
from celery.result import AsyncResult

from bgtasks import asking, patience, registry, request_file, toolbox
from bgtasks.deployment import Deployment
from bgtasks.errors import InvalidCriteria, InvalidRequestId, RequestFailed, TransientError
from bgtasks.models import FileRequest
from bgtasks.stack import Mailbox
from bgtasks.states import State

REQUESTER = "ada@example.com"
HALF = "\ud83d"  # the first half of a character beyond the basic plane


def ask(**arguments: Any) -> FileRequest | None:
    """The row after the task has run, as a worker would run it."""
    from bgtasks import deployment

    asked = str(uuid.uuid4())
    request_file.apply(kwargs={"file_type": "numbers", **arguments}, task_id=asked)
    return deployment.current().requests.get(asked)


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"criteria": {"name": "a\0b"}}, "criteria"),
        ({"criteria": {"a\0b": 1}}, "criteria"),
        ({"criteria": [{"deep": [HALF]}]}, "criteria"),
        ({"requester": "ada\0"}, "requester"),
        ({"description": HALF}, "description"),
        ({"language": ["de"]}, "language"),
        ({"file_type": ["numbers"]}, "file_type"),
        ({"file_type": "num\0bers"}, "file_type"),
        ({"format": 7}, "format"),
    ],
)
def test_what_no_database_stores_leaves_a_failed_row(parts: Deployment, arguments: dict[str, Any], field: str) -> None:
    """The row says which argument is wrong; the rest of what was asked is kept, and whoever waits is told."""
    row = ask(**{"requester": "ada@example.com", **arguments})
    assert row is not None
    assert (row.state, row.error_code) == (State.FAILED, "invalid_criteria")
    assert f"{field}: " in str(row.error_message)
    assert row.requester == (None if field == "requester" else "ada@example.com")
    with pytest.raises(RequestFailed, match=field):
        AsyncResult(row.id, app=parts.app).get(timeout=5)


def test_a_refusal_is_told_like_any_failure(app: Celery, mailbox: Mailbox) -> None:
    """By the chain's last step; of an unknown type alone there is nothing to tell it by."""
    app.conf.bgtasks_smtp_url = mailbox.url
    refused, unknown = ask(description="a\0b", requester=REQUESTER), ask(file_type="unknown", requester=REQUESTER)
    assert refused is not None
    assert unknown is not None
    assert (refused.state, unknown.state, unknown.dispatch_at) == (State.FAILED, State.FAILED, None)
    assert registry.dispatch(refused.id)
    assert [mail["To"] for mail in mailbox.mails] == [REQUESTER]
    assert "description: has a character" in mailbox.mails[0].get_content()


@pytest.mark.usefixtures("parts")
def test_a_database_that_is_away_has_the_message_come_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no row yet that a sweep could find: the same message, with the same id, a little later."""
    outages, asked = [TransientError(), TransientError()], asking.ask
    monkeypatch.setattr(patience, "IN_SLOT", 0.0)
    monkeypatch.setattr(
        asking, "ask", lambda *a, **k: (_ for _ in ()).throw(outages.pop()) if outages else asked(*a, **k)
    )
    row = ask(requester=REQUESTER)
    assert row is not None
    assert (outages, row.state) == ([], State.PENDING)


@pytest.mark.parametrize("argument", [{"criteria": "\0"}, {"requester": HALF}, {"tz": 5}])
@pytest.mark.usefixtures("parts")
def test_the_toolbox_refuses_it_at_once(argument: dict[str, Any]) -> None:
    """Its caller is there to be told."""
    with pytest.raises(InvalidCriteria):
        toolbox.add_request(file_type="numbers", **argument)
    assert list(FileRequest.to_handle()) == []


@pytest.mark.usefixtures("parts")
def test_an_id_that_is_no_uuid_is_refused() -> None:
    """It would become the row's key and a name in the store."""
    refused = request_file.apply(args=("numbers",), task_id="../secret")
    assert isinstance(refused.result, InvalidRequestId)


@pytest.mark.usefixtures("parts")
def test_emoji_and_rare_letters_are_text() -> None:
    """What looks special and is not is stored as it came, on both databases."""
    row = ask(criteria={"count": 1, "note": "😀 ﷽ \u2028 \\u0000"}, requester="zoë 数 😀", description="日本")
    assert row is not None
    assert (row.state, row.requester, row.description) == (State.PENDING, "zoë 数 😀", "日本")
    assert row.criteria["note"] == "😀 ﷽ \u2028 \\u0000"


@pytest.mark.usefixtures("parts")
def test_a_message_that_comes_again_finds_its_row() -> None:
    """One id, one row, whatever the second message says."""
    asked = str(uuid.uuid4())
    for description in ("first", "second"):
        request_file.apply(("numbers",), {"description": description}, task_id=asked)
    rows = [row for row in map(_row, [asked]) if row]
    assert [row.description for row in rows] == ["first"]


def _row(asked: str) -> FileRequest | None:
    from bgtasks import deployment

    return deployment.current().requests.get(asked)
