"""The mails that the stack's mail server has received, to be read in the browser.

Whoever can open the site reads them all: it is for one developer, on one machine.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path

from werkzeug.exceptions import NotFound
from werkzeug.wrappers import Request, Response

from bgtasks import pages, settings

#: So many are listed.
MOST = 200
#: A mail's own HTML: no script, nothing loaded, and no window but the one that a person's click opens.
SANDBOX = (
    "sandbox allow-top-navigation-by-user-activation; default-src 'none'; style-src 'unsafe-inline'; "
    "frame-ancestors 'self'; base-uri 'none'"
)
#: A link in the frame leads the whole page to where it points.
IN_THE_WHOLE_PAGE = '<base target="_top">'
HEAD = re.compile(r"<head[^>]*>", re.IGNORECASE)


@dataclass(frozen=True)
class Letter:
    """A mail as it was received."""

    number: int  #: the nanosecond of its arrival, which names its file
    mail: EmailMessage

    @property
    def received_at(self) -> datetime:
        """When it came."""
        return datetime.fromtimestamp(self.number / 1e9, UTC)

    @property
    def headers(self) -> list[tuple[str, str]]:
        """All of them, in their order."""
        return [(name, str(value)) for name, value in self.mail.items()]

    @property
    def subject(self) -> str:
        """What it is about."""
        return str(self.mail["Subject"] or "")

    @property
    def recipients(self) -> str:
        """To whom it went."""
        return str(self.mail["To"] or "")

    def part(self, kind: str) -> str:
        """Its text of a kind, ``plain`` or ``html``; nothing, where it has none."""
        body = self.mail.get_body((kind,))
        return str(body.get_content()) if body is not None else ""


def folder() -> Path:
    """Where the stack's mail server keeps what it receives."""
    return settings.current().root / "var" / "mail"


def letters() -> Iterator[Letter]:
    """The newest ones, newest first."""
    numbers = sorted((int(file.stem) for file in folder().glob("*.eml") if file.stem.isdecimal()), reverse=True)
    return map(_read, numbers[:MOST])


def listed(_http_request: Request) -> Response:
    """The mails, newest first."""
    return pages.page("site_mails.html", {"letters": list(letters())})


def read(_http_request: Request, number: int) -> Response:
    """One mail. Raises: NotFound."""
    answer = pages.page("site_mail.html", {"letter": _read(number)})
    answer.headers["Content-Security-Policy"] += "; frame-src 'self'"
    return answer


def html(_http_request: Request, number: int) -> Response:
    """The HTML of a mail, for the frame in its page. Raises: NotFound."""
    text = _read(number).part("html")
    head = HEAD.search(text)
    at = head.end() if head else 0
    headers = pages.HEADERS | {"Content-Security-Policy": SANDBOX}
    return Response(
        f"{text[:at]}{IN_THE_WHOLE_PAGE}{text[at:]}", headers=headers, content_type="text/html; charset=utf-8"
    )


def _read(number: int) -> Letter:
    try:
        content = (folder() / f"{number}.eml").read_bytes()
    except OSError:
        raise NotFound from None
    return Letter(number, message_from_bytes(content, policy=policy.default))
