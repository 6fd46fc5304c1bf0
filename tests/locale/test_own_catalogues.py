"""A deployment's own catalogues come first: they add languages, change our sentences and translate its own texts."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from babel.messages.mofile import write_mo
from celery import Celery
from werkzeug.test import EnvironBuilder
from werkzeug.wrappers import Request

from bgtasks import locales, templates
from bgtasks.catalogues import fits
from bgtasks.deployment import Deployment
from bgtasks.file_types import FileType
from bgtasks.locales import gettext, in_force
from bgtasks.models import FileRequest
from bgtasks.stack import Mailbox
from tests.locale import messages
from tests.locale.conftest import HEADER, Translate
from tests.mail.test_mails import html_of, text_of
from tests.support.file_types import Numbers
from tests.support.handmade import finished

DOWNLOAD = "Download it here:"
READY = "Your file is ready: %(filename)s"


def told(language: str) -> str:
    """A text of ours."""
    with in_force(language, None):
        return gettext(DOWNLOAD)


def tell(ready: FileRequest, file_type: type[FileType] = Numbers) -> None:
    """Tell a requester that the file is ready."""
    restored = file_type.restore(ready)
    restored.send_notification(ready, restored.create_token(ready))


def test_a_sentence_of_ours_is_changed(translate: Translate, app: Celery) -> None:
    """Only that one: the others are ours still. In English too, which has no catalogue of ours."""
    translate("de", {DOWNLOAD: "Bitte sehr:"})
    translate("en", {DOWNLOAD: "Here you are:"})
    assert told("de") == told("de-CH") == "Bitte sehr:"
    assert told("en") == told("xx") == "Here you are:"
    assert told("fr") == "Téléchargez-le ici :"
    with in_force("de", None):
        assert gettext("This link has expired.") == "Dieser Link ist abgelaufen."


def test_a_region_may_differ(translate: Translate, app: Celery) -> None:
    """What it does not say, its language says."""
    translate("de_CH", {"Size": "Grösse"})
    with in_force("de-CH", None):
        assert (gettext("Size"), gettext("State")) == ("Grösse", "Stand")
    with in_force("de-AT", None):
        assert gettext("Size") == "Größe"


def test_a_language_is_added(translate: Translate, app: Celery, mailbox: Mailbox) -> None:
    """It is found in what browsers ask for; what it does not translate is said in English."""
    translate("pt_BR", {READY: "Seu arquivo está pronto: %(filename)s"})
    environ = EnvironBuilder(headers={"Accept-Language": "pt-BR, en;q=0.5"}).get_environ()
    assert locales.negotiate(Request(environ)) == "pt-BR"
    tell(finished(b"x" * 12_345, language="pt-BR"))
    assert mailbox.mails[0]["Subject"] == "Seu arquivo está pronto: numbers.csv"
    assert "Download it here:" in text_of(mailbox.mails[0])
    assert "12,3 kB" in text_of(mailbox.mails[0])


POLISH = "nplurals=3; plural=(n==1 ? 0 : n%10>=2 && n%10<=4 && (n%100<10 || n%100>=20) ? 1 : 2);"


@pytest.mark.parametrize(
    "header",
    ["", '"Language: pl\\n"\n', f'"Plural-Forms: {POLISH}\\n"\n', f'"Language: tlh\\n"\n"Plural-Forms: {POLISH}\\n"\n'],
)
def test_a_language_has_its_own_plurals(translate: Translate, app: Celery, header: str) -> None:
    """By the rule that its catalogue gives, or else by the one that is known for the language of its folder."""
    texts = 'msgid "%(number)s row"\nmsgid_plural "%(number)s rows"\n'
    forms = "".join(f'msgstr[{number}] "{form}"\n' for number, form in enumerate(("wiersz", "wiersze", "wierszy")))
    head = 'msgid ""\nmsgstr ""\n"Content-Type: text/plain; charset=utf-8\\n"\n'
    translate("pl", {}).write_text(f"{head}{header}\n{texts}{forms}")
    with in_force("pl", None):
        said = [locales.ngettext("%(number)s row", "%(number)s rows", number) for number in (1, 3, 5, 22)]
    assert said == ["wiersz", "wiersze", "wierszy", "wiersze"]


def test_a_script_is_found_by_its_region(translate: Translate, app: Celery) -> None:
    """Taiwan's Chinese is written in the traditional way, and what has no catalogue in its own stays English."""
    translate("zh_Hant", {DOWNLOAD: "在此下載"})
    assert told("zh-TW") == told("zh-HK") == "在此下載"
    assert told("zh-CN") == DOWNLOAD
    environ = EnvironBuilder(headers={"Accept-Language": "zh-CN, zh-TW;q=0.9, de;q=0.8"}).get_environ()
    assert locales.negotiate(Request(environ)) == "zh-Hant-TW"


