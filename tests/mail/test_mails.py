"""What requesters are told, as it arrives over SMTP."""

from __future__ import annotations

import re
from email.message import EmailMessage

import pytest
from celery import Celery

from bgtasks import registry, toolbox
from bgtasks.deployment import Deployment
from bgtasks.errors import ImproperlyConfigured
from bgtasks.file_types import FileType
from bgtasks.models import FileRequest
from bgtasks.notifiers import Message
from bgtasks.stack import Mailbox
from bgtasks.states import EventKind, State
from tests.conftest import BASE_URL
from tests.support.file_types import Numbers
from tests.support.handmade import REQUESTER, alter, finished, fresh

ON_SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
HOSTILE = "a\r\nBcc: eve@example.com\r\n\r\n<script>alert(1)</script> & \x1b[31m\u2028b\x85c"


def text_of(mail: EmailMessage) -> str:
    """The plain text."""
    part = mail.get_body(("plain",))
    assert part is not None
    return str(part.get_content())


def html_of(mail: EmailMessage) -> str:
    """The HTML."""
    part = mail.get_body(("html",))
    assert part is not None
    return str(part.get_content())


def tell(ready: FileRequest, file_type: type[FileType] = Numbers) -> int:
    """Tell a requester that the file is ready, as the last step does."""
    restored = file_type.restore(ready)
    return restored.send_notification(ready, restored.create_token(ready))


def test_the_whole_way_ends_with_a_mail(parts: Deployment, mailbox: Mailbox) -> None:
    """After the last step there is one mail: to the requester, from us, with a link that works."""
    asked = toolbox.add_request({"count": 3}, "numbers", REQUESTER, tz="Europe/Zurich")
    assert registry.dispatch(asked.id)
    [mail] = mailbox.mails
    row = fresh(parts, asked)
    assert (mail["To"], mail["From"], mail["Auto-Submitted"]) == (REQUESTER, "exports@example.com", "auto-generated")
    assert mail["Subject"] == "Your file is ready: numbers.csv"
    [link] = re.findall(r"https://\S+", text_of(mail))
    assert link.startswith(f"{BASE_URL}/files/")
    assert toolbox.decode(link.rpartition("/")[2])[0].id == asked.id
    assert f'href="{link}"' in html_of(mail)
    for body in (text_of(mail), html_of(mail)):
        assert "numbers.csv" in body
        assert "3 rows" in body
        assert re.search(rf"for {REQUESTER} only, until \d+ \w{{3}} 20\d\d, \d\d:\d\d CES?T\.", body)
    assert row.notified_at is not None
    assert [entry.kind for entry in parts.requests.history(asked.id)].count(EventKind.NOTIFIED) == 1


def test_a_failure_is_told_too(parts: Deployment, mailbox: Mailbox) -> None:
    """Whoever waits for a file is told that there will be none, and why; the system's own faults are not detailed."""
    asked = toolbox.add_request({"count": 3}, "numbers", REQUESTER, description="My numbers")
    alter(parts, asked, state=State.FAILED, error_code="too_many_rows", error_message="There are too many <rows>.")
    assert registry.dispatch(asked.id)
    [mail] = mailbox.mails
    assert mail["Subject"] == "Your file could not be made: My numbers"
    assert "There are too many <rows>." in text_of(mail)
    assert mail.get_body(("html",)) is None


class Worded(Numbers):
    """With texts of its own."""

    file_type = "worded"
    email_subject = "%(filename)s for %(requester)s (100%%)"
    email_text_message = "%(description)s: %(size)s, %(rows_written)s, %(criteria)s, %(token)s"
    email_html_message = '<p title="%(description)s">%(filename)s</p><a href="%(download_url)s">%(id)s</a>'


@ON_SQLITE
def test_texts_of_ones_own_are_filled_in(parts: Deployment, mailbox: Mailbox) -> None:
    """Subject, text and HTML are ``%(name)s`` texts over the row, the token and the link."""
    registry.register(Worded)
    ready = finished(b"x" * 12_345, file_type="worded", description='5 < 6 & "7"', criteria={"count": 3})
    tell(ready, Worded)
    [mail] = mailbox.mails
    token = text_of(mail).split()[-1]
    assert toolbox.decode(token)[0].id == ready.id
    assert mail["Subject"] == f"numbers.csv for {REQUESTER} (100%)"
    assert text_of(mail).rstrip() == f"5 < 6 & \"7\": 12.3 kB, 0, {{'count': 3}}, {token}"
    assert html_of(mail).strip() == (
        f'<p title="5 &lt; 6 &amp; &quot;7&quot;">numbers.csv</p><a href="{BASE_URL}/files/{token}">{ready.id}</a>'
    )


