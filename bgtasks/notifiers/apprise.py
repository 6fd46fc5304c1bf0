"""Everything else, through the package of the extra ``apprise``: chats, push messages, pagers."""

from __future__ import annotations

import contextlib
import logging
import re
import threading
from collections.abc import Callable, Collection, Iterator
from typing import Any

from bgtasks.errors import ImproperlyConfigured, TransientError
from bgtasks.extras import needs
from bgtasks.notifiers.messages import Message

#: Loggers of others that write URLs, or the paths in them, when something goes wrong or DEBUG is on.
TALKATIVE = ("apprise", "urllib3.connectionpool")
_SCHEME = re.compile(r"([a-z][a-z0-9.+-]*)://.", re.IGNORECASE)


class AppriseNotifier:
    """Tells one of the services that apprise knows, once per event.

    :param url: apprise's URL, such as ``slack://…``; it holds the service's secrets, and is shown nowhere.
    :param name: how the channel is called in the ledger (default: the URL's scheme): ``apprise:<name>``.
    :param with_link: whether the text has the download link. Everybody who reads along has it then, and may have a
        file that is for anybody. Otherwise there is the link to the status page, which only its requester may see.
    :param events: the ``Occasion`` to tell of (default: all).
    Raises: ImproperlyConfigured.
    """

    personal = False

    def __init__(
        self, url: str, *, name: str = "", with_link: bool = False, events: Collection[str] | None = None
    ) -> None:
        found = _SCHEME.match(url)
        if found is None:
            raise ImproperlyConfigured("an apprise URL must look like slack://…, as apprise's documentation has them")
        self.channel = f"apprise:{name or found[1].lower()}"
        self.events = events
        self._url, self._with_link = url, with_link

    def send(self, message: Message, recipient: str, message_id: str) -> None:
        """Hand it to the service. Raises: TransientError; ImproperlyConfigured, without the package too."""
        with _in_silence():
            service = self._service()
            # What the service has said, apprise tells to the log alone: trying again is all that is left.
            text = self._text(message)
            accepted = _tried(service.notify, title=message.subject, body=text, body_format="text")
        if not accepted:
            raise TransientError(f"{self.channel} does not take the notification just now.")

    def greet(self) -> None:
        """Whether apprise knows such a service; it is sent nothing. Raises: as ``send``."""
        with _in_silence():
            self._service()

    def _service(self) -> Any:
        service = needs("apprise", "apprise").Apprise()
        if not _tried(service.add, self._url):
            raise ImproperlyConfigured(f"apprise can't use the URL of {self.channel}")
        if len(service) > 1:  # whoever has been told would be told again for another's fault
            raise ImproperlyConfigured(f"{self.channel} is of several URLs in one text: list them one by one")
        return service

    def _text(self, message: Message) -> str:
        if message.link is None or self._with_link:
            return message.text
        return str(message.facts.get("status_url") or message.subject)

    def __repr__(self) -> str:
        return f"<AppriseNotifier {self.channel}>"


def _tried(call: Callable[..., Any], *args: Any, **options: Any) -> bool:
    try:
        return bool(call(*args, **options))
    except Exception as error:  # of any service's own kind, with its URL in it perhaps
        raise TransientError(f"apprise has failed: {type(error).__name__}.") from None


class _Silence:
    """How many threads are at it, and whom the first of them has silenced: the last one lets them speak again."""

    lock = threading.Lock()
    threads = 0
    loggers: tuple[logging.Logger, ...] = ()


@contextlib.contextmanager
def _in_silence() -> Iterator[None]:
    """Within this block nothing is logged by those who may write a URL."""
    with _Silence.lock:
        _Silence.threads += 1
        if _Silence.threads == 1:
            _Silence.loggers = tuple(one for one in map(logging.getLogger, TALKATIVE) if not one.disabled)
        _disable(_Silence.loggers, True)
    try:
        yield
    finally:
        with _Silence.lock:
            _Silence.threads -= 1
            _disable(_Silence.loggers, _Silence.threads > 0)


def _disable(loggers: tuple[logging.Logger, ...], disabled: bool) -> None:
    for logger in loggers:
        logger.disabled = disabled
