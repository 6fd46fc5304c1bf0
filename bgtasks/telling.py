"""How a file type tells what has become of a request: whom, by which ways, in which words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from email.utils import parseaddr
from typing import Any

from bgtasks import locales, mails, notifiers
from bgtasks.models import FileRequest
from bgtasks.notifiers import Message, Notifier, Occasion


class Telling:
    """The declarations of a file type that are about notifications, and what is done with them.

    The ``tell_…`` are about people. Notifiers that address nobody in particular (webhooks, chat rooms) are told of
    whatever happens, unless their own ``events`` say otherwise.
    """

    #: ``%(name)s`` texts over the row's fields, ``token`` and ``download_url``.
    email_subject: str = mails.READY_SUBJECT
    email_text_message: str | None = None
    email_html_message: str | None = None
    #: jinja2 files over the same fields and ``requester_only``, for where there is no such text.
    email_text_template_name: str | None = "ready.txt"
    email_html_template_name: str | None = "ready.html"
    #: What is said when the file can't be made.
    email_failed_subject: str = mails.FAILED_SUBJECT
    email_failed_text_message: str = mails.FAILED_TEXT
    #: What is said when somebody else has cancelled the request.
    email_cancelled_subject: str = mails.CANCELLED_SUBJECT
    email_cancelled_text_message: str = mails.CANCELLED_TEXT
    #: What is said before a file is removed that nobody has downloaded.
    email_expiring_subject: str = mails.EXPIRING_SUBJECT
    email_expiring_text_template_name: str = "expiring.txt"
    email_expiring_html_template_name: str | None = "expiring.html"
    #: The sender (default: ``bgtasks_from_email``).
    from_email: str | None = None
    #: Who is told (default: the row's ``requester_email``).
    email_recipients: Sequence[str] | None = None
    #: A file of at most so many bytes comes with the mail to its requester, beside the link; None: the link alone.
    email_attach_up_to: int | None = None
    #: Whether they are also told that there will be no file, and why.
    tell_failures: bool = True
    #: Whether they are also told that somebody else has cancelled the request: nobody is mailed for a click of theirs.
    tell_cancels: bool = False
    #: Seconds before the file expires at which they are reminded of it, if nobody has downloaded it; None: not at all.
    tell_expiry: float | None = None
    #: How they are told: names or Notifier objects.
    notifiers: Sequence[str | Notifier] = ("email",)

    def get_email_subject(self) -> str:
        """The subject, as a ``%(name)s`` text."""
        return self.email_subject

    def get_email_text_message(self) -> str | None:
        """The plain text, as a ``%(name)s`` text."""
        return self.email_text_message

    def get_email_html_message(self) -> str | None:
        """The HTML, as a ``%(name)s`` text whose values are escaped."""
        return self.email_html_message

    def get_from_email(self) -> str | None:
        """The sender; None: the deployment's."""
        return self.from_email

    def get_email_recipients(self, file_request: FileRequest) -> Sequence[str]:
        """Who is told."""
        if self.email_recipients is not None:
            return self.email_recipients
        return [file_request.requester_email] if file_request.requester_email else []

    def get_email_attach_up_to(self) -> int | None:
        """The largest file that comes with the mail, in bytes; None: none does."""
        return self.email_attach_up_to

    def may_attach(self, file_request: FileRequest, recipient: str) -> bool:
        """Whether this recipient's mail may bring the file itself, which no later revoking takes back.

        By default its requester's alone; and only if ``may_download`` lets the requester have it.
        """
        return parseaddr(recipient)[1] in (file_request.requester_email, file_request.requester)

    def get_tell_failures(self) -> bool:
        """Whether they are also told that there will be no file."""
        return self.tell_failures

    def get_tell_cancels(self) -> bool:
        """Whether they are also told that somebody else has cancelled the request."""
        return self.tell_cancels

    def get_tell_expiry(self) -> float | None:
        """Seconds before the file expires at which they are reminded of it. Asked of a type without a row, too."""
        return self.tell_expiry

    def get_notifiers(self) -> Sequence[str | Notifier]:
        """How they are told."""
        return self.notifiers

    def in_locale(self, file_request: FileRequest) -> AbstractContextManager[Any]:
        """The requester's language and zone, in force in each step and while they are told.

        Extend it to activate another framework's translations too.
        """
        return locales.in_force(file_request.language, file_request.timezone)

    # -- what happens ---------------------------------------------------------------------------
    # Each says how many were told, and stands behind the ledger: it may be called again.

    def send_notification(self, file_request: FileRequest, token: str) -> int:
        """Tell that the file is ready.

        :param token: of the link; ``""``: nobody may download the file, and no person is told.
        """
        compose = lambda recipient: mails.ready(self, file_request, token, recipient)  # noqa: E731
        return self._tell(file_request, Occasion.READY, compose, people=bool(token))

    def send_failure(self, file_request: FileRequest) -> int:
        """Tell that there will be no file, and why."""
        compose = lambda _: mails.failed(self, file_request)  # noqa: E731
        return self._tell(file_request, Occasion.FAILED, compose, people=self.get_tell_failures())

    def send_cancellation(self, file_request: FileRequest, actor: str | None) -> int:
        """Tell that the request was cancelled.

        :param actor: by whom, as far as that is known.
        """
        compose = lambda _: mails.cancelled(self, file_request)  # noqa: E731
        return self._tell(
            file_request, Occasion.CANCELLED, compose, people=self._is_told_of_cancel(file_request, actor)
        )

    def send_reminder(self, file_request: FileRequest, token: str) -> int:
        """Tell that the file is removed soon.

        :param token: of a link that is as good as the first one; ``""``: as above.
        """
        compose = lambda _: mails.expiring(self, file_request, token)  # noqa: E731
        return self._tell(file_request, Occasion.EXPIRING, compose, people=bool(token))

    def wants_to_tell_cancel(self, file_request: FileRequest, actor: str | None) -> bool:
        """Whether anybody is told of a cancel. Asked by whoever cancels: most often there is nothing left to do."""
        people = self._is_told_of_cancel(file_request, actor) and self.get_email_recipients(file_request)
        return notifiers.has_listeners(self.get_notifiers(), Occasion.CANCELLED, people=bool(people))

    def _is_told_of_cancel(self, file_request: FileRequest, actor: str | None) -> bool:
        return self.get_tell_cancels() and (actor is None or actor != file_request.requester)

    def _tell(
        self, file_request: FileRequest, event: Occasion, compose: Callable[[str], Message], *, people: bool
    ) -> int:
        with self.in_locale(file_request):
            recipients = self.get_email_recipients(file_request) if people else ()
            return notifiers.tell(file_request, event, self.get_notifiers(), recipients, compose)
