"""Mails over SMTP."""

from __future__ import annotations

import contextlib
import smtplib
import socket
import ssl
import time
from collections.abc import Iterator
from dataclasses import replace
from email.message import EmailMessage
from email.policy import SMTP as SMTP_POLICY
from email.utils import formatdate
from urllib.parse import parse_qs, unquote, urlsplit

from werkzeug.http import parse_options_header

from bgtasks.errors import ImproperlyConfigured, NotificationRefused, TransientError
from bgtasks.notifiers import addresses
from bgtasks.notifiers.messages import Attachment, Message

TIMEOUT = 20.0  # seconds for each answer of the server, and of whoever knows its address
PORTS = {"smtp": 25, "smtps": 465}
#: The answer to a mail that is larger than the server takes (RFC 1870, 6.1).
TOO_BIG = 552
STARTTLS = ("auto", "always", "never")
FORM = "bgtasks_smtp_url must look like smtp://user:password@host:587?starttls=always"


class EmailNotifier:
    """Sends one mail per recipient, so that nobody sees another's address.

    :param url: ``smtp://user:password@host:port?starttls=auto``; ``smtps://`` for TLS from the start.
    """

    channel = "email"

    def __init__(self, url: str) -> None:
        try:
            self._url = urlsplit(url)
            self._host = self._url.hostname or ""
            self._port = self._url.port or PORTS[self._url.scheme]
            self._starttls = parse_qs(self._url.query).get("starttls", ["auto"])[-1]
        except (ValueError, KeyError):
            raise ImproperlyConfigured(FORM) from None
        if self._url.scheme not in PORTS or not self._host or self._starttls not in STARTTLS:
            raise ImproperlyConfigured(FORM)

    def send(self, message: Message, recipient: str, message_id: str) -> None:
        """Send one mail. Raises: TransientError, NotificationRefused, ImproperlyConfigured, ObjectMissing."""
        if not message.sender:
            raise ImproperlyConfigured("bgtasks_from_email is not set, and a mail can't be sent without it")
        try:
            mail = _mail(message, recipient, message_id)
        except ValueError:  # a line break in an address, say
            raise NotificationRefused("The mail can't be written: an address is not one.", "bad_address") from None
        try:
            self._deliver(mail)
        except _TooBig:
            if message.attachment is None:
                raise
            # The link is enough.
            self._deliver(_mail(replace(message, attachment=None), recipient, message_id))

    def _deliver(self, mail: EmailMessage) -> None:
        with _translated(), self._connected() as server:
            server.send_message(mail)

    def greet(self) -> bool:
        """Connect, secure the connection and log in as for a mail, and send none; whether the connection is secure.

        Raises: TransientError, NotificationRefused.
        """
        with _translated(), self._connected() as server:
            return isinstance(server.sock, ssl.SSLSocket)

    @contextlib.contextmanager
    def _connected(self) -> Iterator[smtplib.SMTP]:
        server = self._open()
        try:
            server.ehlo_or_helo_if_needed()
            if self._url.scheme == "smtp" and self._wants_tls(server):
                server.starttls(context=ssl.create_default_context())
            if self._url.username:
                server.login(unquote(self._url.username), unquote(self._url.password or ""))
            yield server
        finally:
            # Whatever it says to our goodbye, it has taken the mail by now, or has refused it.
            with contextlib.suppress(smtplib.SMTPException, OSError):
                server.quit()
            server.close()

    def _open(self) -> smtplib.SMTP:
        if self._url.scheme == "smtps":
            return _SecureRoad(self._host, self._port, timeout=TIMEOUT, context=ssl.create_default_context())
        return _Road(self._host, self._port, timeout=TIMEOUT)

    def _wants_tls(self, server: smtplib.SMTP) -> bool:
        return self._starttls == "always" or (self._starttls == "auto" and server.has_extn("starttls"))


class _Road(smtplib.SMTP):
    """SMTP whose question for the server's address has an end, too."""

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        return addresses.connected(addresses.resolved(host, port, time.monotonic() + timeout), lambda: timeout)


class _SecureRoad(smtplib.SMTP_SSL, _Road):
    """The same with TLS from the start: it wraps the socket that it gets from there."""


def _mail(message: Message, recipient: str, message_id: str) -> EmailMessage:
    mail = EmailMessage(policy=SMTP_POLICY)
    mail["Message-ID"] = message_id
    mail["Date"] = formatdate()
    mail["From"] = message.sender
    mail["To"] = recipient
    mail["Subject"] = message.subject
    mail["Auto-Submitted"] = "auto-generated"  # RFC 3834: no holiday replies, please
    mail.set_content(message.text)
    if message.html is not None:
        mail.add_alternative(message.html, subtype="html")
    if message.attachment is not None:
        _attach(mail, message.attachment)
    return mail


def _attach(mail: EmailMessage, attachment: Attachment) -> None:
    kind, parameters = parse_options_header(attachment.content_type)
    main, _, sub = kind.partition("/")
    if not sub or main in ("message", "multipart"):  # which would be taken for a part of the mail itself
        (main, sub), parameters = ("application", "octet-stream"), {}
    contents, name = attachment.read(), attachment.filename
    mail.add_attachment(contents, maintype=main, subtype=sub, filename=name, params=parameters)


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    """The server's refusals in our terms; no address or text of the dialogue goes into the message, or the log."""
    try:
        yield
    except smtplib.SMTPRecipientsRefused as error:
        raise _refusal(min(code for code, _ in error.recipients.values())) from None
    except smtplib.SMTPResponseException as error:
        raise _refusal(error.smtp_code) from None
    except smtplib.SMTPNotSupportedError as error:
        raise NotificationRefused("The mail server lacks what this mail needs.", "not_supported") from error
    except (smtplib.SMTPException, OSError) as error:
        raise TransientError("The mail server does not answer just now.") from error


class _TooBig(NotificationRefused):
    """The mail is larger than the server takes."""


def _refusal(code: int) -> TransientError | NotificationRefused:
    """RFC 5321, 4.2.1: 4yz may work later, 5yz won't."""
    if code < 500:
        return TransientError(f"The mail server asks to try again later ({code}).")
    kind = _TooBig if code == TOO_BIG else NotificationRefused
    return kind(f"The mail server refuses the mail ({code}).", str(code))
