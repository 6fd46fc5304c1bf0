"""What is told to whom: ready, failed, cancelled and expiring soon, each once."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery
from celery.exceptions import SoftTimeLimitExceeded

from bgtasks import FileType, patience, publishing, registry, sweeps, toolbox
from bgtasks.deployment import Deployment
from bgtasks.errors import ClaimLost, ImproperlyConfigured, RequestFailed, TransientError
from bgtasks.ledger import Ledger
from bgtasks.models import FileRequest, Notification
from bgtasks.notifiers import AppriseNotifier, Message, WebhookNotifier
from bgtasks.queues import queue_of
from bgtasks.stack import Mailbox
from bgtasks.states import EventKind, State
from bgtasks.sweeps import reminding
from tests.record.moves import told
from tests.support.file_types import Numbers
from tests.support.handmade import REQUESTER, alter, fresh, in_seconds
from tests.telling.conftest import SECRET
from tests.telling.receivers import Receiver

ON_SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
ADMIN = "an operator"
HOUR = 3600.0


def register(**declared: Any) -> type[FileType]:
    """A type like this, in the place of the one that is known."""
    registry._classes.clear()
    return registry.register(type("Declared", (Numbers,), declared))


def hook(plain: Receiver, **options: Any) -> WebhookNotifier:
    """A webhook of this machine's."""
    url = f"http://127.0.0.1:{plain.port}/"
    return WebhookNotifier(url, SECRET, allow_http=True, allow_private=True, **options)


def posted(plain: Receiver) -> list[tuple[str, dict[str, Any]]]:
    """The types and the data of what has arrived."""
    bodies = [json.loads(received.body) for received in plain.received]
    return [(body["type"].removeprefix("bgtasks.file."), body["data"]) for body in bodies]


def made(parts: Deployment, requester: str | None = REQUESTER, **asked: Any) -> FileRequest:
    """A request that has been made and told of."""
    row = toolbox.add_request({"count": 3}, "numbers", requester, **asked)
    assert registry.dispatch(row.id)
    return fresh(parts, row)


# -- channels that address nobody --------------------------------------------------------------------


@ON_SQLITE
@pytest.mark.usefixtures("apprise")
def test_settings_are_enough(app: Celery, parts: Deployment, plain: Receiver) -> None:
    """``notifiers = ("webhook", "apprise")``: a URL and a secret; of several services of a kind each is told, once.

    In the requester's language, as mails are; what a program reads is the same in each.
    """
    register(notifiers=("webhook", "apprise", "webhook"))
    http = {"webhook_allow_http": True, "webhook_allow_private": True, "webhook_url": f"http://127.0.0.1:{plain.port}/"}
    services = tuple(f"json://127.0.0.1:{plain.port}/{room}" for room in "ab")
    configured = parts.settings.model_copy(update={**http, "webhook_secret": (SECRET,), "apprise_urls": services})
    object.__setattr__(parts, "settings", configured)
    row = made(parts, language="de")
    assert sorted(received.path for received in plain.received) == ["/", "/a", "/b"]
    said = {received.path: json.loads(received.body) for received in plain.received}
    assert said["/a"]["title"] == "Ihre Datei ist fertig: numbers.csv"
    assert (said["/"]["type"], said["/"]["data"]["state"]) == ("bgtasks.file.ready", "ready")
    with parts.database.reading() as session:
        lines = {line.channel: (line.recipient, line.sent_at is not None) for line in session.query(Notification)}
    assert lines == dict.fromkeys(("webhook", "apprise:json", "apprise:json:2"), ("", True))
    assert row.notified_at is not None


@pytest.mark.parametrize(("requester", "requester_only"), [("ada", True), (None, True), (None, False)])
@ON_SQLITE
def test_nobody_needs_an_address_for_a_webhook(
    parts: Deployment, mailbox: Mailbox, plain: Receiver, requester: str | None, requester_only: bool
) -> None:
    """It is told once per event, whoever has asked; and where nobody may have the file there is no link."""
    register(notifiers=("email", hook(plain, with_link=True)), requester_only=requester_only)
    row = made(parts, requester)
    [(event, data)] = posted(plain)
    assert (event, data["id"], data["requester"], data["state"]) == ("ready", row.id, requester, "ready")
    assert (data["filename"], data["size"], data["rows"], data["sha256"]) == ("numbers.csv", row.size, 3, row.sha256)
    assert data["status_url"].startswith("https://files.example.com/requests/")
    assert (data["download_url"] is None) == (requester is None and requester_only)
    assert mailbox.mails == []
    assert row.notified_at is not None


