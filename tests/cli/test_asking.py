"""``celery bgtasks request``: a request is stored by the same rules as any producer's."""

from __future__ import annotations

import json
import logging
import os
import signal
import threading
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from celery import Celery
from pydantic import BaseModel

from bgtasks import registry
from bgtasks.deployment import Deployment
from bgtasks.models import FileRequest
from bgtasks.states import State
from tests.cli.conftest import Run
from tests.record.moves import told, wait_for
from tests.support.file_types import Numbers

sqlite_only = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
ADA = ("--requester", "ada@example.com")


class Chosen(Numbers):
    """With criteria of several kinds."""

    file_type = "chosen"
    columns = {"number": "Number", "name": "Name"}
    notifiers = ()

    class Criteria(BaseModel):
        carriers: list[str] = []
        count: int = 3

    def may_request(self, requester: str | None, criteria: Any) -> bool:
        return requester != "mallory"


@pytest.fixture(autouse=True)
def _chosen(_file_types: None) -> None:
    registry.register(Chosen)


def stored(parts: Deployment, id: str) -> FileRequest:
    row = parts.requests.get(id.strip())
    assert row is not None
    return row


def test_it_prints_the_id_of_a_request_that_waits_for_a_worker(parts: Deployment, run: Run) -> None:
    """Nothing but the id, for scripts; and the row has all that was said."""
    said = run(
        "request", "chosen", "count=5", "carriers=UA", "carriers=DL", *ADA, "--email", "a@example.com", "--format",
        "xlsx", "--columns", "name, number", "--language", "de", "--tz", "Europe/Zurich", "--filename", "mine.xlsx",
        "--description", "All of it", "--idempotency-key", "k",
    )  # fmt: skip
    assert (said.code, said.errors) == (0, "")
    assert str(uuid.UUID(said.output.strip())) == said.output.strip()
    row = stored(parts, said.output)
    assert (row.state, row.dispatch_at is not None) == (State.PENDING, True)
    assert row.criteria == {"count": "5", "carriers": ["UA", "DL"]}
    assert (row.requester, row.requester_email, row.format) == ("ada@example.com", "a@example.com", "xlsx")
    assert (row.columns, row.language, row.timezone) == (["name", "number"], "de", "Europe/Zurich")
    assert (row.filename, row.description, row.idempotency_key) == ("mine.xlsx", "All of it", "k")


@sqlite_only
def test_criteria_are_json_where_they_have_to_be(parts: Deployment, run: Run) -> None:
    """As one value, from the standard input (which no process list shows), or one by one."""
    whole = '{"count": 7, "carriers": ["UA"]}'
    for arguments, stdin in (
        (["--criteria", whole], None),
        (["--criteria", "-"], whole),
        (["count:=7", 'carriers:=["UA"]'], None),
    ):
        row = stored(parts, run("request", "chosen", *ADA, *arguments, stdin=stdin).output)
        assert row.criteria == {"count": 7, "carriers": ["UA"]}


REFUSED = [
    (["nope"], "'nope'; there are: chosen, numbers."),
    (["chosen", "count=x"], "count: "),
    (["chosen", "count"], "'count' is not KEY=VALUE"),
    (["chosen", "count:=x"], "count is no JSON"),
    (["chosen", "--criteria", "{"], "--criteria is no JSON"),
    (["chosen", "--criteria", "{}", "count=1"], "either"),
    (["chosen", "--format", "pdf"], "in that format"),
    (["chosen", "--columns", "price"], "price"),
    (["chosen", "--wait", "soon"], "--wait"),
]


@sqlite_only
def test_what_can_not_be_asked_for_is_refused_and_not_stored(parts: Deployment, run: Run) -> None:
    """At once, with the code of wrong use and a sentence that names what is wrong."""
    for arguments, named in REFUSED:
        said = run("request", *arguments)
        assert (said.code, said.output, named in said.errors) == (2, "", True), said
    assert parts.requests.newest(1) == []


@sqlite_only
def test_a_request_that_is_not_permitted_has_failed(run: Run) -> None:
    """Nothing is wrong with the command."""
    said = run("request", "chosen", "--requester", "mallory")
    assert (said.code, said.errors) == (1, "Error: You may not have this file.\n")


@sqlite_only
def test_an_earlier_request_is_said_to_answer(run: Run) -> None:
    """Its id is printed; a program is told by a field."""
    first = run("request", "chosen", *ADA, "--idempotency-key", "k")
    again = run("request", "chosen", *ADA, "--idempotency-key", "k")
    assert (again.code, again.output) == (0, first.output)
    assert "An earlier request answers for it, which is pending." in again.errors
    assert run("request", "chosen", *ADA, "--idempotency-key", "k", "--json").json["is_new"] is False


