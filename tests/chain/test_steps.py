"""What a step does with success, failure and a service that is away. In this process; the broker stays in memory."""

from __future__ import annotations

import logging
import re
from typing import Any

import pytest
from celery import Celery
from celery.exceptions import SoftTimeLimitExceeded
from sqlalchemy import Column, MetaData, Table, select

from bgtasks import FileType, canvas, endings, execution, patience, registry, step, toolbox
from bgtasks.claims import Claim
from bgtasks.deployment import Deployment
from bgtasks.errors import ClaimLost, RequestFailed, RevokedToken, TransientError
from bgtasks.leases import Lease
from bgtasks.models import FileRequest, Part
from bgtasks.running import Outcome, RunningStep
from bgtasks.stack import Mailbox
from bgtasks.states import EventKind, State
from tests.support.file_types import Numbers

SECRET = "the value that nobody may see"


@pytest.fixture
def parts(app: Celery, mailbox: Mailbox) -> Deployment:
    """The deployment of the test's app, with a mail server."""
    from bgtasks import deployment

    app.conf.bgtasks_smtp_url = mailbox.url
    return deployment.current()


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for a service in these tests."""
    monkeypatch.setattr(patience, "IN_SLOT", 0.0)


def asked(file_type: str = "numbers", **criteria: Any) -> FileRequest:
    """A scheduled request of somebody with an address."""
    return toolbox.add_request(criteria, file_type, "ada@example.com", schedule=True)


def after(parts: Deployment, file_request: FileRequest) -> FileRequest:
    """The row as it is now."""
    row = parts.requests.get(file_request.id)
    assert row is not None
    return row


def kinds(parts: Deployment, file_request: FileRequest) -> list[str]:
    """The history, without the steps that went well."""
    return [event.kind for event in parts.requests.history(file_request.id) if event.kind != EventKind.STEP]


def test_all_steps_here_and_now_make_a_file(parts: Deployment, mailbox: Mailbox) -> None:
    """``handle`` does in this process what the chain does in workers; a second time there is nothing to do."""
    request = asked(count=3)
    assert registry.dispatch(request.id) is True
    assert registry.dispatch(request.id) is False
    row = after(parts, request)
    assert (row.state, row.step, row.rows_written) == (State.READY, "notify", 3)
    assert b"".join(parts.store.read(str(row.object_key))) == b"number,name\r\n0,name 0\r\n1,name 1\r\n2,name 2\r\n"
    assert len(mailbox.mails) == 1


class Broken(Numbers):
    """Its items can't be had."""

    file_type = "broken"
    error: BaseException = ValueError(SECRET)

    def get_items(self, criteria: Any) -> Any:
        yield (1, "one")
        raise self.error


@pytest.mark.parametrize(
    ("error", "code", "sentence"),
    [
        (ValueError(SECRET), "internal_error", "Something went wrong while the file was made."),
        (SoftTimeLimitExceeded(), "time_limit", "It took longer than this file may take. Please narrow it down."),
        (SystemExit(SECRET), "internal_error", "Something went wrong while the file was made."),
    ],
)
def test_an_error_of_the_users_code_fails_the_request(
    parts: Deployment,
    mailbox: Mailbox,
    caplog: pytest.LogCaptureFixture,
    error: BaseException,
    code: str,
    sentence: str,
) -> None:
    """The row gets a code and a fit sentence, the log the traceback, the store nothing, and the requester a mail."""
    registry.register(Broken)
    Broken.error = error
    request = asked("broken")
    with pytest.raises(RequestFailed) as failed:
        registry.dispatch(request.id)
    row = after(parts, request)
    assert (row.state, row.error_code, row.error_message, row.leased_by) == (State.FAILED, code, sentence, None)
    assert (failed.value.error_code, str(failed.value)) == (code, sentence)
    assert failed.value.__suppress_context__
    assert SECRET not in f"{row.error_message} {failed.value!r}"
    assert [record.levelno for record in caplog.records if record.exc_info] == [logging.ERROR]
    assert list((parts.settings.root / parts.settings.store_url).rglob("*#*")) == []
    assert row.object_key is None

    assert registry.dispatch(request.id) is False  # its requester has been told
    assert kinds(parts, request) == [EventKind.REQUESTED, EventKind.FAILED, EventKind.NOTIFIED]
    assert sentence in mailbox.mails[0].get_content()


