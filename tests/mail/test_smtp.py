"""The notifier that speaks SMTP, against servers that behave and servers that don't."""

from __future__ import annotations

import contextlib
import shutil
import socket
import ssl
import subprocess
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword

from bgtasks import toolbox
from bgtasks.deployment import Deployment
from bgtasks.errors import BgtasksError, ImproperlyConfigured, NotificationRefused, TransientError
from bgtasks.models import Notification
from bgtasks.notifiers import EmailNotifier, Message
from bgtasks.stack import HOST, Mailbox, free_port
from tests.support.file_types import Numbers
from tests.support.handmade import REQUESTER, finished
from tests.support.services import missing

MESSAGE = Message("A subject", "A text.", "<p>A text.</p>", "exports@example.com")
MESSAGE_ID = "<1@bgtasks.invalid>"


class Server:
    """An SMTP server that answers as it is told to, and keeps what it has accepted."""

    def __init__(self, **answers: Any) -> None:
        self.answers = answers
        self.asked: list[str] = []  #: whom it was to take a mail for
        self.accepted: list[str] = []

    async def handle_MAIL(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:  # noqa: N802
        envelope.mail_from = address
        return str(self.answers.get("mail", "250 OK"))

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:  # noqa: N802
        self.asked.append(address)
        answer = self.answers.get("rcpt", "250 OK")
        answer = answer.get(address, "250 OK") if isinstance(answer, dict) else answer
        if answer.startswith("2"):
            envelope.rcpt_tos.append(address)
        return str(answer)

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        answer = str(self.answers.get("data", "250 OK"))
        if answer.startswith("2"):
            self.accepted += envelope.rcpt_tos
        return answer

    async def handle_QUIT(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        return str(self.answers.get("quit", "221 Bye"))


Serve = Callable[..., EmailNotifier]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts a server, and makes a notifier for it."""
    controllers = []

    def start(server: Any, url: str = "smtp://{host}:{port}", **options: Any) -> EmailNotifier:
        controller = Controller(server, HOST, free_port(), **options)
        controllers.append(controller)
        controller.start()
        return EmailNotifier(url.format(host="localhost" if options.get("tls_context") else HOST, port=controller.port))

    yield start
    for controller in controllers:
        controller.stop()


REFUSALS = [
    ("mail", "451 4.3.0 Not now", TransientError),
    ("mail", "553 5.7.1 Not you", NotificationRefused),
    ("rcpt", "450 4.2.1 Greylisted", TransientError),
    ("rcpt", "550 5.1.1 No such user", NotificationRefused),
    ("data", "452 4.3.1 No space", TransientError),
    ("data", "554 5.7.1 Spam", NotificationRefused),
]


@pytest.mark.parametrize(("when", "answer", "error"), REFUSALS)
def test_the_servers_no_is_final_or_not(serve: Serve, when: str, answer: str, error: type[BgtasksError]) -> None:
    """4xx may work later, 5xx won't (RFC 5321, 4.2.1); no address and no dialogue is in what is said of it."""
    server = Server(**{when: answer})
    with pytest.raises(error) as refused:
        serve(server).send(MESSAGE, REQUESTER, MESSAGE_ID)
    assert server.accepted == []
    assert answer[:3] in str(refused.value)
    logged = "".join(traceback.format_exception(refused.value))
    assert REQUESTER not in logged
    assert answer[10:] not in logged


@pytest.mark.parametrize(("when", "answer", "error"), REFUSALS)
def test_the_goodbye_does_not_hide_the_no(serve: Serve, when: str, answer: str, error: type[BgtasksError]) -> None:
    """What counts is what was said to the mail."""
    other = "554 No" if error is TransientError else "421 Too busy"
    with pytest.raises(error):
        serve(Server(**{when: answer, "quit": other})).send(MESSAGE, REQUESTER, MESSAGE_ID)


@pytest.mark.parametrize("goodbye", ["421 Too busy", "500 What?", "250 OK"])
def test_an_accepted_mail_is_sent_whatever_the_goodbye(serve: Serve, goodbye: str) -> None:
    """A server that has taken the mail may end as it likes: a second copy would be our fault."""
    server = Server(quit=goodbye)
    serve(server).send(MESSAGE, REQUESTER, MESSAGE_ID)
    assert server.accepted == [REQUESTER]


def test_a_server_that_is_down_may_come_back() -> None:
    """No answer is not a no."""
    with pytest.raises(TransientError):
        EmailNotifier(f"smtp://{HOST}:{free_port()}").send(MESSAGE, REQUESTER, MESSAGE_ID)
    with pytest.raises(TransientError):
        EmailNotifier("smtp://mail.bgtasks.invalid").send(MESSAGE, REQUESTER, MESSAGE_ID)


def test_a_server_that_hangs_up_may_come_back() -> None:
    """Neither is a line that goes dead."""
    with socket.create_server((HOST, 0)) as listening:
        listening.listen()
        notifier = EmailNotifier(f"smtp://{HOST}:{listening.getsockname()[1]}?starttls=never")

        def hang_up() -> None:
            listening.accept()[0].close()

        hanging_up = threading.Thread(target=hang_up)
        hanging_up.start()
        with pytest.raises(TransientError):
            notifier.send(MESSAGE, REQUESTER, MESSAGE_ID)
        hanging_up.join()


@pytest.mark.parametrize("recipient", ["a@example.com\r\nBcc: eve@example.com", "a@example.com\n\nHello", "\n"])
def test_a_recipient_can_not_bring_headers(serve: Serve, recipient: str) -> None:
    """An address with a line break is refused, and nobody is mailed."""
    server = Server()
    with pytest.raises(NotificationRefused):
        serve(server).send(MESSAGE, recipient, MESSAGE_ID)
    assert server.accepted == []


# -- one of several ----------------------------------------------------------------------------------

SEVERAL = ["a@example.com", "b@example.com", "c@example.com"]


@pytest.mark.parametrize(
    ("answers", "told", "error"),
    [
        ({"a@example.com": "550 No"}, SEVERAL[1:], NotificationRefused),
        ({"b@example.com": "450 Later"}, [SEVERAL[0], SEVERAL[2]], TransientError),
        ({"a@example.com": "550 No", "c@example.com": "450 Later"}, [SEVERAL[1]], TransientError),
    ],
)
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_one_refusal_keeps_nobody_else_from_being_told(
    parts: Deployment, serve: Serve, answers: dict[str, str], told: list[str], error: type[BgtasksError]
) -> None:
    """The others have their mail, once; what may work later is tried again, and what was refused for good is not."""
    server = Server(rcpt=answers)
    channel = serve(server)

    class Several(Numbers):
        notifiers = (channel,)
        email_recipients = SEVERAL

    ready = finished()
    for _ in range(2):
        with pytest.raises(error):
            Several.restore(ready).send_notification(ready, toolbox.create_token(ready))
    assert server.accepted == told
    refused = [address for address, answer in answers.items() if answer.startswith("5")]
    assert server.asked == [*SEVERAL, *(address for address in answers if address not in refused)]
    with parts.database.reading() as session:
        lines = {line.recipient: line.refusal for line in session.query(Notification).filter_by(sent_at=None)}
    assert lines == {address: "550" if address in refused else None for address in answers}
    server.answers = {}
    with pytest.raises(NotificationRefused) if refused else contextlib.nullcontext():
        Several.restore(ready).send_notification(ready, toolbox.create_token(ready))
    assert sorted(server.accepted) == [address for address in SEVERAL if address not in refused]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_refused_mail_is_not_noted_as_sent(parts: Deployment, serve: Serve) -> None:
    """The ledger's line is there before the mail, and is only closed after it."""
    channel = serve(Server(data="451 Later"))

    class Refused(Numbers):
        notifiers = (channel,)

    ready = finished()
    with pytest.raises(TransientError):
        Refused.restore(ready).send_notification(ready, toolbox.create_token(ready))
    with parts.database.reading() as session:
        [line] = session.query(Notification).all()
    assert (line.channel, line.recipient, line.event, line.sent_at) == ("email", REQUESTER, "ready", None)


# -- the URL -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost",
        "localhost:25",
        "http://localhost:80",
        "smtp://",
        "smtp://:25",
        "smtp://localhost:port",
        "smtp://localhost:99999",
        "smtp://localhost?starttls=perhaps",
        "smtp://[::1",
    ],
)
def test_a_wrong_url_is_named(url: str) -> None:
    """What is no address of a mail server is said at once, with the form that it must have."""
    with pytest.raises(ImproperlyConfigured, match="bgtasks_smtp_url must look like smtp://"):
        EmailNotifier(url)


