"""Telling people: one notification for each event, channel and recipient, behind the ledger."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from bgtasks import deployment, stopping
from bgtasks.errors import ImproperlyConfigured, NotificationRefused, TransientError
from bgtasks.models import FileRequest
from bgtasks.notifiers.email import EmailNotifier
from bgtasks.notifiers.messages import Message, Notifier
from bgtasks.patience import persistently

__all__ = ["BUILT_IN", "EmailNotifier", "Message", "Notifier", "notifier", "tell"]

#: The notifiers that a file type can name.
BUILT_IN = (EmailNotifier.channel,)


def notifier(name: str) -> Notifier:
    """A built-in notifier, as the settings configure it. Raises: ImproperlyConfigured."""
    if name not in BUILT_IN:
        raise ImproperlyConfigured(f"there is no notifier {name!r}")
    return EmailNotifier(deployment.current().settings.required("smtp_url"))


def tell(
    file_request: FileRequest,
    event: str,
    notifiers: Iterable[str | Notifier],
    recipients: Iterable[str],
    compose: Callable[[], Message],
) -> int:
    """Tell each recipient on each channel, once, whatever is repeated; how many of them know now.

    :param compose: makes the message; called for each one that is really sent, at the last moment.
    Raises: TransientError, NotificationRefused, ImproperlyConfigured.
    """
    told, faults = 0, []
    recipients = list(dict.fromkeys(recipients))
    for channel in [notifier(one) if isinstance(one, str) else one for one in notifiers] if recipients else []:
        for recipient in recipients:
            try:
                _tell(file_request, event, channel, recipient, compose)
                told += 1
            except (TransientError, NotificationRefused) as fault:  # the others are told nevertheless
                faults.append(fault)
    if faults:
        raise min(faults, key=lambda fault: isinstance(fault, NotificationRefused))
    return told


def _tell(
    file_request: FileRequest, event: str, channel: Notifier, recipient: str, compose: Callable[[], Message]
) -> None:
    ledger = deployment.current().ledger
    line = ledger.open(file_request.id, event, channel.channel, recipient)
    if line.sent_at is None:
        message = compose()
        with stopping.staying():  # what is sent and not noted is sent again
            channel.send(message, recipient, line.message_id)
            persistently(lambda: ledger.close(line))
