"""A file is made in the requester's language and zone, from its criteria to its mail."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

import pytest
from pydantic import BaseModel, field_validator
from werkzeug.test import EnvironBuilder
from werkzeug.wrappers import Request

from bgtasks import FileType, locales, registry, toolbox
from bgtasks.canvas import STEPS
from bgtasks.claims import Claim
from bgtasks.deployment import Deployment
from bgtasks.entry import request_file
from bgtasks.errors import BgtasksError, RequestFailed
from bgtasks.models import FileRequest
from bgtasks.stack import Mailbox
from bgtasks.states import State
from tests.locale.conftest import Translate
from tests.mail.test_mails import html_of, text_of
from tests.support.handmade import REQUESTER, alter, fresh, in_seconds

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
ID, OTHER, THIRD = (UUID(int=number, version=4) for number in (1, 2, 3))
#: Another framework's language.
activated: ContextVar[str | None] = ContextVar("activated", default=None)


class Greetings(FileType):
    """Says what is in force wherever a file type's own code runs."""

    file_type = "greetings"
    columns = ("said", "at")
    seen: dict[str, tuple[str, str | None]] = {}

    class Criteria(BaseModel):
        day: date | None = None

        @field_validator("day")
        @classmethod
        def see(cls, day: date | None) -> date | None:
            Greetings.see("criteria")
            if day and day.year < 2000:
                raise ValueError("That is too long ago.")
            return day

    @classmethod
    def see(cls, where: str) -> None:
        locale = locales.current()
        cls.seen[where] = locale.language, locale.zone_name

    def get_items(self, criteria: Any) -> Iterator[tuple[str, datetime]]:
        self.see("items")
        yield locales.gettext("Download"), NOON
        self.see("later items")

    def write_bytes(self, dataset: Any, buffer: Any) -> None:
        self.see("bytes")
        super().write_bytes(dataset, buffer)

    def get_email_subject(self) -> str:
        self.see("mail")
        return super().get_email_subject()


@pytest.fixture(autouse=True)
def _greetings() -> None:
    Greetings.seen = {}
    registry.register(Greetings)


def contents(parts: Deployment, row: FileRequest) -> str:
    """The finished file."""
    assert row.object_key is not None
    return b"".join(parts.store.read(row.object_key)).decode()


def made(parts: Deployment, **asked: Any) -> FileRequest:
    """A request of a file of this type, at its end."""
    row = toolbox.add_request(**{"criteria": {"day": "2026-01-01"}, "file_type": "greetings", **asked})
    registry.dispatch(row.id)
    return fresh(parts, row)


def failed(parts: Deployment, **asked: Any) -> str:
    """Why there is no file."""
    with pytest.raises(RequestFailed) as failure:
        made(parts, **asked)
    row = fresh(parts, FileRequest(id=failure.value.request_id))
    assert row.state == State.FAILED
    assert str(failure.value) == row.error_message
    return str(row.error_message)


def test_it_is_in_force_in_every_step(parts: Deployment) -> None:
    """Whatever code of the file type's own is called there; and nowhere else afterwards."""
    row = made(parts, requester=REQUESTER, language="de", tz="Europe/Zurich")
    assert row.state == State.READY
    assert set(Greetings.seen) == {"criteria", "items", "later items", "bytes", "mail"}
    assert set(Greetings.seen.values()) == {("de", "Europe/Zurich")}
    assert contents(parts, row) == "said,at (Europe/Zurich)\r\nHerunterladen,2026-07-01 14:00:00+02:00\r\n"
    assert locales.current().language == "en"


@pytest.mark.parametrize("language", [None, "xx-ZZ", "../../etc", "d" * 3000])
def test_what_is_no_language_is_english(parts: Deployment, mailbox: Mailbox, language: str | None) -> None:
    """And what is no zone is UTC, which is not named in a CSV file: nobody has chosen it."""
    row = made(parts, requester=REQUESTER, language=language, tz="Nowhere")
    assert contents(parts, row) == "said,at\r\nDownload,2026-07-01 12:00:00+00:00\r\n"
    assert mailbox.mails[0]["Subject"] == "Your file is ready: greetings.csv"


def test_the_mail_is_the_requesters(parts: Deployment, mailbox: Mailbox) -> None:
    """Subject, text and HTML, numbers and times, and the language that the HTML is said to be in."""
    row = made(parts, requester=REQUESTER, language="de-CH", tz="Europe/Zurich")
    [mail] = mailbox.mails
    assert mail["Subject"] == "Ihre Datei ist fertig: greetings.csv"
    with locales.in_force("de-CH", "Europe/Zurich"):
        until = locales.when(fresh(parts, row).expires_at)
    for body in (text_of(mail), html_of(mail)):
        assert f"Der Link gilt nur für {REQUESTER}, bis {until}." in body
        assert re.search(r"\b1 Zeile, \d\d Byte", body.replace("\xa0", " "))
    assert '<html lang="de-CH" dir="ltr">' in html_of(mail)


def test_the_fault_of_a_field_is_told_in_the_requesters_language(parts: Deployment, mailbox: Mailbox) -> None:
    """On the row, to whoever waits, and in the mail."""
    message = failed(parts, criteria={"day": "never"}, requester=REQUESTER, language="fr")
    assert message == "Les critères ne sont pas valides. day: Ce n\u2019est pas une date."
    assert mailbox.mails[0]["Subject"].startswith("Votre fichier n\u2019a pas pu être créé : ")
    assert message in text_of(mailbox.mails[0])


def test_a_validators_own_words_can_be_translated(translate: Translate, parts: Deployment) -> None:
    """Without pydantic's words before them."""
    translate("de", {"That is too long ago.": "Das ist zu lange her."})
    message = failed(parts, criteria={"day": "1999-01-01"}, language="de")
    assert message == "Die Auswahl ist nicht gültig. day: Das ist zu lange her."