@ON_SQLITE
def test_what_is_not_for_programs_is_not_told_them(parts: Deployment, plain: Receiver) -> None:
    """No criteria, no address, no token; a file for its requester needs more than this to be had."""
    register(notifiers=(hook(plain),))
    row = toolbox.add_request({"count": 3}, "numbers", "ada", requester_email="ada@example.com")
    registry.dispatch(row.id)
    body = plain.received[0].body.decode()
    assert not [word for word in ("criteria", "ada@example.com", "/files/", "token") if word in body]


@ON_SQLITE
def test_one_channels_fault_keeps_no_other_from_being_told(
    parts: Deployment, mailbox: Mailbox, plain: Receiver
) -> None:
    """The mail is sent although the webhook is down and another channel is not configured; and only once."""
    register(notifiers=("apprise", hook(plain), "email"))
    plain.statuses = [503] * 99
    row = toolbox.add_request({"count": 3}, "numbers", REQUESTER)
    restored = registry.get("numbers").restore(row)
    for _ in range(2):
        with pytest.raises(TransientError):
            restored.send_failure(row)
    plain.statuses.clear()
    with pytest.raises(ImproperlyConfigured, match="bgtasks_apprise_urls"):
        restored.send_failure(row)
    assert len(mailbox.mails) == 1
    assert len({received.headers["webhook-id"] for received in plain.received}) == 1
    assert len(plain.received) == 3


def lines(parts: Deployment) -> dict[str, tuple[bool, str | None]]:
    """By their channels: whether each was told, and why it was refused."""
    with parts.database.reading() as session:
        return {
            line.channel: (line.sent_at is not None, line.refusal if line.is_refused else None)
            for line in session.query(Notification)
        }


