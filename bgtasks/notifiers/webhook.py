"""Signed webhooks, as the Standard Webhooks specification has them (standardwebhooks.com, version 1.0.0)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
import uuid
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from werkzeug.http import parse_date

from bgtasks import webhook_secrets
from bgtasks.errors import ImproperlyConfigured, NotificationRefused, TransientError
from bgtasks.notifiers import pinned
from bgtasks.notifiers.messages import Message

#: Answers beside 5xx after which a later try may work.
LATER = (408, 425, 429)
#: Those that may say how much later.
SAYS_WHEN = (429, 503)


class WebhookNotifier:
    """Posts what has happened to one URL, signed, once per event.

    :param url: ``https://…``. From the configuration, never from a request.
    :param secret: ``whsec_…``, or several of them while one takes another's place: each signs.
    :param name: told apart from other webhooks of the same file type by it, in the ledger: ``webhook:<name>``.
    :param with_link: whether the download link is in the body. Whoever holds it may have a file that is for anybody.
    :param events: the ``Occasion`` to tell of (default: all).
    :param allow_http: whether the URL may be ``http://…``: signed, and in the clear.
    :param allow_private: whether the URL's host may be in a private network, or be this machine.
    Raises: ImproperlyConfigured.
    """

    personal = False

    def __init__(
        self,
        url: str,
        secret: str | Sequence[str],
        *,
        name: str = "",
        with_link: bool = False,
        events: Collection[str] | None = None,
        allow_http: bool = False,
        allow_private: bool = False,
    ) -> None:
        self.channel = f"webhook:{name}" if name else "webhook"
        self.events = events
        self._with_link, self._allow_private = with_link, allow_private
        schemes = ("https", "http") if allow_http else ("https",)
        try:
            self._url = urlsplit(url)
            is_good = self._url.scheme in schemes and bool(self._url.hostname) and self._url.port != 0
        except ValueError:
            is_good = False
        if not is_good or "@" in self._url.netloc or not url.isascii() or not url.isprintable() or " " in url:
            raise ImproperlyConfigured(
                f"a webhook's URL must look like {schemes[0]}://host/path, with no user or password in it"
            )
        try:
            self._keys = [webhook_secrets.key_of(one) for one in ([secret] if isinstance(secret, str) else secret)]
        except ValueError as error:
            raise ImproperlyConfigured(f"a webhook's secret {error}") from None
        if not self._keys:
            raise ImproperlyConfigured(f"a webhook needs a secret: it {webhook_secrets.FORM}")

    def send(self, message: Message, recipient: str, message_id: str) -> None:
        """Post it. Raises: TransientError, NotificationRefused."""
        body = json.dumps(self._payload(message), separators=(",", ":")).encode()
        headers = signed(id_of(message_id), int(time.time()), body, self._keys)
        more = {"content-type": "application/json", "user-agent": "celery-bgtasks"}
        _check(pinned.post(self._url, body, {**more, **headers}, allow_private=self._allow_private))

    def greet(self) -> None:
        """Connect as for a notification, and send none. Raises: TransientError, NotificationRefused."""
        pinned.greet(self._url, allow_private=self._allow_private)

    def _payload(self, message: Message) -> dict[str, Any]:
        link = {"download_url": message.link} if self._with_link else {}
        at = (message.at or datetime.now(UTC)).astimezone(UTC).isoformat()
        return {"type": f"bgtasks.file.{message.event}", "timestamp": at, "data": {**message.facts, **link}}

    def __repr__(self) -> str:
        return f"<WebhookNotifier {self.channel}>"


def id_of(message_id: str) -> str:
    """The webhook's id for a Message-ID, which has full stops: what is signed is separated by them."""
    return f"msg_{uuid.uuid5(uuid.NAMESPACE_URL, message_id).hex}"


def signed(webhook_id: str, timestamp: int, body: bytes, keys: Sequence[bytes]) -> dict[str, str]:
    """The three headers of the specification.

    :param timestamp: of this try, in seconds since 1970: a receiver refuses what is old, as it may have been kept.
    """
    content = b".".join((webhook_id.encode(), str(timestamp).encode(), body))
    marks = (base64.b64encode(hmac.digest(key, content, hashlib.sha256)).decode() for key in keys)
    return {
        "webhook-id": webhook_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(f"v1,{mark}" for mark in marks),
    }


def _check(answer: pinned.Answer) -> None:
    """What the receiver has said. Raises: TransientError, NotificationRefused."""
    status = answer.status
    if 200 <= status < 300:
        return
    if status >= 500 or status in LATER:
        wait = _seconds(answer.retry_after) if status in SAYS_WHEN else None
        raise TransientError(f"The webhook's receiver asks to try again later ({status}).", retry_after=wait)
    raise NotificationRefused(f"The webhook's receiver refuses it ({status}).", str(status))


def _seconds(retry_after: str | None) -> float | None:
    """What a header Retry-After asks for: seconds or a date (RFC 9110, 10.2.3); None for anything else."""
    said = (retry_after or "").strip()
    if said.isascii() and said.isdigit():
        return float(said)
    try:
        date = parse_date(said)
    except OverflowError:  # of a number in it that is larger than any date's
        return None
    return None if date is None else max(0.0, (date - datetime.now(UTC)).total_seconds())
