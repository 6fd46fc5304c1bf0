"""The notifier that posts signed webhooks, against a receiver that behaves and against whoever doesn't."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import math
import os
import socket
import ssl
import threading
import time
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from bgtasks.errors import BgtasksError, ImproperlyConfigured, NotificationRefused, TransientError
from bgtasks.notifiers import EmailNotifier, Message, WebhookNotifier, addresses, email, pinned, webhook
from bgtasks.webhook_secrets import key_of
from tests.telling.conftest import NAME, SECRET
from tests.telling.receivers import Received, Receiver, receiving

OTHER = "whsec_" + base64.b64encode(b"another key of thirty-two bytes.").decode()
MESSAGE = Message(
    "A subject", "A text.", None, "", event="ready", at=datetime(2026, 1, 2, tzinfo=UTC),
    facts={"id": "1", "filename": "é.csv"}, link="https://files.example.com/files/secret-token",
)  # fmt: skip
MESSAGE_ID = "<176.1.2@bgtasks.invalid>"


def notifier(port: int, host: str = "localhost", **options: Any) -> WebhookNotifier:
    """One that may come to this machine."""
    return WebhookNotifier(f"https://{host}:{port}/hooks?for=us", SECRET, **{"allow_private": True, **options})


def signature(received: Received, secret: str) -> str:
    """As the specification has it, in other words than ours."""
    content = f"{received.headers['webhook-id']}.{received.headers['webhook-timestamp']}.{received.body.decode()}"
    key = base64.b64decode(secret.removeprefix("whsec_"))
    return "v1," + base64.b64encode(hmac.new(key, content.encode(), hashlib.sha256).digest()).decode()


def test_the_specifications_own_example() -> None:
    """What the reference libraries sign, we sign alike."""
    headers = webhook.signed("msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}', [key_of(SECRET)])
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_webhook_arrives_signed(receiver: Receiver) -> None:
    """Over TLS, with a certificate that is checked: type, time and data, and no link."""
    notifier(receiver.port).send(MESSAGE, "", MESSAGE_ID)
    [received] = receiver.received
    assert json.loads(received.body) == {
        "type": "bgtasks.file.ready",
        "timestamp": "2026-01-02T00:00:00+00:00",
        "data": {"id": "1", "filename": "é.csv"},
    }
    assert (received.path, received.headers["host"]) == ("/hooks?for=us", f"localhost:{receiver.port}")
    assert received.headers["content-type"] == "application/json"
    assert received.headers["webhook-signature"] == signature(received, SECRET)
    assert abs(int(received.headers["webhook-timestamp"]) - time.time()) < 60
    assert receiver.names == ["localhost"]


def test_the_link_is_there_if_it_is_wanted(receiver: Receiver) -> None:
    """``with_link=True``."""
    notifier(receiver.port, with_link=True).send(MESSAGE, "", MESSAGE_ID)
    assert json.loads(receiver.received[0].body)["data"]["download_url"] == MESSAGE.link


def test_secrets_take_turns(receiver: Receiver) -> None:
    """Each of several secrets signs, so that the receiver may know either."""
    url = f"https://localhost:{receiver.port}/"
    WebhookNotifier(url, [SECRET, OTHER], allow_private=True).send(MESSAGE, "", MESSAGE_ID)
    [received] = receiver.received
    assert received.headers["webhook-signature"].split() == [signature(received, SECRET), signature(received, OTHER)]


def test_each_try_has_the_same_id(receiver: Receiver) -> None:
    """A receiver knows a second copy by it; without a full stop, which separates what is signed."""
    receiver.statuses = [503]
    with pytest.raises(TransientError):
        notifier(receiver.port).send(MESSAGE, "", MESSAGE_ID)
    notifier(receiver.port).send(MESSAGE, "", MESSAGE_ID)
    first, second = (received.headers["webhook-id"] for received in receiver.received)
    assert first == second
    assert "." not in first
    assert webhook.id_of("<another@bgtasks.invalid>") != first


STATUSES = [
    *((status, TransientError) for status in (500, 502, 503, 429, 408)),
    *((status, NotificationRefused) for status in (400, 401, 404, 410, 301, 302, 307, 308)),
]


@pytest.mark.parametrize(("status", "error"), STATUSES)
def test_the_receivers_no_is_final_or_not(receiver: Receiver, status: int, error: type[BgtasksError]) -> None:
    """What may work later is tried again; a redirect is a no, and nobody goes there."""
    receiver.statuses, receiver.location = [status], f"https://localhost:{receiver.port}/elsewhere"
    with pytest.raises(error, match=str(status)) as refused:
        notifier(receiver.port).send(MESSAGE, "", MESSAGE_ID)
    assert len(receiver.received) == 1
    assert "localhost" not in str(refused.value)


def date(seconds: float) -> str:
    """So many seconds from now, as HTTP has it."""
    return format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)


@pytest.mark.parametrize(
    ("status", "header", "least", "most"),
    [(429, "120", 120, 120), (503, date(8e4), 4e4, 8e4), (503, date(-8e4), 0, 0), (429, "9" * 5000, 1e9, math.inf)],
    ids=["seconds", "a date", "a date that is over", "without end"],
)
def test_the_receiver_says_how_much_later(
    receiver: Receiver, status: int, header: str, least: float, most: float
) -> None:
    """In seconds, or until a date."""
    receiver.statuses, receiver.retry_after = [status], header
    with pytest.raises(TransientError) as later:
        notifier(receiver.port).send(MESSAGE, "", MESSAGE_ID)
    assert later.value.retry_after is not None
    assert least <= later.value.retry_after <= most


GARBAGE = [
    "", "soon", "-5", "1.5", "\xb2", "120, 120", "Wed, 21 Oct 2099", "Wed, 21 Oct 99999999999999999999999 07:28:00 GMT",
    "Wed, 21 Oct 2099 07:28:00 +99999999999999", "Wed, 21 Oct 2099 07:28:00 +222222222222000",
]  # fmt: skip


@pytest.mark.parametrize(("status", "header"), [*((503, header) for header in GARBAGE), (500, "120"), (408, "120")])
def test_what_else_a_receiver_says_of_the_time_is_ignored(receiver: Receiver, status: int, header: str) -> None:
    """It is tried again all the same, when we see fit; 429 and 503 alone say when (RFC 9110, RFC 6585)."""
    receiver.statuses, receiver.retry_after = [status], header
    with pytest.raises(TransientError, match=str(status)) as later:
        notifier(receiver.port).send(MESSAGE, "", MESSAGE_ID)
    assert later.value.retry_after is None


def test_a_certificate_that_nobody_vouches_for(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is sent to whoever can't show who they are."""
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(TransientError):
        notifier(receiver.port).send(MESSAGE, "", MESSAGE_ID)
    assert receiver.received == []