class Careless(Greetings):
    """Raises what it likes."""

    file_type = "careless"

    def get_items(self, criteria: Any) -> Any:
        raise ValueError("the password is 1234")


def test_what_the_requester_may_not_know_is_told_in_their_language_too(parts: Deployment) -> None:
    """That something went wrong."""
    registry.register(Careless)
    said = failed(parts, file_type="careless", language="es")
    assert said == "Algo ha salido mal al crear el archivo."


def test_whoever_waits_is_told_of_a_cancel_in_the_requesters_language(parts: Deployment) -> None:
    """As of any other end without a file."""
    asked = toolbox.add_request({}, "greetings", REQUESTER, language="fr")
    assert toolbox.cancel(asked)
    with pytest.raises(RequestFailed, match="La demande a été annulée\\."):
        parts.app.AsyncResult(asked.id).get(timeout=1)


def test_a_refused_request_says_why_in_the_requesters_language(parts: Deployment) -> None:
    """It never gets as far as a step."""
    request_file.apply(args=("greetings", {"day": "x" * 200_000}), kwargs={"language": "de"}, task_id=str(ID))
    row = parts.requests.get(str(ID))
    assert row is not None
    assert str(row.error_message).startswith("Die Auswahl ist nicht gültig. criteria: zu groß: 200.")
    request_file.apply(args=("greetings", {"a": "\0"}), kwargs={"language": "fr"}, task_id=str(THIRD))
    row = parts.requests.get(str(THIRD))
    assert row is not None
    assert "criteria: contient un caractère" in str(row.error_message)
    request_file.apply(args=("unheard_of",), kwargs={"language": "de"}, task_id=str(OTHER))
    row = parts.requests.get(str(OTHER))
    assert row is not None
    assert row.error_message == "Es gibt keinen Dateityp namens 'unheard_of'."


def test_a_sweep_speaks_the_language_of_each_row(parts: Deployment) -> None:
    """It ends requests of many people, outside of any step."""
    asked = toolbox.add_request({}, "greetings", REQUESTER, language="de", tz="Europe/Zurich")
    lost = parts.requests.claim(Claim.of(asked), STEPS[0], "", "somebody").file_request
    seen = alter(parts, lost, attempts=2, leased_until=in_seconds(-1))
    taken = parts.requests.recover(seen)
    assert taken is not None
    assert (
        taken.error_message == "Die Datei konnte nicht erstellt werden: Ihre Bearbeitung ist immer wieder abgebrochen."
    )


class Hosted(Greetings):
    """Lives in another framework, which has translations of its own."""

    file_type = "hosted"

    @contextmanager
    def in_locale(self, file_request: FileRequest) -> Iterator[None]:
        with super().in_locale(file_request):
            before = activated.set(file_request.language)
            try:
                yield
            finally:
                activated.reset(before)

    def get_items(self, criteria: Any) -> Any:
        return [(str(activated.get()), NOON)]

    def get_email_subject(self) -> str:
        return f"{activated.get()} %(filename)s"


def test_a_hosts_own_translations_are_activated_by_a_hook(parts: Deployment, mailbox: Mailbox) -> None:
    """In the steps and in the mail, and not after them."""
    registry.register(Hosted)
    row = made(parts, file_type="hosted", requester=REQUESTER, language="it", tz="Europe/Rome")
    assert contents(parts, row) == "said,at (Europe/Rome)\r\nit,2026-07-01 14:00:00+02:00\r\n"
    assert mailbox.mails[0]["Subject"] == "it hosted.csv"
    assert activated.get() is None


class Full(BgtasksError):
    """This file has expired"""


def test_an_applications_own_error_is_told_in_the_requesters_language(parts: Deployment) -> None:
    """Its sentence is its docstring; a catalogue may have it."""

    class Refusing(Greetings):
        file_type = "refusing"

        def get_items(self, criteria: Any) -> Any:
            raise Full

    registry.register(Refusing)
    assert failed(parts, file_type="refusing", language="de") == "Diese Datei ist abgelaufen"


class AtOnce(Greetings):
    """Small enough to be made within the web request."""

    file_type = "at_once"

    def evaluate_dataset(self, dataset: Any, http_request: Any) -> None:
        self.see("evaluation")
        dataset.delay = False


@pytest.mark.parametrize(
    ("given", "headers", "expected"),
    [
        ({"language": "de", "tz": "Europe/Zurich"}, {"Accept-Language": "fr"}, ("de", "Europe/Zurich")),
        ({}, {"Accept-Language": "xx, fr-CH;q=0.5", "Cookie": "tz=Asia/Tokyo"}, ("fr-CH", "Asia/Tokyo")),
        ({}, {}, ("en", None)),
    ],
)
def test_a_file_that_is_made_at_once_is_in_the_visitors(
    parts: Deployment, given: dict[str, str], headers: dict[str, str], expected: tuple[str, str | None]
) -> None:
    """The same code writes it, in a thread of its own, while it is sent."""
    registry.register(AtOnce)
    http_request = Request(EnvironBuilder(query_string={"day": "2026-01-01"}, headers=headers).get_environ())
    delayed, response = AtOnce().respond_to(http_request, **given)
    content = b"".join(response.response).decode()
    response.close()
    assert not delayed
    assert set(Greetings.seen) == {"criteria", "evaluation", "items", "later items", "bytes"}
    assert set(Greetings.seen.values()) == {expected}
    heading = content.splitlines()[0]
    assert heading == ("said,at" if expected[1] is None else f"said,at ({expected[1]})")
