"""Telling people and programs: one notification for each event, channel and recipient, behind the ledger."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from celery.exceptions import SoftTimeLimitExceeded

from bgtasks import deployment, stopping, tallies
from bgtasks.errors import ImproperlyConfigured, NotificationRefused, OutdatedTables
from bgtasks.models import FileRequest
from bgtasks.notifiers.apprise import AppriseNotifier
from bgtasks.notifiers.email import EmailNotifier
from bgtasks.notifiers.messages import Attachment, Message, Notifier, Occasion
from bgtasks.notifiers.webhook import WebhookNotifier
from bgtasks.patience import asked_wait, is_transient, persistently

__all__ = [
    "BUILT_IN",
    "AppriseNotifier",
    "Attachment",
    "EmailNotifier",
    "Message",
    "Notifier",
    "Occasion",
    "WebhookNotifier",
    "built_in",
    "has_listeners",
    "tell",
]

#: The notifiers that a file type can name, and whether they address people.
BUILT_IN = {"email": True, "webhook": False, "apprise": False}

#: A recipient of those that address nobody in particular.
NOBODY = ""


def built_in(name: str) -> list[Notifier]:
    """What a name stands for, as the settings configure it. Raises: ImproperlyConfigured."""
    settings = deployment.current().settings
    if name == "email":
        return [EmailNotifier(settings.required("smtp_url"))]
    if name == "webhook":
        settings.required("webhook_secret")
        url, secrets = settings.required("webhook_url"), settings.webhook_secret
        http, private = settings.webhook_allow_http, settings.webhook_allow_private
        return [WebhookNotifier(url, secrets, allow_http=http, allow_private=private)]
    if name == "apprise":
        settings.required("apprise_urls")
        return [AppriseNotifier(url) for url in settings.apprise_urls]
    raise ImproperlyConfigured(f"there is no notifier {name!r}")


def has_listeners(notifiers: Iterable[str | Notifier], event: Occasion, *, people: bool) -> bool:
    """Whether any of these would tell somebody of an event.

    :param people: whether there is a person to tell.
    """
    return any((people or not _is_personal(one)) and _listens(one, event) for one in notifiers)


def tell(
    file_request: FileRequest,
    event: str,
    notifiers: Iterable[str | Notifier],
    recipients: Iterable[str],
    compose: Callable[[str], Message],
) -> int:
    """Tell each recipient on each channel, once, whatever is repeated; how many of them know now.

    :param recipients: the people; a channel that addresses nobody in particular is told all the same.
    :param compose: makes the message for a recipient; called for each one that is really sent, at the last moment.
    Raises: TransientError, NotificationRefused, ImproperlyConfigured, ObjectMissing, and what a notifier of somebody
    else's raises; once the others have been told. Of several that may work later it is the one that will take longest.
    """
    told, faults = 0, list[Exception]()
    people = list(dict.fromkeys(recipients))
    for channel, name in _channels(notifiers, event, faults, people=bool(people)):
        for recipient in people if _is_personal(channel) else [NOBODY]:
            try:
                _tell(file_request, event, channel, name, recipient, compose)
                told += 1
            except (SoftTimeLimitExceeded, OutdatedTables):  # there is no time, or no ledger, for the others
                raise
            except Exception as fault:  # whatever it is, the others are told nevertheless
                faults.append(fault)
    if faults:
        raise max(faults, key=lambda fault: (is_transient(fault), asked_wait(fault)))
    return told


def _channels(
    notifiers: Iterable[str | Notifier], event: str, faults: list[Exception], *, people: bool
) -> Iterator[tuple[Notifier, str]]:
    """Those that want to hear of an event, with their names in the ledger: of two alike the second is numbered.

    :param faults: where it is noted that one can't be had.
    """
    names, named = Counter[str](), set[str]()
    for one in notifiers:
        if isinstance(one, str) and (one in named or (_is_personal(one) and not people)):
            continue
        try:
            made = built_in(one) if isinstance(one, str) else [one]
        except ImproperlyConfigured as fault:
            faults.append(fault)
            continue
        named.update([one] if isinstance(one, str) else [])
        for channel in made:
            names[channel.channel] += 1
            number = names[channel.channel]
            if _listens(channel, event):
                yield channel, channel.channel if number == 1 else f"{channel.channel}:{number}"


def _is_personal(notifier: str | Notifier) -> bool:
    """Whether it addresses people, one by one."""
    if isinstance(notifier, str):
        return BUILT_IN.get(notifier, True)
    return bool(getattr(notifier, "personal", True))


def _listens(notifier: str | Notifier, event: str) -> bool:
    events = getattr(notifier, "events", None)
    return events is None or event in events


def _tell(
    file_request: FileRequest,
    event: str,
    channel: Notifier,
    name: str,
    recipient: str,
    compose: Callable[[str], Message],
) -> None:
    ledger = deployment.current().ledger
    # A failed request may be retried, and fail again: this is told, too.
    since = file_request.finished_at if event == Occasion.FAILED else None
    line = ledger.open(file_request.id, event, name, recipient, since)
    if line.is_refused:
        raise NotificationRefused("The notification was refused before.", line.refusal or "refused")
    if line.sent_at is None:
        message = compose(recipient)
        with stopping.staying():  # what is sent and not noted is sent again
            try:
                _send(channel, message, recipient, line.message_id)
            except NotificationRefused as refused:
                reason = refused.reason
                persistently(lambda: ledger.refuse(line, reason))
                raise
            persistently(lambda: ledger.close(line))


def _send(channel: Notifier, message: Message, recipient: str, message_id: str) -> None:
    try:
        channel.send(message, recipient, message_id)
    except Exception as error:
        tallies.notified(channel.channel, "away" if is_transient(error) else "refused")
        raise
    tallies.notified(channel.channel, "sent")