def test_a_certificate_of_somebody_else(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """It must be the name's in the URL, not any good one."""
    resolving(monkeypatch, ["127.0.0.1"])
    with pytest.raises(TransientError):
        notifier(receiver.port, "other.example.com").send(MESSAGE, "", MESSAGE_ID)
    assert receiver.received == []


# -- where it goes -----------------------------------------------------------------------------------


def resolving(monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> list[str]:
    """A resolver that answers each question with the next of these; the names that it was asked for."""
    asked: list[str] = []

    def getaddrinfo(host: str, port: int, *_: Any, **__: Any) -> list[Any]:
        asked.append(host)
        found = answers[min(len(asked), len(answers)) - 1]
        families = [socket.AF_INET6 if ":" in address else socket.AF_INET for address in found]
        return [
            (family, socket.SOCK_STREAM, 6, "", (address, port))
            for family, address in zip(families, found, strict=True)
        ]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return asked


class Connections:
    """A socket that notes where it is told to connect, and gets nowhere."""

    made: list[Any]

    def __init__(self, *_: Any) -> None: ...

    def settimeout(self, _: float) -> None: ...

    def connect(self, address: Any) -> None:
        self.made.append(address[0])
        raise ConnectionRefusedError

    def close(self) -> None: ...


@pytest.fixture
def connections(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Where anybody has tried to connect to."""
    Connections.made = []
    monkeypatch.setattr(socket, "socket", Connections)
    return Connections.made


NOT_PUBLIC = [
    "127.0.0.1", "127.8.8.8", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1",
    "224.0.0.1", "255.255.255.255", "::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "ff02::1", "::ffff:127.0.0.1",
    "::ffff:10.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "2002:7f00:1::", "64:ff9b:1::a00:1", "::10.0.0.1",
    "::ffff:0:10.0.0.1", "fec0::1", "3fff::1", "2001:0:7f00:1::", "168.63.129.16", "::ffff:168.63.129.16",
]  # fmt: skip


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_no_way_into_ones_own_network(monkeypatch: pytest.MonkeyPatch, connections: list[str], address: str) -> None:
    """This machine, private networks, a cloud's metadata: also where IPv6 wraps them, and beside a public address."""
    for answer in ([address], ["93.184.215.14", address]):
        resolving(monkeypatch, answer)
        with pytest.raises(NotificationRefused, match="not a public one"):
            notifier(443, NAME, allow_private=False).send(MESSAGE, "", MESSAGE_ID)
    assert connections == []


def test_public_addresses_are_tried_in_turn(monkeypatch: pytest.MonkeyPatch, connections: list[str]) -> None:
    """A host may have several, and the first may be down."""
    resolving(monkeypatch, ["2606:2800:21f::1", "93.184.215.14"])
    with pytest.raises(TransientError):
        notifier(443, NAME, allow_private=False).send(MESSAGE, "", MESSAGE_ID)
    assert connections == ["2606:2800:21f::1", "93.184.215.14"]


def test_a_name_that_changes_after_the_check(monkeypatch: pytest.MonkeyPatch, connections: list[str]) -> None:
    """DNS rebinding: whoever answers the second question otherwise is never asked one."""
    asked = resolving(monkeypatch, ["93.184.215.14"], ["127.0.0.1"])
    with pytest.raises(TransientError):
        notifier(443, NAME, allow_private=False).send(MESSAGE, "", MESSAGE_ID)
    assert connections == ["93.184.215.14"]
    assert asked == [NAME]


def test_the_checked_address_is_the_one_that_is_spoken_to(
    receiver: Receiver, tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same for real: another server listens where the name points to afterwards. TLS has the name all the while."""
    with receiving(tls, "127.0.0.2", receiver.port) as other:
        tls.sni_callback = lambda _, name, __: receiver.names.append(name)  # of the one context of both
        asked = resolving(monkeypatch, ["127.0.0.1"], ["127.0.0.2"])
        notifier(receiver.port, NAME).send(MESSAGE, "", MESSAGE_ID)
        assert (len(receiver.received), len(other.received)) == (1, 0)
    assert asked == [NAME]
    assert receiver.names == [NAME]
    assert receiver.received[0].headers["host"] == f"{NAME}:{receiver.port}"


def test_a_host_that_is_not_known_may_be_later() -> None:
    """A resolver that has no answer is no no."""
    with pytest.raises(TransientError):
        notifier(443, "hooks.bgtasks.invalid").send(MESSAGE, "", MESSAGE_ID)


# -- how long it takes -------------------------------------------------------------------------------


@pytest.fixture
def hanging(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """A resolver that answers nobody, until the test is over or says so."""
    released, ask = threading.Event(), socket.getaddrinfo

    def getaddrinfo(*asked: Any, **more: Any) -> Any:
        if not released.wait(20):
            raise AssertionError("somebody has waited for the resolver")
        return ask(*asked, **more)

    monkeypatch.setattr(pinned, "WHOLE", 0.05)
    monkeypatch.setattr(email, "TIMEOUT", 0.05)
    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    yield released
    released.set()
    for question in questions():
        question.join()


def questions() -> list[threading.Thread]:
    """Those that wait for the resolver."""
    return [thread for thread in threading.enumerate() if thread.name == "bgtasks-resolver"]


def test_a_resolver_that_hangs_is_not_waited_for(
    receiver: Receiver, hanging: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither by a webhook nor by a mail, nor by whoever only greets; and however many there are, threads are few."""
    road, mail = notifier(receiver.port), EmailNotifier("smtp://localhost")
    calls = (
        lambda: road.send(MESSAGE, "", MESSAGE_ID),
        road.greet,
        mail.greet,
        EmailNotifier("smtps://localhost").greet,
    )
    for number in range(addresses.OPEN + len(calls)):
        with pytest.raises(TransientError, match=r"found|not answer"):
            calls[number % len(calls)]()
    assert len(questions()) == addresses.OPEN
    assert all(question.daemon for question in questions())  # the process ends without them
    hanging.set()
    monkeypatch.setattr(pinned, "WHOLE", 15.0)
    road.send(MESSAGE, "", MESSAGE_ID)
    assert len(receiver.received) == 1


def test_a_forked_child_has_no_questions_open(hanging: threading.Event) -> None:
    """Its parent's threads are not in it, and would never make room again."""
    for _ in range(addresses.OPEN):
        with pytest.raises(TransientError):
            notifier(443).greet()
    before = addresses._Room.slots
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # a fork beside threads is what this is about
        child = os.fork()
    if child == 0:  # it must not come back to the test
        os._exit(0 if addresses._Room.slots.acquire(blocking=False) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert addresses._Room.slots is before


def test_the_resolvers_own_fault_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no thread can be started it may be possible later, and the room is free again; a fault of ours is one."""
    with monkeypatch.context() as full:
        full.setattr(threading.Thread, "start", lambda _: (_ for _ in ()).throw(RuntimeError("can't start new thread")))
        for _ in range(addresses.OPEN + 1):
            with pytest.raises(TransientError):
                notifier(443).greet()
    with pytest.raises(TransientError):
        notifier(443, "a..b").greet()  # which no encoding of names takes
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [].index(1))
    with pytest.raises(ValueError, match="is not in list"):
        notifier(443).greet()


def test_an_answer_without_end_is_not_waited_for(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """A byte now and then keeps nobody for longer than the whole may take."""
    monkeypatch.setattr(pinned, "WHOLE", 0.6)

    def dribble(line: Any) -> None:
        for _ in range(40):
            line.write(b"HTTP/1.1 200 OK\r\n"[:1])
            time.sleep(0.1)

    receiver.answer = lambda line: _until_cut(dribble, line)
    before = time.monotonic()
    with pytest.raises(TransientError):
        notifier(receiver.port).send(MESSAGE, "", MESSAGE_ID)
    assert time.monotonic() - before < 3


@pytest.mark.parametrize("endless", [b"x" * 65536, b"x-header: " + b"x" * 1000 + b"\r\n"])
def test_an_answer_is_not_read_for_what_it_says(receiver: Receiver, endless: bytes) -> None:
    """A body is left where it is; headers have their limits."""
    sent = [0]

    def pour(line: Any) -> None:
        line.write(b"HTTP/1.1 200 OK\r\n" + (b"\r\n" if endless.startswith(b"xx") else b""))
        for _ in range(10_000):
            line.write(endless)
            sent[0] += len(endless)

    receiver.answer = lambda line: _until_cut(pour, line)
    if endless.startswith(b"xx"):
        notifier(receiver.port).send(MESSAGE, "", MESSAGE_ID)
    else:
        with pytest.raises(TransientError):
            notifier(receiver.port).send(MESSAGE, "", MESSAGE_ID)
    assert sent[0] < 10_000 * len(endless)


def _until_cut(pour: Any, line: Any) -> None:
    try:
        pour(line)
    except OSError:
        return


# -- the URL and the secret --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    ["", "hooks.example.com", "http://hooks.example.com/", "https://", "https://:443/", "https://a:b@hooks.example.com/",
     "https://hooks.example.com:port/", "https://hooks.example.com:0/", "ftp://hooks.example.com/", "https://[::1/",
     "https://hooks.example.com/a b", "https://hooks.example.com/\r\nx: y", "https://hooks.example.com/é"],
)  # fmt: skip
def test_a_wrong_url_is_named(url: str) -> None:
    """In the clear only where that is allowed; and never repeated, since it may hold a token."""
    with pytest.raises(ImproperlyConfigured, match="must look like https://host/path") as refused:
        WebhookNotifier(url, SECRET)
    assert not url or url not in str(refused.value).replace("https://host/path", "")


def test_in_the_clear_where_it_is_allowed(plain: Receiver) -> None:
    """``allow_http=True``: signed all the same."""
    url = f"http://localhost:{plain.port}/"
    WebhookNotifier(url, SECRET, allow_http=True, allow_private=True).send(MESSAGE, "", MESSAGE_ID)
    [received] = plain.received
    assert received.headers["webhook-signature"] == signature(received, SECRET)


@pytest.mark.parametrize(
    "secret", ["", "whsec_", "whsec_short", "x" * 40, "whsec_" + "é" * 40, [], [SECRET, "no"], None]
)
def test_a_wrong_secret_is_named(secret: Any) -> None:
    """It says how to make a good one, and does not repeat the wrong one."""
    with pytest.raises(ImproperlyConfigured, match="whsec_") as refused:
        WebhookNotifier("https://hooks.example.com/", secret or [])
    assert "short" not in str(refused.value)
