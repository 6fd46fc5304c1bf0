"""What a log record is about, and how it is written."""

from __future__ import annotations

import io
import json
import logging
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from celery import Celery
from celery.signals import after_setup_logger

from bgtasks import logs, registry, toolbox
from bgtasks.deployment import Deployment
from bgtasks.errors import RequestFailed
from bgtasks.logs import AboutFilter, JsonFormatter
from tests.support.divided import Logins, fill
from tests.support.file_types import Numbers
from tests.support.handmade import REQUESTER

own = logging.getLogger("myapp.exports")

#: The record is in one place for these tests: they are about logs.
pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


class Talkative(Numbers):
    """A user's own code, which logs what it likes."""

    file_type = "talkative"
    notifiers = ()

    def get_items(self, criteria: Any) -> Any:
        own.warning("%d rows\nare selected", criteria.count, extra={"tenant": "acme", "load": float("nan"), "at": self})
        return super().get_items(criteria)

    def __str__(self) -> str:
        raise ValueError("not to be shown")


class Faulty(Talkative):
    """With a fault."""

    file_type = "faulty"

    def get_items(self, criteria: Any) -> Any:
        raise LookupError("no such table")


@pytest.fixture
def written() -> Iterator[Any]:
    """What a handler with our formatter has written, parsed."""
    page = io.StringIO()
    handler = logging.StreamHandler(page)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.addHandler(handler)
    yield lambda: [json.loads(line, parse_constant=pytest.fail) for line in page.getvalue().splitlines()]
    root.removeHandler(handler)


def test_a_users_own_record_says_which_step_it_is_of(parts: Deployment, written: Any) -> None:
    """It is one line of valid JSON, with the time in UTC; and after the step nothing is about it any more."""
    registry.register(Talkative)
    asked = toolbox.add_request({"count": 2}, "talkative", REQUESTER, schedule=True)
    registry.dispatch(asked.id)
    own.warning("afterwards")
    first, *_, last = (entry for entry in written() if entry["logger"] == own.name)
    assert first["message"] == "2 rows\nare selected"
    assert (first["request_id"], first["file_type"], first["step"], first["fence"]) == (
        asked.id, "talkative", "build_items", 2,
    )  # fmt: skip
    assert (first["level"], first["tenant"], first["load"], first["at"]) == ("WARNING", "acme", "nan", "<Talkative>")
    assert first["time"].endswith("Z")
    assert abs(datetime.fromisoformat(first["time"]) - datetime.now(UTC)) < timedelta(minutes=1)
    assert "request_id" not in last


class TalkativeLogins(Logins):
    """The same of one that many workers write."""

    file_type = "talkative_logins"

    def write_part(self, dataset: Any, buffer: Any, number: int) -> None:
        own.warning("here", extra={"part": "mine"} if number == 2 else {})
        super().write_part(dataset, buffer, number)


def test_a_record_of_a_part_says_which(parts: Deployment, written: Any) -> None:
    """From 1, as the history does; what a record was given is kept."""
    fill(parts, 30)
    registry.register(TalkativeLogins)
    registry.dispatch(toolbox.add_request({}, "talkative_logins", REQUESTER, schedule=True).id)
    said = [(entry["step"], entry["part"]) for entry in written() if entry["logger"] == own.name]
    assert said == [("write_part", 1), ("write_part", 2), ("write_part", "mine")]


def test_an_exception_is_a_field(parts: Deployment, written: Any) -> None:
    """With its type, and its traceback as text."""
    registry.register(Faulty)
    asked = toolbox.add_request({}, "faulty", REQUESTER, schedule=True)
    with pytest.raises(RequestFailed):
        registry.dispatch(asked.id)
    failed = next(entry for entry in written() if entry["level"] == "ERROR")
    assert failed["request_id"] == asked.id
    assert failed["exception"]["type"] == "builtins.LookupError"
    assert failed["exception"]["traceback"].endswith("LookupError: no such table")


def test_a_heartbeats_records_are_about_its_step(parts: Deployment, written: Any) -> None:
    """It is another thread's, of which the step is not over."""
    asked = toolbox.add_request({}, "numbers", REQUESTER, schedule=True)
    from bgtasks.claims import Claim
    from bgtasks.leases import Lease

    held = parts.requests.claim(Claim.of(asked), "fetch_criteria", "", "somebody")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parts.requests, "renew", lambda _: 1 / 0)
        with logs.about(request_id=asked.id, step="fetch_criteria"), Lease(parts.requests, held, 0.06):
            deadline = time.monotonic() + 30
            while not written() and time.monotonic() < deadline:
                threading.Event().wait(0.01)
    assert {(entry["request_id"], entry["step"]) for entry in written()} == {(asked.id, "fetch_criteria")}


def test_a_text_format_may_name_the_step(app: Celery) -> None:
    """Where nothing is known, there is an empty text; what a record was given is kept."""
    handler = logging.StreamHandler(io.StringIO())
    handler.addFilter(AboutFilter())
    handler.setFormatter(logging.Formatter("%(step)s|%(request_id)s|%(message)s"))
    record = logging.makeLogRecord({"msg": "hello"})
    with logs.about(step="notify", request_id="7"):
        handler.handle(record)
        given = logging.makeLogRecord({"msg": "hello", "step": "mine"})
        handler.handle(given)
    handler.handle(logging.makeLogRecord({"msg": "hello"}))
    assert handler.stream.getvalue() == "notify|7|hello\nmine|7|hello\n||hello\n"


def test_a_tasks_arguments_stay_out(app: Celery, written: Any) -> None:
    """Celery gives its own records everything that it knows of a task."""
    data = {"id": "7", "name": "myapp.add", "args": "('secret',)", "kwargs": "{}"}
    logging.getLogger("celery.app.trace").error("Task failed", extra={"data": data})
    (entry,) = written()
    assert (entry["task"], entry["task_id"]) == ("myapp.add", "7")
    assert "secret" not in json.dumps(entry)


def test_what_else_a_record_has_takes_no_place_of_ours(app: Celery) -> None:
    """An extra ``level`` of somebody's, say; and what is no UTF-8 is written all the same."""
    record = logging.makeLogRecord(
        {"name": "shop", "msg": "caf\udce9.csv", "levelname": "ERROR", "level": "gold", "time": "now"}
    )
    line = JsonFormatter().format(record)
    entry = json.loads(line.encode())
    assert (entry["level"], entry["message"]) == ("ERROR", "caf\udce9.csv")
    assert entry["time"] != "now"


@pytest.mark.parametrize("conf", [{}, {"bgtasks_json_logs": True}])
def test_workers_and_beat_write_json_if_they_are_told_to(app: Celery, conf: dict[str, Any]) -> None:
    """Otherwise their format stays as it is."""
    logger, handler = logging.getLogger("a worker's"), logging.StreamHandler(io.StringIO())
    usual = logging.Formatter("%(message)s")
    handler.setFormatter(usual)
    logger.addHandler(handler)
    after_setup_logger.send(sender=None, logger=logger)
    logger.removeHandler(handler)
    assert isinstance(handler.formatter, JsonFormatter) is bool(conf)
    assert conf or handler.formatter is usual