def test_who_refuses_for_good_is_not_tried_again(
    parts: Deployment, plain: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However often the step is repeated for another who is away; in the end its history says that not all know."""
    monkeypatch.setattr(patience, "IN_SLOT", 0.0)
    register(notifiers=(hook(plain, name="gone"), hook(plain, name="away")))
    plain.statuses = [410, 503, 503]
    row = toolbox.add_request({"count": 3}, "numbers", REQUESTER)
    assert [registry.dispatch(row.id) for _ in range(2)] == [False, False]
    assert lines(parts) == {"webhook:gone": (False, "410"), "webhook:away": (False, None)}
    with pytest.raises(RequestFailed):
        registry.dispatch(row.id)
    assert len({received.headers["webhook-id"] for received in plain.received[1:]}) == 1
    assert len(plain.received) == 4
    assert lines(parts) == {"webhook:gone": (False, "410"), "webhook:away": (True, None)}
    after = fresh(parts, row)
    assert (after.state, after.notified_at) == (State.READY, None)
    assert told(parts, row)[-3:] == [EventKind.HANDED_BACK, EventKind.STEP, EventKind.NOTIFY_FAILED]


def test_who_has_refused_one_failure_is_told_of_the_next(parts: Deployment, plain: Receiver) -> None:
    """A retry begins anew, also for them: what was noted of the failure before is about that one."""
    register(notifiers=(hook(plain),), max_rows=1)
    row = toolbox.add_request({"count": 3}, "numbers", REQUESTER)
    for status in (410, 204):
        plain.statuses = [status]
        with pytest.raises(RequestFailed):
            registry.dispatch(row.id)
        assert lines(parts) == {"webhook": (status == 204, "410" if status == 410 else None)}
        failed = fresh(parts, row)
        assert failed.error_code == "too_many_rows"
        assert toolbox.retry(failed)
    assert len({received.headers["webhook-id"] for received in plain.received}) == len(plain.received) == 2


@ON_SQLITE
def test_what_a_worker_of_before_has_done_outweighs_a_refusal(parts: Deployment) -> None:
    """It sends what was refused, or begins it anew for the next failure, and leaves the refusal where it was."""
    at = in_seconds(0)
    refused = {"created_at": at, "refused_at": at, "refusal": "550"}
    assert Notification(**refused).is_refused
    assert not Notification(**refused | {"sent_at": in_seconds(1)}).is_refused
    assert not Notification(**refused | {"created_at": in_seconds(1)}).is_refused


@pytest.mark.parametrize(("header", "least"), [("600", 600), ("9" * 20, 3600)])
@ON_SQLITE
def test_a_receiver_says_when_to_come_back(parts: Deployment, plain: Receiver, header: str, least: float) -> None:
    """The step is handed back at once, until then; for an hour at most, whatever it says, and others are away, too."""
    register(notifiers=(Faulty(TransientError()), hook(plain)))
    plain.statuses, plain.retry_after = [429], header
    row = toolbox.add_request({"count": 3}, "numbers", REQUESTER)
    asked = in_seconds(0)
    assert not registry.dispatch(row.id)
    assert len(plain.received) == 1
    due = fresh(parts, row).dispatch_at
    assert due is not None
    assert timedelta(seconds=least - 1) <= due - asked
    assert due - in_seconds(0) <= timedelta(seconds=3601)


def test_a_short_wait_is_spent_in_the_slot(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not shorter than it was asked for, whatever chance says; once the time is over it is raised."""
    clock, slept = [0.0], list[float]()

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        clock[0] += seconds

    monkeypatch.setattr(patience, "time", SimpleNamespace(monotonic=lambda: clock[0], sleep=sleep))
    error = TransientError(retry_after=2.0)
    with pytest.raises(TransientError):
        patience.persistently(Faulty(error).fail)
    assert slept == [2.0, 2.0]


class Faulty:
    """A channel of somebody else's, with a fault of its own."""

    channel = "faulty"
    personal = False

    def __init__(self, error: Exception) -> None:
        self.error = error

    def send(self, message: Message, recipient: str, message_id: str) -> None:
        raise self.error

    def fail(self) -> None:
        raise self.error


@ON_SQLITE
def test_a_fault_in_somebodys_own_channel_keeps_no_other_from_being_told(parts: Deployment, plain: Receiver) -> None:
    """Whatever it raises; only a step whose time is over tells nobody else."""
    row = toolbox.add_request({"count": 3}, "numbers", REQUESTER)
    for error, times in ((SoftTimeLimitExceeded(), 0), (LookupError(), 1)):
        register(notifiers=(Faulty(error), hook(plain)))
        with pytest.raises(type(error)):
            registry.get("numbers").restore(row).send_failure(row)
        assert len(plain.received) == times
    register(notifiers=(Faulty(LookupError()), hook(plain, name="another")))
    plain.statuses = [503]
    with pytest.raises(TransientError):  # it is tried again
        registry.get("numbers").restore(row).send_failure(row)


def test_who_is_told_of_a_failure_is_told_of_the_next_one(parts: Deployment, mailbox: Mailbox) -> None:
    """An operator has retried in vain: that is another mail, and each of them is sent once."""
    register(max_rows=1)
    row = toolbox.add_request({"count": 3}, "numbers", REQUESTER)
    for _ in range(2):
        with pytest.raises(RequestFailed):
            registry.dispatch(row.id)
        failed = fresh(parts, row)
        registry.get("numbers").restore(failed).send_failure(failed)
        assert toolbox.retry(failed)
    assert len({mail["Message-ID"] for mail in mailbox.mails}) == len(mailbox.mails) == 2


@ON_SQLITE
def test_two_of_a_kind_are_two(parts: Deployment, plain: Receiver) -> None:
    """The second is numbered in the ledger, unless it has a name; and each hears what it wants to."""
    failures = AppriseNotifier(f"json://127.0.0.1:{plain.port}/failures", events=("failed",))
    register(notifiers=(hook(plain), hook(plain), hook(plain, name="billing"), failures))
    row = made(parts)
    assert registry.get("numbers").restore(row).send_notification(row, toolbox.create_token(row)) == 3
    with parts.database.reading() as session:
        channels = [line.channel for line in session.query(Notification).order_by(Notification.channel)]
    assert channels == ["webhook", "webhook:2", "webhook:billing"]
    assert len(plain.received) == 3


@ON_SQLITE
def test_a_failure_is_told_to_programs_whatever_people_are_told(
    parts: Deployment, mailbox: Mailbox, plain: Receiver
) -> None:
    """``tell_failures`` is about people."""
    register(notifiers=("email", hook(plain)), tell_failures=False, max_rows=1)
    with pytest.raises(RequestFailed):
        made(parts)
    [(event, data)] = posted(plain)
    assert (event, data["error_code"]) == ("failed", "too_many_rows")
    assert mailbox.mails == []


# -- cancelled ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tells", "actor", "mails"), [(False, ADMIN, 0), (True, ADMIN, 1), (True, None, 1), (True, REQUESTER, 0)]
)
def test_a_cancel_is_told_to_whom_it_concerns(
    parts: Deployment, mailbox: Mailbox, plain: Receiver, tells: bool, actor: str | None, mails: int
) -> None:
    """Nobody is mailed for a click of theirs, nor where the type does not say so; programs always hear of it."""
    register(notifiers=("email", hook(plain)), tell_cancels=tells, email_cancelled_subject="Off: %(description)s")
    row = toolbox.add_request({"count": 3}, "numbers", REQUESTER, description="My numbers", schedule=True)
    assert toolbox.cancel(row, actor)
    assert (row.state, row.dispatch_at is not None) == (State.CANCELLED, True)
    assert registry.dispatch(row.id)
    after = fresh(parts, row)
    assert (after.state, after.step, after.dispatch_at, after.leased_by) == (State.CANCELLED, "notify", None, None)
    assert [(event, data["state"]) for event, data in posted(plain)] == [("cancelled", "cancelled")]
    assert len(mailbox.mails) == mails
    for mail in mailbox.mails:
        assert mail["Subject"] == "Off: My numbers"
        assert "will not be made, since the request was cancelled: My numbers" in mail.get_content()
    assert told(parts, row)[-1] == EventKind.NOTIFIED
    assert not registry.dispatch(row.id)