def test_a_file_that_has_grown_too_long_is_refused_while_it_is_written(parts: Deployment) -> None:
    """``max_rows`` holds at the counting and at the writing, and no half file stays."""

    class Growing(Numbers):
        file_type = "growing"
        max_rows = 5000

        def get_items(self, criteria: Any) -> Any:
            return ((number, "one more") for number in range(5001))

    registry.register(Growing)
    request = asked("growing")
    with pytest.raises(RequestFailed, match="5,000"):
        registry.dispatch(request.id)
    assert after(parts, request).error_code == "too_many_rows"
    assert [path for path in (parts.settings.root / parts.settings.store_url).rglob("*") if path.is_file()] == []


def test_too_many_rows_are_refused_at_the_counting(parts: Deployment) -> None:
    """Nothing is written that can be known to be too long."""

    class Few(Numbers):
        file_type = "few"
        max_rows = 2

    registry.register(Few)
    request = asked("few", count=3)
    with pytest.raises(RequestFailed, match="more rows than this file may have"):
        registry.dispatch(request.id)
    row = after(parts, request)
    assert (row.error_code, row.object_key, row.rows_total) == ("too_many_rows", None, None)
    assert "write_bytes" not in [entry.step for entry in parts.requests.history(row.id)]


def test_a_service_that_is_away_hands_the_step_back(parts: Deployment) -> None:
    """The lease is released, the message is due again soon, and no attempt is counted."""
    registry.register(Broken)
    Broken.error = TransientError("The warehouse does not answer.")
    request = asked("broken")
    assert registry.dispatch(request.id) is False
    row = after(parts, request)
    assert (row.state, row.step, row.attempts, row.leased_by) == (State.RUNNING, "build_items", 0, None)
    assert row.dispatch_at is not None
    assert kinds(parts, request) == [EventKind.REQUESTED, EventKind.HANDED_BACK]
    Broken.error = StopIteration()
    with pytest.raises(RequestFailed):
        registry.dispatch(request.id)


