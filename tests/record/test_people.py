"""What people do to a request: cancel, retry, grant, revoke, download, delete."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select, text, update

from bgtasks.claims import Claim
from bgtasks.deployment import Deployment
from bgtasks.errors import ClaimLost, UnknownFileType
from bgtasks.models import Event, FileRequest, Notification
from bgtasks.states import ENDED, LIVE, State
from tests.record.moves import LONG, advanced, ask, at_once, claim, end, now, set_row, told, wait_for


def failed(parts: Deployment) -> FileRequest:
    """A request that failed in its second step."""
    held = claim(parts, advanced(parts, "fetch_criteria"))
    return parts.requests.fail(held, "too_many_rows", "No.", waits=True)


@pytest.mark.parametrize("scheduled", [True, False])
def test_a_new_request_is_pending(parts: Deployment, scheduled: bool) -> None:
    """Only a scheduled one has a time at which the sweep dispatches it."""
    row = parts.requests.insert({"id": str(uuid.uuid4())}, scheduled=scheduled)
    assert (row.state, row.step, row.fence, row.attempts, row.downloads) == (State.PENDING, "", 0, 0, 0)
    assert (row.dispatch_at is not None) is scheduled
    assert told(parts, row) == ["requested"]


def test_a_request_is_stored_once(parts: Deployment) -> None:
    """The same id again, from a doubled message, finds the row as it stands and changes nothing."""
    row = advanced(parts, "build_items")
    again = parts.requests.insert({"id": row.id, "requester": "eve@example.com"}, scheduled=True)
    assert (again.requester, again.step) == ("ada@example.com", "build_items")
    assert told(parts, row).count("requested") == 1


def test_many_inserts_of_one_id_make_one_row(parts: Deployment) -> None:
    """Of messages that are delivered at the same moment one stores the row, and none of them fails."""
    new = {"id": str(uuid.uuid4()), "file_type": "numbers"}
    answers = at_once([lambda: parts.requests.insert(new, scheduled=True)] * 8)
    assert {getattr(answer, "id", answer) for answer in answers} == {new["id"]}
    assert told(parts, answers[0]) == ["requested"]


def test_a_request_with_a_fault_is_stored_as_failed(parts: Deployment) -> None:
    """A wrong request leaves a row that says why; whether its requester is to be told is the caller's to say."""
    told_later = parts.requests.insert({"id": str(uuid.uuid4())}, scheduled=True, fault=UnknownFileType())
    assert told_later.dispatch_at is not None
    row = parts.requests.insert({"id": str(uuid.uuid4())}, scheduled=False, fault=UnknownFileType())
    assert (row.state, row.error_code, row.dispatch_at) == (State.FAILED, "unknown_file_type", None)
    assert row.finished_at is not None
    assert told(parts, row) == ["requested", "failed"]
    assert parts.requests.history(row.id)[-1].detail == "unknown_file_type"


@pytest.mark.parametrize("step", ["", "fetch_criteria", "write_bytes"])
def test_cancel_ends_a_live_request(parts: Deployment, step: str) -> None:
    """A request that has not ended can be given up at any time, also while a step works on it."""
    row = advanced(parts, step)
    held = claim(parts, row)
    cancelled = parts.requests.cancel(row.id, "ada@example.com")
    assert cancelled is not None
    assert (cancelled.state, cancelled.leased_by, cancelled.dispatch_at) == (State.CANCELLED, None, None)
    assert cancelled.finished_at is not None
    assert cancelled.fence == held.file_request.fence + 1
    entry = parts.requests.history(row.id)[-1]
    assert (entry.kind, entry.actor) == ("cancelled", "ada@example.com")
    assert parts.requests.cancel(row.id) is None
    assert not parts.requests.renew(held)


@pytest.mark.parametrize("state", ENDED)
def test_an_ended_request_is_not_cancelled(parts: Deployment, state: State) -> None:
    """What has ended keeps its end."""
    row = set_row(parts, ask(), state=state)
    assert parts.requests.cancel(row.id) is None
    assert now(parts, row).state == state


def test_retry_starts_a_failed_request_from_its_first_step(parts: Deployment) -> None:
    """Nothing of the failure is left on the row, and old messages are void."""
    row = failed(parts)
    again = parts.requests.retry(row.id, "ada@example.com", scheduled=True)
    assert again is not None
    assert (again.state, again.step, again.fence) == (State.PENDING, "", row.fence + 1)
    assert (again.error_code, again.error_message, again.finished_at, again.started_at) == (None,) * 4
    assert (again.attempts, again.dispatches, again.rows_written, again.rows_total) == (0, 0, 0, None)
    assert again.dispatch_at is not None
    assert told(parts, again)[-1] == "retried"
    with pytest.raises(ClaimLost):
        parts.requests.claim(Claim.of(row), "notify", "tokenize", "worker 2")
    assert advanced(parts, "notify", again).state == State.READY


@pytest.mark.parametrize("state", [state for state in State if state != State.FAILED])
def test_only_a_failed_request_is_retried(parts: Deployment, state: State) -> None:
    """A live request needs no retry, and a finished one has its file."""
    assert parts.requests.retry(set_row(parts, ask(), state=state).id, scheduled=True) is None