def test_a_compiled_catalogue_is_read_too(translate: Translate, app: Celery) -> None:
    """As gettext's own tools make them; the text beside it wins, since it can't be stale."""
    path = translate("nl", {DOWNLOAD: "Hier:"})
    with path.with_suffix(".mo").open("wb") as compiled:
        write_mo(compiled, messages.read(path))
    path.write_text(path.read_text().replace("Hier:", "Daar:"))
    assert told("nl") == "Daar:"
    other = path.parent.parent.parent / "sv" / "LC_MESSAGES"
    other.mkdir(parents=True)
    path.with_suffix(".mo").rename(other / "bgtasks.mo")
    locales.catalogues._languages.cache_clear()
    locales.catalogues.available.cache_clear()
    assert told("sv") == "Hier:"


class Described(Numbers):
    """Has texts of its own, in English."""

    file_type = "described"
    file_description = "All the numbers"
    email_subject = "Numbers for %(requester)s"
    email_text_message = "%(size)s until %(expires_at)s"
    download_url = "https://elsewhere.example.com/%(size)s/%(token)s"
    email_html_message = "<p title='%(description)s'>%(size)s</p><a href='%(download_url)s'>"


def test_an_applications_own_texts_are_translated(translate: Translate, parts: Deployment, mailbox: Mailbox) -> None:
    """Subjects, texts and descriptions that a file type declares; its values stay values."""
    translate(
        "de",
        {
            "All the numbers": "Alle Zahlen",
            "Numbers for %(requester)s": "Zahlen für %(requester)s",
            "%(size)s until %(expires_at)s": "%(size)s bis %(expires_at)s",
            "By hand": "Von Hand",
            Described.email_html_message: "<p title='%(description)s'>Nur %(size)s</p><a href='%(download_url)s'>",
        },
    )
    tell(finished(b"x" * 12_345, description="By hand", language="de", tz="Europe/Zurich"), Described)
    [mail] = mailbox.mails
    assert mail["Subject"] == "Zahlen für ada@example.com"
    assert text_of(mail).startswith("12,3 kB bis ")
    assert text_of(mail).rstrip().endswith(("MEZ", "MESZ"))
    assert "<p title='Von Hand'>Nur 12,3 kB</p>" in html_of(mail)
    assert "href='https://elsewhere.example.com/12.3%20kB/" in html_of(mail)  # an address is the same for everybody
    with in_force("de", None):
        assert Described().get_file_description() == "Alle Zahlen"


@pytest.mark.parametrize("broken", ["Fertig: %(typo)s", "Fertig: %(filename)", "Fertig: %s", "100 % %(filename)s"])
def test_a_broken_translation_breaks_no_mail(
    translate: Translate, parts: Deployment, mailbox: Mailbox, caplog: pytest.LogCaptureFixture, broken: str
) -> None:
    """It is told to the log, and ours is said instead; its neighbours are not."""
    path = translate("de", {READY: broken, DOWNLOAD: "Bitte sehr:"})
    with caplog.at_level(logging.WARNING):
        tell(finished(language="de"))
    assert mailbox.mails[0]["Subject"] == "Ihre Datei ist fertig: numbers.csv"
    assert "Bitte sehr:" in text_of(mailbox.mails[0])
    assert str(path) in caplog.text


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00\xff\xfe",
        b"msgid",
        b'msgid "a"\nmsgstr "b\n',
        HEADER.replace("nplurals=2", "nplurals=x").encode(),
        HEADER.replace("!= 1)", "!=").encode(),
    ],
)
def test_a_broken_catalogue_breaks_nothing(translate: Translate, app: Celery, content: bytes) -> None:
    """Ours are there still."""
    translate("de", {}).write_bytes(content)
    assert told("de") == "Hier können Sie sie herunterladen:"


