"""``celery bgtasks forget``, ``toolbox.forget``: nothing of a person is left, nothing of anybody else is lost."""

from __future__ import annotations

import json
from typing import Any

import pytest
from celery import Celery
from celery.backends.cache import CacheBackend
from sqlalchemy import select

from bgtasks import forgetting, results, toolbox
from bgtasks.deployment import Deployment
from bgtasks.errors import ClaimLost, RequestFailed, TransientError
from bgtasks.models import FileRequest
from bgtasks.pacing import Pace
from bgtasks.requests.forgetting import BATCH, SOMEBODY
from bgtasks.states import State
from bgtasks.stores import Store
from bgtasks.tables import Base
from tests.clean.scenes import keys, path
from tests.cli.conftest import Run
from tests.record.moves import advanced, ask, claim, end, now, set_row, told
from tests.support.divided import begin, fan_out, finish
from tests.support.handmade import finished

sqlite_only = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
ADA, BOB = "ada@example.com", "bob@example.com"


def everything(parts: Deployment) -> str:
    """All that our tables hold."""
    with parts.database.reading() as session:
        rows = [session.execute(select(table)).mappings().all() for table in Base.metadata.sorted_tables]
    return json.dumps([[dict(row) for row in table] for table in rows], default=str)


def a_life(parts: Deployment) -> list[FileRequest]:
    """Somebody's requests in several states, each with its history and ledger."""
    running = claim(parts, advanced(parts, "build_items")).file_request
    rows = [finished(requester=ADA), ask(), running, advanced(parts, "notify")]
    for row in rows:
        parts.ledger.open(row.id, "ready", "email", ADA)
        parts.requests.downloaded(row.id, ADA, "192.0.2.7")
    return rows


def bobs(parts: Deployment) -> FileRequest:
    """Somebody else's file, of which the person was told, and which they have downloaded."""
    row = finished(requester=BOB, requester_email=ADA.upper())
    parts.ledger.open(row.id, "ready", "email", "Ada@Example.com")
    parts.ledger.open(row.id, "ready", "email", BOB)
    parts.requests.downloaded(row.id, ADA, "192.0.2.7")
    parts.requests.downloaded(row.id, BOB, "192.0.2.9")
    parts.requests.revoke(toolbox.create_token(row) and row.id, ADA)
    return row


def test_nothing_of_a_person_is_left(parts: Deployment, run: Run) -> None:
    """Rows, files, history, ledger and results; what goes on is cancelled first, and who waits for it is told."""
    rows, others = a_life(parts), bobs(parts)
    results.announce(parts.app, now(parts, rows[0]))
    said = run("forget", "--requester", ADA, "--yes", "--json")
    assert (said.code, said.errors) == (0, "")
    counts = said.json
    assert (counts["requests"], counts["cancelled"], counts["files"]) == (4, 2, 2)
    assert (counts["notifications"], counts["left"], counts["is_whole"]) == (4, 0, True)
    assert counts["events"] > 4 * 2
    assert counts["anonymised"] == 4  # two entries of the history, a line of the ledger, an address
    assert ADA not in everything(parts).lower()
    assert "192.0.2.7" not in everything(parts)
    assert keys(parts) == {others.object_key}
    for row in rows:
        assert parts.app.backend.get_state(row.id) == "PENDING"  # Celery's word for "never heard of"
    again = run("forget", "--requester", ADA, "--yes")
    assert (again.code, "requests: 0" in again.output) == (0, True)


def test_other_peoples_requests_keep_what_is_theirs(parts: Deployment) -> None:
    """That a file was downloaded or withdrawn, and when, stays; by whom and from where does not."""
    row = bobs(parts)
    before = now(parts, row)
    history = parts.requests.history(row.id)
    done = toolbox.forget(ADA)
    assert (done.requests, done.anonymised, done.is_whole) == (0, 4, True)
    after = parts.requests.history(row.id)
    assert [(entry.kind, entry.at) for entry in after] == [(entry.kind, entry.at) for entry in history]
    seen = [(entry.kind, entry.actor, entry.detail) for entry in after if entry.actor]
    assert seen == [
        ("downloaded", SOMEBODY, None),
        ("downloaded", BOB, "192.0.2.9"),
        ("revoked", SOMEBODY, None),
    ]
    recipients = [line.recipient for line in parts.requests.notifications(row.id)]
    assert sorted(recipient.split()[0] for recipient in recipients) == [SOMEBODY, BOB]
    kept = now(parts, row)
    assert (kept.requester, kept.requester_email, kept.downloads) == (BOB, None, before.downloads)
    assert (kept.object_key, kept.state) == (before.object_key, State.READY)


@sqlite_only
def test_two_who_were_told_of_one_file_can_both_be_forgotten(parts: Deployment) -> None:
    """The ledger's lines stay apart."""
    row = finished(requester="carla")
    for one in (ADA, BOB):
        parts.ledger.open(row.id, "ready", "email", one)
    assert [toolbox.forget(one).anonymised for one in (ADA, BOB)] == [1, 1]


@sqlite_only
def test_a_person_may_have_more_addresses_than_a_name(parts: Deployment, run: Run) -> None:
    """They are given, since a team's address must not go with one who has used it."""
    row = finished(requester=BOB, requester_email="team@example.com")
    parts.ledger.open(row.id, "ready", "email", "ada@home.example")
    own = finished(requester="u123", requester_email="team@example.com")
    assert run("forget", "--requester", "u123", "--email", "ada@home.example", "--yes").code == 0
    assert parts.requests.get(own.id) is None
    assert now(parts, row).requester_email == "team@example.com"
    assert "ada@home.example" not in everything(parts)