def test_a_request_that_is_being_told_is_not_retried(parts: Deployment) -> None:
    """While the mail about a failure is on its way, the failure stands."""
    row = failed(parts)
    held = parts.requests.claim(Claim.of(row), "notify", "tokenize", "worker 2")
    assert parts.requests.retry(row.id, scheduled=True) is None
    parts.requests.finish(held, {}, waits=False)
    assert parts.requests.retry(row.id, scheduled=True) is not None


def test_one_of_many_simultaneous_retries_counts(parts: Deployment) -> None:
    """Two clicks on a button start a request once."""
    row = failed(parts)
    answers = at_once([lambda: parts.requests.retry(row.id, scheduled=True)] * 6)
    assert sum(answer is not None for answer in answers) == 1


def test_a_grant_keeps_the_token_id_that_there_is(parts: Deployment) -> None:
    """Links that were sent stay valid when another one is made; the file lasts for the longest of them."""
    row = advanced(parts, "attach")
    first = parts.requests.grant(row.id, "one", LONG * 2)
    second = parts.requests.grant(row.id, "two", 1)
    assert first is not None
    assert second is not None
    assert (first.token_id, second.token_id) == ("one", "one")
    assert first.expires_at == second.expires_at
    assert parts.requests.grant(str(uuid.uuid4()), "one", LONG) is None


def test_revoke_takes_the_token_id_away_once(parts: Deployment) -> None:
    """There is nothing to revoke before a grant or after a revocation."""
    row = advanced(parts, "attach")
    assert parts.requests.revoke(row.id) is None
    parts.requests.grant(row.id, "one", LONG)
    revoked = parts.requests.revoke(row.id, "an operator")
    assert revoked is not None
    assert revoked.token_id is None
    assert parts.requests.revoke(row.id) is None
    entry = parts.requests.history(row.id)[-1]
    assert (entry.kind, entry.actor) == ("revoked", "an operator")


def test_downloads_are_counted_with_who_and_from_where(parts: Deployment) -> None:
    """Each whole download counts, and the history says whose it was; simultaneous ones all count."""
    row = advanced(parts, "attach")
    at_once([lambda: parts.requests.downloaded(row.id, "ada@example.com", "192.0.2.1")] * 5)
    after = now(parts, row)
    assert after.downloads == 5
    assert after.last_downloaded_at is not None
    assert after.fence == row.fence
    entry = parts.requests.history(row.id)[-1]
    assert (entry.kind, entry.actor, entry.detail) == ("downloaded", "ada@example.com", "192.0.2.1")


@pytest.mark.parametrize("state", ENDED)
def test_delete_removes_an_ended_request_and_all_that_is_said_of_it(parts: Deployment, state: State) -> None:
    """Row, history and notifications go together."""
    row = set_row(parts, ask(), state=state)
    parts.ledger.open(row.id, "ready", "email", "ada@example.com")
    deleted = parts.requests.delete(row.id)
    assert deleted is not None
    assert deleted.id == row.id
    assert parts.requests.get(row.id) is None
    with parts.database.reading() as session:
        assert [session.scalar(select(func.count()).select_from(table)) for table in (Event, Notification)] == [0, 0]
    assert parts.requests.delete(row.id) is None


@pytest.mark.parametrize("state", LIVE)
def test_a_live_request_is_not_deleted(parts: Deployment, state: State) -> None:
    """What goes on can't vanish under its worker: it is cancelled first."""
    row = set_row(parts, ask(), state=state)
    assert parts.requests.delete(row.id) is None
    assert now(parts, row).state == state


def test_a_request_at_work_is_not_deleted(parts: Deployment) -> None:
    """Also while a ready file's mail is being sent."""
    held = claim(parts, advanced(parts, "tokenize"))
    assert parts.requests.delete(held.file_request.id) is None
    assert parts.requests.delete(end(parts, held).id) is not None


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_request_that_is_retried_at_the_last_moment_is_not_deleted(parts: Deployment) -> None:
    """The guard and the removal are one statement: it waits for the other change, and sees it."""
    row = failed(parts)
    answers: list[Any] = []
    with parts.database.writing() as session:
        anew = update(FileRequest).where(FileRequest.id == row.id).values(state=State.PENDING)
        session.execute(anew)
        waiting = _begin(lambda: answers.append(parts.requests.delete(row.id)))
        _wait_for_lock(parts)
    waiting.join()
    assert answers == [None]
    assert now(parts, row).state == State.PENDING


def _begin(call: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=call)
    thread.start()
    return thread


def _wait_for_lock(parts: Deployment) -> None:
    def waits() -> bool:
        with parts.database.reading() as session:
            query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            return bool(session.scalar(text(query)))

    wait_for(waits)


def test_a_late_word_on_what_happened_before_says_nothing_of_what_has_happened_since(parts: Deployment) -> None:
    """Somebody hung in the mail of a failure; the request was started again, and has failed again."""
    row = ask()
    late = parts.ledger.open(row.id, "failed", "email", "ada@example.com")
    again = parts.ledger.open(
        row.id, "failed", "email", "ada@example.com", since=late.created_at + timedelta(seconds=1)
    )
    assert again.message_id != late.message_id
    parts.ledger.close(late)
    parts.ledger.refuse(late, "550")
    line = parts.ledger.open(row.id, "failed", "email", "ada@example.com")
    assert (line.sent_at, line.refused_at) == (None, None)
    parts.ledger.close(again)
    assert parts.ledger.open(row.id, "failed", "email", "ada@example.com").sent_at is not None
