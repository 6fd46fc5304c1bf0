"""A real export: from ``request_file.delay`` over a real broker and worker to the file in the requester's hands."""

from __future__ import annotations

import hashlib
import io
import re
from datetime import date, datetime, time, timedelta
from typing import Any

import pytest
import redis
from openpyxl import load_workbook
from werkzeug.test import Client

from bgtasks import database, request_file, toolbox
from bgtasks.deployment import Deployment
from bgtasks.models import FileRequest
from bgtasks.stack import Mailbox, Stack, wait_for
from bgtasks.states import EventKind, State
from bgtasks.wsgi import Application
from tests.support.brokers import on_every_broker
from tests.support.flights import FLIGHTS, HEADINGS, as_csv, fill
from tests.support.nodes import Setup

REQUESTER = "quite.private@example.com"
CRITERIA = {"from_date": "2013-04-05", "until_date": "2013-04-27", "carrier": "ZQ"}
STEPS = ["fetch_criteria", "build_items", "write_bytes", "attach", "tokenize", "notify"]
WAIT = 60.0  # seconds


ASKED_FOR = [row for row in FLIGHTS if row["carrier"] == "ZQ" and date(2013, 4, 5) <= row["date"] <= date(2013, 4, 27)]


@pytest.fixture
def table(parts: Deployment) -> None:
    """The flights, in the record's own database."""
    fill(database.current())


def told(parts: Deployment, request_id: str) -> FileRequest:
    """The row, once its requester was told."""
    found: FileRequest = wait_for(
        lambda: (row := parts.requests.get(request_id)) and row.step == "notify" and row, "nobody was told", WAIT
    )
    return found


def link_in(mail: Any) -> str:
    """The path of the link in a mail."""
    found = re.search(r"https://files\.example\.com(/files/\S+)", mail.get_body(("plain",)).get_content())
    assert found is not None
    return found[1]


@on_every_broker
@pytest.mark.usefixtures("table")
def test_an_export_end_to_end(parts: Deployment, mailbox: Mailbox) -> None:
    """The result, the row, the history, the mail and the download all speak of the one right file."""
    asked = request_file.delay("flights", CRITERIA, requester=REQUESTER)
    expected = as_csv(ASKED_FOR)
    digest = hashlib.sha256(expected).hexdigest()

    assert asked.get(timeout=WAIT) == {
        "id": asked.id,
        "state": "ready",
        "filename": "flights.csv",
        "size": len(expected),
        "rows": len(ASKED_FOR),
        "sha256": digest,
    }

    row = told(parts, asked.id)
    assert (row.state, row.step, row.fence, row.attempts) == (State.READY, "notify", len(STEPS), 0)
    assert (row.leased_by, row.leased_until, row.dispatch_at) == (None, None, None)
    assert (row.rows_total, row.rows_written) == (len(ASKED_FOR), len(ASKED_FOR))
    assert (row.size, row.sha256, row.object_key) == (len(expected), digest, f"{row.id}/3")
    assert (row.requester, row.requester_email, row.criteria) == (REQUESTER, REQUESTER, CRITERIA)
    assert row.token_id
    assert row.started_at is not None
    assert row.finished_at is not None
    assert row.notified_at is not None
    assert row.expires_at is not None
    assert row.requested_at <= row.started_at <= row.finished_at <= row.notified_at
    assert timedelta(days=1) <= row.expires_at - row.finished_at < timedelta(days=1, minutes=2)

    history = parts.requests.history(asked.id)
    assert [(event.step, event.fence) for event in history if event.kind == EventKind.STEP] == list(
        zip(STEPS, range(1, 7), strict=True)
    )
    assert [event.kind for event in history if event.kind != EventKind.STEP] == [
        EventKind.REQUESTED,
        EventKind.READY,
        EventKind.NOTIFIED,
    ]

    assert len(mailbox.mails) == 1
    mail = mailbox.mails[0]
    assert mail["To"] == REQUESTER
    assert mail["Subject"] == "Your file is ready: flights.csv"

    browser = Client(Application())
    download = browser.get(link_in(mail), environ_overrides={"REMOTE_USER": REQUESTER})
    assert download.status_code == 200
    assert download.data == expected
    assert download.headers["Content-Disposition"] == "attachment; filename=flights.csv"
    assert browser.get(link_in(mail), environ_overrides={"REMOTE_USER": "somebody@example.com"}).status_code == 403
    assert parts.requests.history(asked.id)[-1].kind == EventKind.DOWNLOADED


