"""Small files come with the mail, if the type says so and the recipient is their requester."""

from __future__ import annotations

import hashlib
from email.message import EmailMessage
from typing import Any

import pytest

from bgtasks import FileType, registry, toolbox
from bgtasks.deployment import Deployment
from bgtasks.models import FileRequest
from bgtasks.notifiers import Attachment, EmailNotifier, Message
from bgtasks.stack import Mailbox
from tests.support.file_types import Numbers
from tests.support.handmade import REQUESTER, finished

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

CONTENTS = bytes(range(256)) * 40


def tell(ready: FileRequest, **declared: Any) -> None:
    """Tell of a file, by a type like this."""
    file_type: type[FileType] = type("Declared", (Numbers,), declared)
    restored = file_type.restore(ready)
    restored.send_notification(ready, restored.create_token(ready))


def attached(mail: EmailMessage) -> list[tuple[str | None, str, Any]]:
    """The files that a mail brings: name, type, contents."""
    parts = mail.iter_attachments()
    return [(part.get_filename(), part.get_content_type(), part.get_payload(decode=True)) for part in parts]


def link_is_there(mail: EmailMessage) -> bool:
    """In the text and in the HTML."""
    parts = [mail.get_body((kind,)) for kind in ("plain", "html")]
    return all(part is not None and "https://files.example.com/files/" in part.get_content() for part in parts)


def test_a_small_file_comes_with_its_mail(parts: Deployment, mailbox: Mailbox) -> None:
    """Whole, under its name and its type, and the link is there as well."""
    ready = toolbox.attach_file(
        toolbox.add_request({}, "numbers", REQUESTER), CONTENTS, "Größen 数据.xlsx",
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    )  # fmt: skip
    tell(ready, email_attach_up_to=len(CONTENTS))
    [mail] = mailbox.mails
    [(name, kind, contents)] = attached(mail)
    assert (name, kind) == ("Größen 数据.xlsx", ready.content_type)
    assert hashlib.sha256(contents).hexdigest() == ready.sha256
    assert link_is_there(mail)


@pytest.mark.parametrize(
    ("content_type", "kind"),
    [("text/csv; charset=utf-8", "text/csv"), ("", "application/octet-stream"), ("csv", "application/octet-stream"),
     ("message/rfc822", "application/octet-stream"), ("multipart/mixed", "application/octet-stream")],
)  # fmt: skip
def test_any_type_can_be_attached(parts: Deployment, mailbox: Mailbox, content_type: str, kind: str) -> None:
    """Text stays as it was written; what a mail would take for a part of itself is bytes."""
    message = Message(
        "s", "t", "<p>t</p>", "us@example.com", attachment=Attachment("a", content_type, lambda: b"1\r\n")
    )
    EmailNotifier(mailbox.url).send(message, REQUESTER, "<1@x>")
    [(name, found, contents)] = attached(mailbox.mails[0])
    assert (name, found, contents) == ("a", kind, b"1\r\n")


@pytest.mark.parametrize("declared", [{}, {"email_attach_up_to": len(CONTENTS) - 1}])
def test_a_file_over_the_limit_does_not_come(parts: Deployment, mailbox: Mailbox, declared: dict[str, Any]) -> None:
    """By default none does; then there is the link alone."""
    tell(finished(CONTENTS), **declared)
    assert attached(mailbox.mails[0]) == []
    assert link_is_there(mailbox.mails[0])


def test_the_limit_is_what_is_read(parts: Deployment, mailbox: Mailbox) -> None:
    """Whoever makes the object larger behind our backs does not fill the memory."""
    ready = finished(CONTENTS)
    with parts.store.open_writer(str(ready.object_key)) as writer:
        writer.write(CONTENTS * 2)
        writer.commit()
    tell(ready, email_attach_up_to=len(CONTENTS))
    [(_, _, contents)] = attached(mailbox.mails[0])
    assert contents == CONTENTS


def test_only_its_requester_is_sent_the_file(parts: Deployment, mailbox: Mailbox) -> None:
    """Others have the link, which asks them who they are; unless the type says otherwise."""
    people = [REQUESTER, "Ada <ada@example.com>", "boss@example.com"]
    ready = finished(CONTENTS)
    tell(ready, email_attach_up_to=10**6, email_recipients=people)
    assert [len(attached(mail)) for mail in mailbox.mails] == [1, 1, 0]
    assert all(map(link_is_there, mailbox.mails))
    mailbox.mails.clear()
    tell(finished(CONTENTS), email_attach_up_to=10**6, email_recipients=people, may_attach=lambda *_: True)
    assert [len(attached(mail)) for mail in mailbox.mails] == [1, 1, 1]


def test_who_may_not_download_is_not_sent_it_either(parts: Deployment, mailbox: Mailbox) -> None:
    """``may_download`` is asked for the attachment as for the link."""
    tell(finished(CONTENTS), email_attach_up_to=10**6, may_download=lambda *_: False)
    assert attached(mailbox.mails[0]) == []


def test_a_server_that_finds_it_too_big_is_sent_the_link(parts: Deployment, mailbox: Mailbox) -> None:
    """A server's limit is another than ours: the mail arrives without the file."""
    mailbox._controller.SMTP_kwargs["data_size_limit"] = 8000
    ready = finished(CONTENTS)
    tell(ready, email_attach_up_to=10**6)
    [mail] = mailbox.mails
    assert attached(mail) == []
    assert link_is_there(mail)


def test_a_whole_chain_attaches(parts: Deployment, mailbox: Mailbox) -> None:
    """The file that the steps have made."""
    registry._classes.clear()
    registry.register(type("Declared", (Numbers,), {"get_email_attach_up_to": lambda self: 10_000}))
    row = toolbox.add_request({"count": 3}, "numbers", REQUESTER)
    assert registry.dispatch(row.id)
    [(name, kind, contents)] = attached(mailbox.mails[0])
    assert (name, kind) == ("numbers.csv", "text/csv")
    assert contents == b"number,name\r\n0,name 0\r\n1,name 1\r\n2,name 2\r\n"