@pytest.mark.parametrize("declared", [{}, {"tell_cancels": True}, {"tell_cancels": True, "steps": ("attach",)}])
@ON_SQLITE
def test_a_cancel_that_concerns_nobody_leaves_nothing_to_do(parts: Deployment, declared: dict[str, Any]) -> None:
    """By default, for one's own click, or with no step that tells: the row waits for nobody."""
    register(**declared)
    row = toolbox.add_request({"count": 3}, "numbers", REQUESTER, schedule=True)
    assert toolbox.cancel(row, REQUESTER)
    assert row.dispatch_at is None
    assert not registry.dispatch(row.id)


@ON_SQLITE
def test_a_cancel_without_a_word(parts: Deployment, plain: Receiver) -> None:
    """``tell=False``, for whoever cancels what was never to be."""
    register(notifiers=(hook(plain),))
    row = toolbox.add_request({"count": 3}, "numbers", REQUESTER, schedule=True)
    assert toolbox.cancel(row, tell=False)
    assert not registry.dispatch(row.id)
    assert plain.received == []


# -- expiring ----------------------------------------------------------------------------------------


def soon(parts: Deployment, **asked: Any) -> FileRequest:
    """A file that expires in half an hour, and that its requester has been told of."""
    return alter(parts, made(parts, **asked), expires_at=in_seconds(HOUR / 2))


def test_a_file_that_nobody_has_fetched_is_reminded_of(parts: Deployment, mailbox: Mailbox, plain: Receiver) -> None:
    """Once, with a link that works, and with no more time than there was."""
    register(notifiers=("email", hook(plain)), tell_expiry=HOUR)
    row = soon(parts)
    [due] = reminding.due()
    assert (due.dispatch_at is not None, due.fence) == (True, row.fence)
    assert reminding.due() == []  # a doubled beat
    assert registry.dispatch(row.id)
    after = fresh(parts, row)
    assert (after.state, after.step, after.expires_at) == (State.READY, "tell_expiry", row.expires_at)
    assert (after.dispatch_at, after.leased_by, after.notified_at) == (None, None, row.notified_at)
    mail = mailbox.mails[-1]
    assert mail["Subject"] == "Your file will soon be removed: numbers.csv"
    text, html = (mail.get_body((kind,)).get_content() for kind in ("plain", "html"))  # type: ignore[union-attr]
    [link] = re.findall(r"https://\S+", text)
    assert toolbox.decode(link.rpartition("/")[2])[0].id == row.id
    assert f'href="{link}"' in html
    assert "numbers.csv" in html
    assert "3 rows" in html
    assert "The link works for ada@example.com only, until" in text
    assert [event for event, _ in posted(plain)] == ["ready", "expiring"]
    assert len(mailbox.mails) == 2
    assert told(parts, row)[-3:] == [EventKind.EXPIRING, EventKind.STEP, EventKind.REMINDED]
    assert (reminding.due(), registry.dispatch(row.id)) == ([], False)


def downloaded(parts: Deployment, row: FileRequest) -> None:
    parts.requests.downloaded(row.id, REQUESTER, None)


def revoked(parts: Deployment, row: FileRequest) -> None:
    toolbox.revoke(row)


def expired(parts: Deployment, row: FileRequest) -> None:
    alter(parts, row, expires_at=in_seconds(-1))


def prolonged(parts: Deployment, row: FileRequest) -> None:
    toolbox.create_token(row)


TOO_LATE = [downloaded, revoked, expired, prolonged]


@pytest.mark.parametrize("change", TOO_LATE)
def test_a_reminder_that_nobody_needs_is_not_due(
    parts: Deployment, change: Callable[[Deployment, FileRequest], None]
) -> None:
    """The file was fetched, withdrawn or removed, or lasts for longer after all."""
    register(tell_expiry=HOUR)
    row = soon(parts)
    change(parts, row)
    assert reminding.due() == []