def test_a_compiled_file_that_is_none_breaks_nothing(root: Path, app: Celery) -> None:
    """Such as one that was cut off."""
    folder = root / "locale" / "de" / "LC_MESSAGES"
    folder.mkdir(parents=True)
    (folder / "bgtasks.mo").write_bytes(b"\xde\x12\x04\x95cut off")
    assert told("de") == "Hier können Sie sie herunterladen:"


@pytest.mark.parametrize(
    ("original", "translation", "fitting"),
    [
        ("%(a)s", "%(a)s and %(a)s", True),
        ("%(a)s", "nothing", True),
        ("%(a)s", "%(b)s", False),
        ("%(a)s", "%s", False),
        ("%(a)s", "50 %", False),
        ("%(a)s 50 %%", "50 %% %(a)s", True),
        ("50 %", "50 % %(a)s", True),  # never filled in
        ("plain", "%(a)s", False),
    ],
)
def test_a_translation_fits_where_it_can_be_filled_in(original: str, translation: str, fitting: bool) -> None:
    """Wherever the original can be."""
    assert fits(original, translation) == fitting


def test_a_language_from_right_to_left_is_shown_so(translate: Translate, parts: Deployment, mailbox: Mailbox) -> None:
    """Pages and mails say their language and direction; English ones stay what they are, whoever reads them."""
    translate("ar", {"Your file is ready": "ملفك جاهز"})
    tell(finished(language="ar"))
    tell(finished(language="he"))
    arabic, english = map(html_of, mailbox.mails)
    assert '<html lang="ar" dir="rtl">' in arabic
    assert "ملفك جاهز" in arabic
    assert '<html lang="en" dir="ltr">' in english
    with in_force("ar", None):
        page = templates.render("problem.html", {"title": "", "status": 404, "detail": "x"})
    assert '<html lang="ar" dir="rtl">' in page


def test_a_template_of_the_same_name_extends_ours(root: Path, parts: Deployment) -> None:
    """Ours have a second name for that, ``bgtasks/…``; and they stand on the deployment's own ``base.html``."""
    folder = root / "templates" / "bgtasks"
    folder.mkdir(parents=True)
    own = "{% extends 'bgtasks/NAME' %}{% block main %}{{ super() }}<p>Acme: NAME</p>{% endblock %}"
    for name in ("base.html", "problem.html"):
        (folder / name).write_text(own.replace("NAME", name))
    page = templates.render("problem.html", {"title": "", "status": 404, "detail": "No such thing."})
    for part in ("No such thing.", "<p>Acme: problem.html</p>", "<style>"):
        assert part in page
    ours = templates.render("bgtasks/base.html", {})
    assert "Acme" not in ours
    assert "<p>Acme: base.html</p>" in templates.render("base.html", {})


def test_a_hosts_own_templates_are_left_alone(root: Path, parts: Deployment) -> None:
    """A project's ``templates/base.html`` is its own, whatever engine it is for; other names are for its file types."""
    (root / "templates").mkdir()
    (root / "templates" / "base.html").write_text("{% load static %}{% url 'home' %}")
    (root / "templates" / "wait.html").write_text("{% extends 'base.html' %}{% block main %}Please wait.{% endblock %}")
    page = templates.render("problem.html", {"title": "", "status": 404, "detail": "No such thing."})
    assert "No such thing." in page
    assert "Please wait." in templates.render("wait.html", {})