@pytest.mark.usefixtures("table")
def test_nothing_private_is_in_logs_messages_or_results(
    parts: Deployment, mailbox: Mailbox, stack: Stack, celery_setup: Setup
) -> None:
    """No token, criteria value, address or row is in the worker's log, in the broker or in the result backend."""
    request_ids = [
        request_file.delay("flights", CRITERIA, requester=REQUESTER).id,
        request_file.delay("flights", {**CRITERIA, "from_date": "not-a-day"}, requester=REQUESTER).id,
        request_file.delay("no_such_type", CRITERIA, requester=REQUESTER).id,
    ]
    with pytest.raises(Exception, match="criteria are not valid"):
        celery_setup.app.AsyncResult(request_ids[1]).get(timeout=WAIT)
    rows = [told(parts, request_id) for request_id in request_ids[:2]]
    wait_for(lambda: parts.requests.get(request_ids[2]), "no row", WAIT)
    wait_for(lambda: celery_setup.worker.logs().count("bgtasks.notify") > 4, "the last step is not logged", WAIT)

    token = link_in(mailbox.mails[0] if "ready" in mailbox.mails[0]["Subject"] else mailbox.mails[1]).rpartition("/")[2]
    private = [
        *CRITERIA.values(),
        "not-a-day",
        REQUESTER,
        "quite.private",
        token,
        str(rows[0].token_id),
        "calc",
        "N7 45",
    ]
    log = celery_setup.worker.logs()
    assert f"<flights {request_ids[0][:8]} #6>" in log
    assert [text for text in private if re.search(rf"(?<![\w-]){re.escape(text)}", log)] == []

    for url in (stack.env["CELERY_BROKER_URL"], stack.env["CELERY_RESULT_BACKEND"]):
        server = redis.Redis.from_url(url)
        kept = b"".join(server.dump(key) or b"" for key in server.scan_iter())
        assert [text for text in private if text.encode() in kept] == []
        server.close()


@pytest.mark.usefixtures("table")
def test_the_request_chooses_the_format_and_the_name(parts: Deployment) -> None:
    """An XLSX export opens in openpyxl with its types, and has the name that was asked for."""
    asked = request_file.delay("flights", CRITERIA, REQUESTER, format="xlsx", filename="Flüge: April.xlsx")
    assert asked.get(timeout=WAIT)["filename"] == "Flüge_ April.xlsx"
    row = parts.requests.get(asked.id)
    assert row is not None
    assert row.object_key is not None
    book = load_workbook(io.BytesIO(b"".join(parts.store.read(row.object_key))))
    cells = list(book.active.iter_rows(values_only=True))  # type: ignore[union-attr]
    assert cells[0] == (*HEADINGS[:-1], "Scheduled hour (UTC)")
    assert len(cells) == len(ASKED_FOR) + 1
    first = ASKED_FOR[0]
    midnight, local = datetime.combine(first["date"], time()), first["time_hour"].replace(tzinfo=None)
    assert cells[1] == tuple({**first, "date": midnight, "time_hour": local}.values())
    book.close()