@ON_SQLITE
def test_hostile_values_stay_values(parts: Deployment, mailbox: Mailbox) -> None:
    """Whatever a requester typed is escaped in HTML and one line in headers: no header can be added."""

    class Described(Worded):
        email_subject = "About %(description)s"
        email_html_message = None

    tell(finished(description=HOSTILE, filename=HOSTILE), Described)
    [mail] = mailbox.mails
    assert mail["Subject"] == "About a Bcc: eve@example.com <script>alert(1)</script> & [31m b c"
    assert mail["Bcc"] is None
    assert all(len(mail.get_all(name, [])) == 1 for name in ("To", "Subject", "Message-ID"))
    assert mailbox.envelopes[0].rcpt_tos == [REQUESTER]
    assert "<script>" not in html_of(mail)
    assert "&lt;script&gt;" in html_of(mail)


@pytest.mark.parametrize("hostile", ["exports@example.com\r\nBcc: eve@example.com", "exports\x00@example.com\n"])
@ON_SQLITE
def test_a_sender_is_one_line(parts: Deployment, mailbox: Mailbox, hostile: str) -> None:
    """Not even the sender can bring a header along."""

    class Sent(Numbers):
        from_email = hostile

    tell(finished(), Sent)
    assert mailbox.mails[0]["Bcc"] is None
    assert mailbox.envelopes[0].rcpt_tos == [REQUESTER]


@ON_SQLITE
def test_words_outside_ascii(parts: Deployment, mailbox: Mailbox) -> None:
    """Subject, text, names of senders and recipients may be in any script."""

    class Foreign(Numbers):
        email_subject = "Prêt: %(description)s 📊"
        email_recipients = ["Zoë Ångström <zoe@example.com>"]
        from_email = "Bücher <books@example.com>"

    tell(finished(description="数据"), Foreign)
    [mail] = mailbox.mails
    assert mail["Subject"] == "Prêt: 数据 📊"
    assert mail["To"].addresses[0].display_name == "Zoë Ångström"
    assert mail["From"].addresses[0].display_name == "Bücher"
    assert mailbox.envelopes[0].rcpt_tos == ["zoe@example.com"]
    assert "数据" in html_of(mail)
    assert mailbox.envelopes[0].content.isascii()


@ON_SQLITE
def test_what_is_not_so_is_not_said(parts: Deployment, mailbox: Mailbox) -> None:
    """A link for anybody is not called the requester's own, one without an end has none, and one row is one."""

    class Open(Numbers):
        file_type = "open"
        requester_only = False
        max_age = None

    registry.register(Open)
    ready = alter(parts, finished(file_type="open"), expires_at=None, rows_written=1, rows_total=1)
    tell(ready, Open)
    [mail] = mailbox.mails
    for body in (text_of(mail), html_of(mail)):
        assert "The link works." in body
        assert "1 row," in body


@pytest.mark.parametrize(("total", "said"), [(None, False), (0, True)])
@ON_SQLITE
def test_rows_are_told_where_there_are_any(parts: Deployment, mailbox: Mailbox, total: int | None, said: bool) -> None:
    """A file that is no table has no "0 rows"; an empty table has."""
    tell(alter(parts, finished(), rows_total=total))
    assert ("0 rows" in text_of(mailbox.mails[0])) == ("0 rows" in html_of(mailbox.mails[0])) == said


# -- who is told -------------------------------------------------------------------------------------


@ON_SQLITE
def test_each_recipient_has_a_mail_of_their_own(parts: Deployment, mailbox: Mailbox) -> None:
    """Nobody sees another's address; whoever is named twice is told once."""

    class Several(Numbers):
        email_recipients = ["b@example.com", REQUESTER, "b@example.com"]

    assert tell(finished(), Several) == 2
    assert [mail["To"] for mail in mailbox.mails] == ["b@example.com", REQUESTER]
    assert [envelope.rcpt_tos for envelope in mailbox.envelopes] == [["b@example.com"], [REQUESTER]]
    assert len({mail["Message-ID"] for mail in mailbox.mails}) == 2


@pytest.mark.parametrize("requester", ["Ada Lovelace", "", None, "a@b@c", "a@example.com\nBcc: b@example.com"])
def test_without_a_recipient_nothing_is_sent(parts: Deployment, mailbox: Mailbox, requester: str | None) -> None:
    """A requester that is no address is not mailed, and the history says so."""

    class Open(Numbers):
        file_type = "open"
        requester_only = False

    registry.register(Open)
    asked = toolbox.add_request({"count": 1}, "open", requester)
    assert asked.requester_email is None
    assert registry.dispatch(asked.id)
    assert mailbox.mails == []
    row = fresh(parts, asked)
    assert (row.state, row.notified_at) == (State.READY, None)
    assert EventKind.NOT_NOTIFIED in [entry.kind for entry in parts.requests.history(asked.id)]