@pytest.mark.parametrize(
    "url", ["smtp://localhost", "smtps://mail.example.com", "smtp://u:p@[::1]:587?starttls=always", "smtp://u@h"]
)
def test_a_good_url_is_taken(url: str) -> None:
    """Port, user, password and options may be left out."""
    EmailNotifier(url)


def test_a_password_is_not_shown() -> None:
    """A wrong URL is not repeated: it may hold a password."""
    with pytest.raises(ImproperlyConfigured) as refused:
        EmailNotifier("smtp://user:secret@host:port")
    assert "secret" not in str(refused.value)


class Login:
    """Knows one user."""

    def __call__(self, server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        right = isinstance(data, LoginPassword) and (data.login, data.password) == (b"us er", b"p@ss/w:rd")
        return AuthResult(success=right, handled=False)


#: The server's own advice to itself: here nobody listens.
OPEN_LOGIN = pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS:UserWarning")
LOGGED_IN = {"authenticator": Login(), "auth_required": True, "auth_require_tls": False}


@OPEN_LOGIN
def test_it_logs_in(serve: Serve) -> None:
    """User and password are percent-decoded, so that they may hold any character."""
    server = Server()
    serve(server, "smtp://us%20er:p%40ss%2Fw%3Ard@{host}:{port}", **LOGGED_IN).send(MESSAGE, REQUESTER, MESSAGE_ID)
    assert server.accepted == [REQUESTER]


@OPEN_LOGIN
@pytest.mark.parametrize("user", ["", "us%20er:wrong@"])
def test_without_a_login_nothing_is_taken(serve: Serve, user: str) -> None:
    """A server that wants a login refuses, and no password is in what is said of it."""
    with pytest.raises(NotificationRefused) as refused:
        serve(Server(), f"smtp://{user}{{host}}:{{port}}", **LOGGED_IN).send(MESSAGE, REQUESTER, MESSAGE_ID)
    assert "wrong" not in str(refused.value)


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and a certificate for localhost, in one file."""
    openssl = shutil.which("openssl")
    if openssl is None:
        missing("openssl")
    key, file = (tmp_path_factory.mktemp("tls") / name for name in ("key.pem", "certificate.pem"))
    made = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-keyout", key]
    named = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-out", file]
    subprocess.run([openssl, "req", "-x509", *made, *named], check=True, capture_output=True)
    file.write_bytes(file.read_bytes() + key.read_bytes())
    return file


@pytest.fixture
def tls(certificate: Path) -> ssl.SSLContext:
    """The server's side of TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


@pytest.mark.parametrize("starttls", ["auto", "always"])
def test_it_encrypts(
    serve: Serve, tls: ssl.SSLContext, certificate: Path, monkeypatch: pytest.MonkeyPatch, starttls: str
) -> None:
    """STARTTLS is used where it is offered, with a certificate that is checked."""
    server = Server()
    notifier = serve(
        server, f"smtp://{{host}}:{{port}}?starttls={starttls}", tls_context=tls, require_starttls=True
    )  # fmt: skip
    with pytest.raises(TransientError):  # nobody vouches for that certificate
        notifier.send(MESSAGE, REQUESTER, MESSAGE_ID)
    assert server.accepted == []
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    notifier.send(MESSAGE, REQUESTER, MESSAGE_ID)
    assert server.accepted == [REQUESTER]


def test_it_does_not_encrypt_where_it_must_not(serve: Serve, tls: ssl.SSLContext) -> None:
    """``starttls=never`` stays in the clear; a server that insists refuses."""
    with pytest.raises(NotificationRefused):
        serve(
            Server(), "smtp://{host}:{port}?starttls=never", tls_context=tls, require_starttls=True
        ).send(MESSAGE, REQUESTER, MESSAGE_ID)  # fmt: skip


def test_it_does_not_go_on_in_the_clear_where_it_must_encrypt(serve: Serve) -> None:
    """``starttls=always`` sends nothing to a server that does not offer it."""
    server = Server()
    with pytest.raises(NotificationRefused):
        serve(server, "smtp://{host}:{port}?starttls=always").send(MESSAGE, REQUESTER, MESSAGE_ID)
    assert server.accepted == []


class TlsController(Controller):
    """Knocks at its own door, once it has started, as a client of TLS."""

    def _trigger_server(self) -> None:
        context = ssl.create_default_context()
        with socket.create_connection((self.hostname, self.port), 5) as plain:
            with context.wrap_socket(plain, server_hostname=self.hostname) as secure:
                secure.recv(1024)
                secure.sendall(b"QUIT\r\n")
                secure.recv(1024)


def test_tls_from_the_start(certificate: Path, tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch) -> None:
    """``smtps://`` speaks TLS before anything else."""
    server = Server()
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    controller = TlsController(server, "localhost", free_port(), ssl_context=tls)
    controller.start()
    try:
        EmailNotifier(f"smtps://localhost:{controller.port}").send(MESSAGE, REQUESTER, MESSAGE_ID)
    finally:
        controller.stop()
    assert server.accepted == [REQUESTER]


def test_an_address_outside_ascii(serve: Serve, mailbox: Mailbox) -> None:
    """Such an address needs a server that takes it (RFC 6531); one that doesn't is a no."""
    EmailNotifier(mailbox.url).send(MESSAGE, "zoë@example.com", MESSAGE_ID)
    assert mailbox.envelopes[0].rcpt_tos == ["zoë@example.com"]
    with pytest.raises(NotificationRefused):
        serve(Server(), enable_SMTPUTF8=False).send(MESSAGE, "zoë@example.com", MESSAGE_ID)