@pytest.mark.parametrize("change", TOO_LATE)
@ON_SQLITE
def test_a_reminder_that_comes_too_late_is_not_sent(
    parts: Deployment, mailbox: Mailbox, change: Callable[[Deployment, FileRequest], None]
) -> None:
    """The same after the sweep has seen it, however long its message waits."""
    register(tell_expiry=HOUR)
    row = soon(parts)
    assert reminding.due()
    change(parts, row)
    assert registry.dispatch(row.id)
    assert len(mailbox.mails) == 1
    assert (fresh(parts, row).step, told(parts, row)[-1]) == ("tell_expiry", EventKind.NOT_NOTIFIED)


@ON_SQLITE
def test_a_file_that_never_was_told_of_is_not_reminded_of(parts: Deployment, mailbox: Mailbox) -> None:
    """One without a recipient, one attached by hand, one of a type that says nothing of it, and one that is young."""
    register(tell_expiry=HOUR, requester_only=False)
    alter(parts, made(parts, "ada"), expires_at=in_seconds(HOUR / 2))
    by_hand = toolbox.attach_file(toolbox.add_request({}, "numbers", REQUESTER), b"1")
    alter(parts, by_hand, expires_at=in_seconds(HOUR / 2), token_id="granted")
    made(parts)
    assert reminding.due() == []
    soon(parts)
    registry._classes.clear()
    for declared in ({}, {"tell_expiry": HOUR, "max_age": HOUR}, {"tell_expiry": HOUR, "steps": ("attach",)}):
        registry._classes.clear()
        registry._classes["numbers"] = type("Declared", (Numbers,), declared)
        assert reminding.due() == []


@ON_SQLITE
def test_a_lost_message_and_a_dead_worker_cost_no_reminder(
    parts: Deployment, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sweeps repair it as any other step; who died after the server's acceptance sends the same mail again."""
    register(tell_expiry=HOUR)
    published: list[str] = []
    attempt = publishing.attempt
    monkeypatch.setattr(publishing, "attempt", lambda row: published.append(row.id) or attempt(row))
    row = soon(parts)
    sweeps.remind()
    with parts.app.connection_for_write() as connection:
        connection.channel().queue_purge(queue_of("numbers"))
    alter(parts, row, dispatch_at=in_seconds(-1))
    sweeps.dispatch()
    assert published == [row.id, row.id]

    class Killed(BaseException):
        """The process is no more: nothing sees to what it has left."""

    def die(*_: Any) -> None:
        raise Killed

    with monkeypatch.context() as dying:
        dying.setattr(Ledger, "close", die)
        with pytest.raises(Killed):
            registry.dispatch(row.id)
    assert fresh(parts, row).leased_by is not None
    alter(parts, row, leased_until=in_seconds(-1))
    sweeps.recover()
    assert registry.dispatch(row.id)
    _, first, second = mailbox.mails
    assert first["Message-ID"] == second["Message-ID"]
    assert fresh(parts, row).step == "tell_expiry"


@ON_SQLITE
def test_a_reminder_that_keeps_failing_is_given_up(parts: Deployment) -> None:
    """The file stays ready, its history says why, and no sweep begins anew."""

    class Refuses:
        channel = "email"

        def send(self, message: Message, recipient: str, message_id: str) -> None:
            if message.event == "expiring":
                raise ImproperlyConfigured("there is no such channel")

    register(tell_expiry=HOUR, notifiers=(Refuses(),))
    row = soon(parts)
    assert reminding.due()
    with pytest.raises(RequestFailed):
        registry.dispatch(row.id)
    after = fresh(parts, row)
    assert (after.state, after.dispatch_at, told(parts, row)[-1]) == (State.READY, None, EventKind.NOTIFY_FAILED)
    assert reminding.due() == []


@ON_SQLITE
def test_nobody_claims_a_reminder_that_is_not_due(parts: Deployment) -> None:
    """A message that is late finds nothing to do: the fence has moved on."""
    from bgtasks import execution
    from bgtasks.claims import Claim

    register(tell_expiry=HOUR)
    row = soon(parts)
    [due] = reminding.due()
    assert registry.dispatch(row.id)
    with pytest.raises(ClaimLost):
        execution.run("tell_expiry", Claim.of(due), "late worker")


@pytest.mark.parametrize("value", [0, -1, "an hour", True, 86_400])
@ON_SQLITE
def test_a_time_that_can_not_be_is_said_at_once(parts: Deployment, value: Any) -> None:
    """Seconds, and fewer than the file lasts."""
    with pytest.raises(ImproperlyConfigured, match="tell_expiry"):
        register(tell_expiry=value, max_age=86_400)