def test_an_outage_without_end_fails_the_request_in_the_end(parts: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    """Handing back is bounded: the requester learns that there will be no file."""
    monkeypatch.setattr(endings, "MOST_HAND_BACKS", 2)
    registry.register(Broken)
    Broken.error = TransientError("The warehouse does not answer.")
    request = asked("broken")
    assert [registry.dispatch(request.id) for _ in range(2)] == [False, False]
    with pytest.raises(RequestFailed, match="warehouse"):
        registry.dispatch(request.id)
    assert after(parts, request).error_code == "service_unavailable"


def test_a_wrong_statement_is_no_outage(parts: Deployment) -> None:
    """A select on a table that is not there fails at once; SQLite calls that an operational error too."""

    class Missing(Numbers):
        file_type = "missing"

        def get_items(self, criteria: Any) -> Any:
            return select(Column("a")).select_from(Table("not_there", MetaData()))

    registry.register(Missing)
    request = asked("missing")
    with pytest.raises(RequestFailed):
        registry.dispatch(request.id)
    assert after(parts, request).error_code == "internal_error"


def test_a_notification_that_is_refused_never_undoes_a_finished_file(parts: Deployment) -> None:
    """The file stays ready, and the history says that its requester could not be told."""

    class Unsendable(Numbers):
        file_type = "unsendable"

        def send_notification(self, file_request: FileRequest, token: str) -> int:
            raise ValueError(SECRET)

    registry.register(Unsendable)
    request = asked("unsendable")
    with pytest.raises(RequestFailed):
        registry.dispatch(request.id)
    row = after(parts, request)
    assert (row.state, row.step, row.notified_at, row.error_code) == (State.READY, "notify", None, None)
    assert kinds(parts, request) == [EventKind.REQUESTED, EventKind.READY, EventKind.NOTIFY_FAILED]


def test_nobody_to_tell_is_said_in_the_history(parts: Deployment, mailbox: Mailbox) -> None:
    """A request without an address ends well, and nothing is sent."""
    request = toolbox.add_request({"count": 1}, "numbers", "user 17", schedule=True)
    registry.dispatch(request.id)
    row = after(parts, request)
    assert (row.state, row.requester_email, row.notified_at) == (State.READY, None, None)
    assert kinds(parts, request)[-1] == EventKind.NOT_NOTIFIED
    assert mailbox.mails == []


def test_a_cancel_stops_a_running_step_and_its_object_goes(
    parts: Deployment, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The writer learns of it at its next sign of progress; no half file stays, and no mail is sent."""
    from bgtasks import leases

    monkeypatch.setattr(leases, "PROGRESS_EVERY", 0.0)

    class Cancelled(Numbers):
        file_type = "cancelled"

        def get_items(self, criteria: Any) -> Any:
            for number in range(10_000):
                if number == 4000:
                    toolbox.cancel(request)
                yield (number, "one")

    registry.register(Cancelled)
    request = asked("cancelled")
    assert registry.dispatch(request.id) is False
    row = after(parts, request)
    assert row.state == State.CANCELLED
    assert row.rows_written < 10_000
    assert [path for path in (parts.settings.root / parts.settings.store_url).rglob("*") if path.is_file()] == []
    assert mailbox.mails == []


def test_an_object_that_is_gone_is_not_published(parts: Deployment) -> None:
    """``attach`` looks before it makes a file available."""
    request = asked(count=1)
    claim = Claim.of(request)
    for name in ("fetch_criteria", "build_items", "write_bytes"):
        claim = execution.run(name, claim, "test")
    parts.store.delete(str(after(parts, request).object_key))
    with pytest.raises(RequestFailed):
        execution.run("attach", claim, "test")
    assert after(parts, request).error_code == "object_missing"


def test_a_late_end_drops_what_it_has_written(parts: Deployment) -> None:
    """A worker thought dead that comes back finds its fence passed, and leaves nothing behind."""

    class Overtaken(Numbers):
        file_type = "overtaken"

        def get_items(self, criteria: Any) -> Any:
            if request_id is not None:
                parts.requests.cancel(request_id)
            return [(1, "one")]

    request_id: str | None = None
    registry.register(Overtaken)
    request = asked("overtaken")
    claim = Claim.of(request)
    for name in ("fetch_criteria", "build_items"):
        claim = execution.run(name, claim, "test")
    request_id = request.id
    with pytest.raises(ClaimLost):
        execution.run("write_bytes", claim, "test")
    assert [path for path in (parts.settings.root / parts.settings.store_url).rglob("*") if path.is_file()] == []


def test_a_link_that_is_made_while_the_chain_grants_stays_valid(parts: Deployment) -> None:
    """The file is ready before ``tokenize`` ends: whoever waits for the result may make a link in between."""
    request = asked(count=1)
    claim = Claim.of(request)
    for name in ("fetch_criteria", "build_items", "write_bytes", "attach"):
        claim = execution.run(name, claim, "test")
    held = parts.requests.claim(claim, "tokenize", "attach", "slow worker")
    token = toolbox.create_token(after(parts, request))
    running = RunningStep(parts, held, Lease(parts.requests, held, 60), Numbers.restore(held.file_request))
    parts.requests.finish(held, dict(Outcome.of(execution._try(running)).columns), waits=True)
    assert toolbox.decode(token)[0].id == request.id


def test_a_file_that_is_revoked_while_its_mail_is_made_stays_revoked(parts: Deployment, mailbox: Mailbox) -> None:
    """The link in the mail is dead; nothing is granted anew."""

    class Withdrawn(Numbers):
        file_type = "withdrawn"

        def create_token(self, file_request: FileRequest) -> str:
            assert parts.requests.revoke(file_request.id)
            return super().create_token(file_request)

    registry.register(Withdrawn)
    request = asked("withdrawn")
    registry.dispatch(request.id)
    assert after(parts, request).token_id is None
    text = mailbox.mails[0].get_body(("plain",)).get_content()  # type: ignore[union-attr]
    with pytest.raises(RevokedToken):
        toolbox.decode(re.findall(r"/files/(\S+)", text)[0])


def test_steps_out_of_order_or_of_another_type_do_nothing(parts: Deployment) -> None:
    """A claim is for the step after the last finished one, and for no other."""
    request = asked(count=1)
    for name in ("build_items", "attach", "notify", "no_such_step"):
        with pytest.raises(ClaimLost):
            execution.run(name, Claim.of(request), "test")
    assert after(parts, request).fence == 0


@step("scan")
def scan(running: RunningStep) -> dict[str, Any]:
    """Look for viruses, and hand on a copy."""
    with running.open_object() as copy:
        for chunk in running.deployment.store.read(str(running.file_request.object_key)):
            copy.write(chunk.upper())
        copy.commit()
    return {"object_key": running.held.object_key, "size": copy.size, "sha256": copy.sha256}


def test_a_step_of_the_users_own_runs_where_it_is_named(parts: Deployment, app: Celery) -> None:
    """It is a task like ours, leaves columns on the row, and may replace the object."""

    class Scanned(Numbers):
        file_type = "scanned"
        steps = ("fetch_criteria", "build_items", "write_bytes", "scan", "attach", "tokenize", "notify")

    registry.register(Scanned)
    request = asked("scanned", count=1)
    assert registry.dispatch(request.id)
    row = after(parts, request)
    assert app.tasks["bgtasks.scan"].__doc__ == "Look for viruses, and hand on a copy."
    assert row.object_key == f"{request.id}/4"
    assert b"".join(parts.store.read(str(row.object_key))) == b"NUMBER,NAME\r\n0,NAME 0\r\n"
    assert [path.name for path in (parts.settings.root / parts.settings.store_url / request.id).iterdir()] == ["4"]


def test_the_canvas_is_a_chain_by_task_name(parts: Deployment) -> None:
    """Six links on the type's queue, the first with the claim and every later one before first links."""
    request = asked(count=1)
    links = Numbers.restore(request).canvas(request).tasks
    assert [link.task for link in links] == [f"bgtasks.{name}" for name in canvas.STEPS]
    assert {link.options["queue"] for link in links} == {"files.numbers"}
    assert links[0].args == (Claim(request.id, "numbers", 0),)
    assert all(link.args == () for link in links[1:])
    assert repr(links[0].args[0]) == f"<numbers {request.id[:8]} #0>"


@pytest.mark.parametrize(
    ("broker", "first", "later"), [("redis://localhost", 9, 3), ("amqp://localhost", 1, 5), ("memory://", None, None)]
)
def test_requests_that_have_begun_go_first(
    parts: Deployment, app: Celery, broker: str, first: int | None, later: int | None
) -> None:
    """Redis serves the lowest priority first, RabbitMQ the highest."""
    request = asked(count=1)
    made = Celery("elsewhere", broker=broker, set_as_current=False)
    whole = canvas.build(request, canvas.STEPS, "files.numbers", {}, made)
    assert [link.options["priority"] for link in whole.tasks] == [first, *[later] * 5]
    execution.run("fetch_criteria", Claim.of(request), "test")
    rest = canvas.build(after(parts, request), canvas.STEPS, "files.numbers", {}, made)
    assert [link.options["priority"] for link in rest.tasks] == [later] * 5
    divided = [Part(number=number, fence=0) for number in range(3)]
    for most, expected in ((None, [later] * 3), (2, [later, later, first])):
        links = canvas.build_parts(request, divided, "files.numbers", {}, made, at_once=most).tasks
        assert [link.options["priority"] for link in links] == expected


def test_a_file_type_is_written_by_its_own_write_bytes(parts: Deployment) -> None:
    """Something else than a format can: the buffer takes bytes and can't seek."""

    class Report(FileType):
        file_type = "report"
        content_type = "application/pdf"
        filename = "report.pdf"

        def get_items(self, criteria: Any) -> Any:
            return []

        def write_bytes(self, dataset: Any, buffer: Any) -> None:
            assert not buffer.seekable()
            buffer.write(b"%PDF")

    registry.register(Report)
    request = asked("report")
    registry.dispatch(request.id)
    row = after(parts, request)
    assert (row.size, row.filename, row.content_type) == (4, "report.pdf", "application/pdf")