def test_a_requester_only_file_of_nobody_is_made_and_told_to_nobody(parts: Deployment, mailbox: Mailbox) -> None:
    """There is no token that anybody could use; the file is ready, and the history says why nothing was sent."""
    asked = toolbox.add_request({"count": 1}, "numbers", requester_email="ada@example.com")
    assert registry.dispatch(asked.id)
    assert mailbox.mails == []
    assert fresh(parts, asked).state == State.READY
    assert EventKind.NOT_NOTIFIED in [entry.kind for entry in parts.requests.history(asked.id)]


@ON_SQLITE
def test_an_address_beside_the_requester(parts: Deployment, mailbox: Mailbox) -> None:
    """``requester_email`` is where somebody is told whose name is no address."""
    tell(finished(requester="ada", requester_email="lovelace@example.com"))
    assert mailbox.mails[0]["To"] == "lovelace@example.com"


# -- once and no more --------------------------------------------------------------------------------


def test_nobody_is_told_twice(parts: Deployment, mailbox: Mailbox) -> None:
    """A step that is repeated finds in the ledger who has been told, and counts them as told."""
    ready = finished()
    assert tell(ready) == tell(ready) == 1
    assert len(mailbox.mails) == 1


class LosesItsAnswer:
    """A channel whose second half goes wrong: it has sent, and nobody knows."""

    channel = "email"

    def __init__(self, mailbox: Mailbox) -> None:
        from bgtasks.notifiers import EmailNotifier

        self.road = EmailNotifier(mailbox.url)
        self.dies = True

    def send(self, message: Message, recipient: str, message_id: str) -> None:
        self.road.send(message, recipient, message_id)
        if self.dies:
            raise SystemExit("the power is cut")


def test_a_second_copy_is_recognised_as_one(parts: Deployment, mailbox: Mailbox) -> None:
    """Whoever died between the server's answer and the ledger may send again: under the same Message-ID."""
    channel = LosesItsAnswer(mailbox)

    class Unlucky(Numbers):
        notifiers = (channel,)

    ready = finished()
    with pytest.raises(SystemExit):
        tell(ready, Unlucky)
    channel.dies = False
    assert tell(ready, Unlucky) == 1
    first, second = mailbox.mails
    assert first["Message-ID"] == second["Message-ID"]
    assert re.fullmatch(r"<[^@\s]+@bgtasks\.invalid>", first["Message-ID"])
    assert tell(ready, Unlucky) == 1
    assert len(mailbox.mails) == 2


@ON_SQLITE
def test_each_request_and_event_is_told_by_itself(parts: Deployment, mailbox: Mailbox) -> None:
    """The ledger knows the request, the event, the channel and the recipient; another of any is another mail."""
    one, two = finished(), finished()
    for row in (one, two):
        tell(row)
        Numbers.restore(row).send_failure(row)
    assert len(mailbox.mails) == len({mail["Message-ID"] for mail in mailbox.mails}) == 4


# -- links -------------------------------------------------------------------------------------------


@ON_SQLITE
def test_a_link_of_ones_own(parts: Deployment, mailbox: Mailbox) -> None:
    """``download_url`` is a text too; what it names is quoted, so that a name can't change the address."""

    class Linked(Numbers):
        download_url = "%(base_url)s/get?name=%(filename)s&t=%(token)s"

    tell(finished(filename="a&b =é.csv"), Linked)
    [link] = re.findall(r"https://\S+", text_of(mailbox.mails[0]))
    assert link.startswith(f"{BASE_URL}/get?name=a%26b%20%3D%C3%A9.csv&t=")
    assert toolbox.decode(link.rpartition("=")[2])


@ON_SQLITE
def test_no_link_without_a_base_url(app: Celery, mailbox: Mailbox) -> None:
    """Before anything is mailed, the deployment must say where it is."""
    app.conf.bgtasks_base_url = None
    with pytest.raises(ImproperlyConfigured, match="bgtasks_base_url"):
        tell(finished())
    assert mailbox.mails == []


@pytest.mark.parametrize("zone", ["America", "x" * 300, "../etc/passwd", "Nowhere/Land", ""])
@ON_SQLITE
def test_a_zone_that_is_none_is_utc(parts: Deployment, mailbox: Mailbox, zone: str) -> None:
    """A time zone that nobody knows does not cost anybody their mail."""
    tell(finished(tz=zone))
    assert re.search(r"until \d+ \w{3} 20\d\d, \d\d:\d\d UTC\.", text_of(mailbox.mails[0]))


@ON_SQLITE
def test_only_known_channels(parts: Deployment) -> None:
    """A name that is no notifier is an error of the deployment."""

    class Pigeons(Numbers):
        notifiers = ("pigeon",)

    with pytest.raises(ImproperlyConfigured, match="pigeon"):
        tell(finished(), Pigeons)