def test_a_step_at_work_can_write_nothing_any_more(parts: Deployment) -> None:
    """It finds out at its next write, and its row does not come back."""
    held = claim(parts, advanced(parts, "build_items"))
    telling = claim(parts, advanced(parts, "tokenize"))
    toolbox.forget(ADA)
    for one in (held, telling):
        with pytest.raises(ClaimLost):
            end(parts, one)
    assert "bgtasks" not in everything(parts)
    assert parts.requests.number_of(ADA) == 0


def test_what_many_workers_are_writing_goes_too(parts: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    """The parts that are done, and the one that is being written; their store may be away at first."""
    row = fan_out(parts)
    finish(parts, begin(parts, row, 0, 30))
    held = begin(parts, row, 1, 30)
    with monkeypatch.context() as away:
        away.setattr(Store, "delete", lambda *_: (_ for _ in ()).throw(TransientError()))
        assert toolbox.forget(ADA).left == 1
    assert len(keys(parts)) == 1  # which the row of its part names still
    done = toolbox.forget(ADA)
    assert (done.requests, done.files, done.left) == (1, 1, 0)
    assert keys(parts) == set()
    assert ADA not in everything(parts)
    with pytest.raises(ClaimLost):
        finish(parts, held)
    assert "bgtasks" not in everything(parts)


@sqlite_only
def test_whoever_waits_for_a_live_request_learns_its_end(parts: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the result goes too."""
    stored = list[Any]()
    monkeypatch.setattr(CacheBackend, "store_result", lambda self, *arguments, **_: stored.append(arguments))
    row = ask()
    toolbox.forget(ADA)
    ((id, result, state),) = stored
    assert (id, state, isinstance(result, RequestFailed)) == (row.id, "FAILURE", True)


@sqlite_only
def test_a_store_that_is_away_loses_nothing_from_sight(parts: Deployment, run: Run) -> None:
    """The row stays until its file is gone; its links are dead at once, and the next run goes on."""
    ready, waiting = finished(requester=ADA), ask()
    token = toolbox.create_token(ready)
    files = path(parts, "")
    files.rename(files.with_name("aside"))
    files.write_text("")
    said = run("forget", "--requester", ADA, "--yes", "--json")
    assert (said.code, said.json["left"], said.json["requests"], said.json["away"]) == (1, 1, 1, "TransientError")
    assert "A service does not answer: " in said.errors
    assert "run the same command again" in said.errors
    left = now(parts, ready)
    assert (left.state, left.object_key, left.token_id) == (State.EXPIRED, ready.object_key, None)
    with pytest.raises(Exception, match="withdrawn"):
        toolbox.decode(token)
    assert parts.requests.get(waiting.id) is None
    files.unlink()
    files.with_name("aside").rename(files)
    assert run("forget", "--requester", ADA, "--yes").code == 0
    assert (parts.requests.get(ready.id), keys(parts)) == (None, set())


@sqlite_only
def test_a_result_backend_that_is_away_keeps_the_row(
    parts: Deployment, app: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its result names the file."""

    def away(self: Any, _: str) -> None:
        raise ConnectionError

    row = finished(requester=ADA)
    with monkeypatch.context() as outage:
        outage.setattr(CacheBackend, "_forget", away)
        done = toolbox.forget(ADA)
    assert (done.left, done.is_whole, now(parts, row).state) == (1, False, State.EXPIRED)
    assert toolbox.forget(ADA).is_whole


def test_a_run_may_be_cut_anywhere_and_go_on(parts: Deployment) -> None:
    """What is done stays done; what is left is not said to be whole."""
    for _ in range(5):
        ask()
    others = bobs(parts)
    done = [forgetting.forget(ADA, pace=Pace(items=2)) for _ in range(4)]
    assert [one.requests for one in done] == [2, 2, 1, 0]
    assert [one.is_whole for one in done] == [False, False, True, True]
    assert ADA not in everything(parts).lower()
    assert now(parts, others).state == State.READY


@sqlite_only
def test_traces_beyond_one_batch_go_too(parts: Deployment) -> None:
    """They are read in one pass and changed in batches."""
    row = finished(requester=BOB)
    for _ in range(BATCH + 5):
        parts.requests.downloaded(row.id, ADA, "192.0.2.7")
    assert toolbox.forget(ADA).anonymised == BATCH + 5
    assert ADA not in everything(parts)


@sqlite_only
def test_nobody_in_particular_is_not_forgotten(parts: Deployment, run: Run) -> None:
    """Requests without a requester are nobody's, and a slip of a script removes nothing."""
    row = set_row(parts, ask(requester=None), requester_email="")
    assert run("forget", "--requester", "", "--yes").code == 2
    assert run("forget", "--yes").code == 2
    for nobody in (None, ""):
        with pytest.raises(ValueError, match="whom"):
            toolbox.forget(nobody)
    assert told(parts, row) == ["requested"]


@sqlite_only
def test_nobody_is_asked_in_a_pipe(parts: Deployment, run: Run) -> None:
    """A script says --yes; without it nothing is removed."""
    row = ask()
    said = run("forget", "--requester", ADA, stdin="y\n")
    assert (said.code, "--yes" in said.errors) == (2, True)
    assert now(parts, row).state == State.PENDING