@sqlite_only
def test_a_request_of_nobody_is_warned_of(run: Run) -> None:
    """Nobody could have its file."""
    assert "It has no requester" in run("request", "chosen").errors


@sqlite_only
def test_it_waits_for_the_end(parts: Deployment, run: Run) -> None:
    """And tells what has become of it."""

    def work() -> None:
        parts.app.set_current()
        (row,) = wait_for(lambda: parts.requests.newest(1))
        registry.dispatch(row.id)

    worker = threading.Thread(target=work)
    worker.start()
    said = run("request", "chosen", *ADA, "--wait", "30")
    worker.join()
    assert said.code == 0
    end = dict(said.cells[1:])
    assert (end["state"], end["filename"], end["rows written"], len(end["sha256"])) == ("ready", "chosen.csv", "3", 64)


@sqlite_only
def test_a_failure_that_was_waited_for_is_the_commands_too(parts: Deployment, run: Run) -> None:
    """Exit code 1, with the reason; for programs in the same JSON."""
    first = run("request", "chosen", *ADA, "--idempotency-key", "k").output.strip()
    parts.requests.cancel(first)
    said = run("request", "chosen", *ADA, "--idempotency-key", "k", "--wait")
    assert (said.code, dict(said.cells[1:])["state"]) == (1, "cancelled")
    said = run("request", "chosen", *ADA, "--idempotency-key", "k", "--json", "--wait")
    assert (said.code, said.json["state"], said.json["id"]) == (1, "cancelled", first)


@sqlite_only
def test_whoever_has_waited_long_enough_is_told_where_it_stands(run: Run) -> None:
    """The request goes on."""
    said = run("request", "chosen", *ADA, "--wait", "0.2")
    assert (said.code, "It goes on: waits: fetch_criteria." in said.errors) == (1, True)
    said = run("request", "chosen", *ADA, "--wait", "0.2", "--json")
    assert (said.code, said.json["state"], said.errors) == (1, "pending", "")


@pytest.fixture
def _at_a_terminal() -> Iterator[None]:
    """Ctrl-C is heard, also where the tests are a shell's job in the background: such ones ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@sqlite_only
@pytest.mark.usefixtures("_at_a_terminal")
@pytest.mark.parametrize("as_json", [True, False])
def test_whatever_ends_the_waiting_the_id_is_printed(parts: Deployment, run: Run, as_json: bool) -> None:
    """Whoever presses Ctrl-C, or whose request is removed, goes on with it; the exit code tells which."""

    def interrupt(row: FileRequest) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    def remove(row: FileRequest) -> None:
        parts.requests.cancel(row.id)
        parts.requests.delete(row.id)

    for act, code, told_of in (
        (interrupt, 130, "" if as_json else "It goes on: waits: fetch_criteria.\n"),
        (remove, 3, "Error: The request {id} has been removed.\n"),
    ):
        meddler = threading.Thread(target=lambda act=act: act(wait_for(_live(parts))))
        meddler.start()
        said = run("request", "chosen", *ADA, "--wait", "60", *(["--json"] if as_json else []))
        meddler.join()
        id = said.json["id"] if as_json else said.output.strip()
        assert (said.code, said.errors) == (code, told_of.format(id=uuid.UUID(id)))
        parts.requests.cancel(id)


def _live(parts: Deployment) -> Callable[[], FileRequest | None]:
    """What is being waited for."""
    return lambda: next(iter(parts.requests.newest(1, states=[State.PENDING])), None)


@sqlite_only
def test_criteria_and_requester_reach_no_log_message_or_event(
    app: Celery, parts: Deployment, run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    """They are in the row alone."""
    with app.connection_for_read() as connection:
        connection.SimpleQueue("files.chosen").clear()  # the memory of one process serves all tests
    with caplog.at_level(logging.DEBUG):
        said = run("request", "chosen", 'carriers:=["SECRETLY"]', "--requester", "secretly@example.com")
    row = stored(parts, said.output)
    with app.connection_for_read() as connection:
        message = connection.SimpleQueue("files.chosen").get(timeout=5)
    sent = json.dumps([message.payload, message.headers, message.properties], default=str)
    assert row.id in sent
    shown = caplog.text + sent + "".join(str(vars(event)) for event in parts.requests.history(row.id))
    assert "secretly" not in shown.lower()
    assert told(parts, row) == ["requested"]