@pytest.mark.usefixtures("table")
def test_it_is_made_and_told_in_the_requesters_language_and_zone(parts: Deployment, mailbox: Mailbox) -> None:
    """The worker's own are of no account: the mail, the times in the file and their heading are the requester's."""
    own = {"language": "de", "tz": "Europe/Zurich", "format": "xlsx"}
    asked = request_file.delay("flights", CRITERIA, REQUESTER, **own)
    asked.get(timeout=WAIT)
    row = told(parts, asked.id)
    assert row.object_key is not None
    book = load_workbook(io.BytesIO(b"".join(parts.store.read(row.object_key))))
    headings, first, *_ = book.active.iter_rows(values_only=True)  # type: ignore[union-attr]
    book.close()
    assert headings[-1] == "Scheduled hour (Europe/Zurich)"
    assert first[-1] == ASKED_FOR[0]["time_hour"].replace(tzinfo=None) + timedelta(hours=2)  # it is summer there
    [mail] = mailbox.mails
    assert mail["Subject"] == "Ihre Datei ist fertig: flights.xlsx"
    text = mail.get_body(("plain",)).get_content()
    assert re.search(r"Der Link gilt nur für \S+, bis \d\d\.\d\d\.20\d\d, \d\d:\d\d ME(S)?Z\.", text)


@pytest.mark.usefixtures("table")
def test_invalid_criteria_fail_with_a_reason_and_the_requester_is_told(parts: Deployment, mailbox: Mailbox) -> None:
    """The row, the waiting producer and the requester learn which field is wrong; nobody retries."""
    asked = request_file.delay("flights", {"until_date": "2013-01-01"}, requester=REQUESTER)
    with pytest.raises(Exception, match=r"from_date: Please fill this in\."):
        asked.get(timeout=WAIT)
    row = told(parts, asked.id)
    assert (row.state, row.error_code, row.attempts) == (State.FAILED, "invalid_criteria", 0)
    assert row.error_message == "The criteria are not valid. from_date: Please fill this in."
    assert [mail["Subject"] for mail in mailbox.mails] == ["Your file could not be made: Flights from New York City"]
    assert "from_date: Please fill this in." in mailbox.mails[0].get_content()


def test_an_unknown_file_type_leaves_a_failed_row(parts: Deployment) -> None:
    """Whoever waits is told, and so is who looks at the row."""
    asked = request_file.delay("flihgts", {}, requester=REQUESTER)
    with pytest.raises(Exception, match="no type of file called 'flihgts'"):
        asked.get(timeout=WAIT)
    row = parts.requests.get(asked.id)
    assert row is not None
    assert (row.state, row.error_code) == (State.FAILED, "unknown_file_type")


def test_a_task_id_that_is_no_uuid_is_refused(parts: Deployment, celery_setup: Setup) -> None:
    """The task fails, which the caller sees, and no row is stored."""
    asked = request_file.apply_async(("flights", {}), task_id="../../etc/passwd")
    wait_for(lambda: "InvalidRequestId" in celery_setup.worker.logs(), "it was not refused", WAIT)
    assert list(FileRequest.to_handle()) == []
    assert asked.state in ("PENDING", "FAILURE")


@pytest.mark.usefixtures("table")
def test_doubled_messages_make_one_file_and_one_mail(parts: Deployment, mailbox: Mailbox) -> None:
    """Every message of a request may come twice, side by side or late."""
    asked = request_file.delay("flights", CRITERIA, requester=REQUESTER)
    request_file.apply_async(("flights", CRITERIA, REQUESTER), task_id=asked.id)
    asked.get(timeout=WAIT)
    row = told(parts, asked.id)
    request_file.apply_async(("flights", CRITERIA, REQUESTER), task_id=asked.id)
    again = request_file.delay("flights", CRITERIA, requester="another@example.com")
    told(parts, again.id)
    assert sorted(mail["To"] for mail in mailbox.mails) == sorted([REQUESTER, "another@example.com"])
    assert row.object_key is not None
    folder = parts.store.local_path(row.object_key).parent  # type: ignore[union-attr]
    assert [file.name for file in folder.iterdir()] == ["3"]


@pytest.mark.usefixtures("table")
def test_a_scheduled_request_of_the_toolbox_takes_the_same_road(parts: Deployment, mailbox: Mailbox) -> None:
    """``add_request(schedule=True)`` is all that a producer without a message needs."""
    row = toolbox.add_request(CRITERIA, "flights", REQUESTER, schedule=True)
    assert told(parts, row.id).state == State.READY
    assert len(mailbox.mails) == 1
