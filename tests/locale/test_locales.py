"""Whoever asks is spoken to in their language, and sees times in their zone; whatever they have said those are."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from babel.localedata import locale_identifiers
from hypothesis import example, given
from hypothesis import strategies as st
from werkzeug.test import EnvironBuilder
from werkzeug.wrappers import Request

from bgtasks import catalogues, locales
from bgtasks.errors import BgtasksError, InvalidCriteria, Sentence, TooManyActive, TooManyRows, UnwritableValue
from bgtasks.locales import current, in_force, known_zone, negotiate, number, size, when

NOON = datetime(2026, 1, 2, 12, 5, tzinfo=UTC)

anything = st.none() | st.text() | st.binary() | st.integers() | st.lists(st.text(max_size=2), max_size=2)
tags = st.from_regex(r"[a-zA-Z]{1,9}([-_][a-zA-Z0-9]{1,9}){0,6}", fullmatch=True)


def accepting(header: str) -> Request:
    """A visitor's request."""
    return Request(EnvironBuilder(headers={"Accept-Language": header}).get_environ())


# -- what is in force --------------------------------------------------------------------------------


def test_outside_of_everything_it_is_english_and_utc() -> None:
    """Nobody has said anything."""
    assert (current().language, current().zone, current().zone_name) == ("en", UTC, None)


def test_a_locale_is_in_force_within_its_block() -> None:
    """And the one before it after that, also when the block raises."""
    with in_force("de", "Europe/Zurich"):
        with pytest.raises(ZeroDivisionError), in_force("fr", None):
            assert current().language == "fr"
            raise ZeroDivisionError
        assert (current().language, current().zone_name) == ("de", "Europe/Zurich")
    assert current().language == "en"


def test_each_thread_has_its_own() -> None:
    """A worker with threads makes files for people of different languages at the same time."""
    seen: list[str] = []
    with in_force("de", None):
        thread = threading.Thread(target=lambda: seen.append(current().language))
        thread.start()
        thread.join()
    assert seen == ["en"]


@pytest.mark.parametrize(
    ("given", "language"),
    [("de", "de"), ("pt_BR", "pt-BR"), ("PT-br", "pt-BR"), ("de-CH", "de-CH"), ("xx-ZZ", "xx-ZZ"), ("de-QQ", "de")],
)
def test_a_tag_is_written_in_one_way(given: str, language: str) -> None:
    """However it came."""
    with in_force(given, None) as locale:
        assert locale.language == language


@given(anything | tags, anything)
@example("../../etc", "../../etc/passwd")
@example("de-CH-x-\0", "Europe/Zurich\0")
@example("e" * 10_000, "Europe/" + "x" * 10_000)
@example("de", "Europe")
@example("en-u-va-posix", "localtime")
def test_whatever_a_row_says_nothing_breaks(language: Any, timezone: Any) -> None:
    """A mail is more important than the language that it is in."""
    with in_force(language, timezone) as locale:
        assert when(NOON)
        assert number(1234.5)
        assert size(12_345)
        assert locales.duration(100)
        assert locales.gettext("This link has expired.")
        assert TooManyActive(3, 200).told()
        assert locale.text_direction in ("ltr", "rtl")


def test_languages_of_all_kinds_can_be_asked_for() -> None:
    """Numbers, sizes, times and durations of each; a unit's name in the database of formats is no word."""
    for identifier in sorted(locale_identifiers())[::12]:  # all of them take half a minute
        with in_force(identifier, "America/Sao_Paulo"):
            shown = [number(1_234_567), number(Decimal("0.5")), when(NOON), *map(size, (0, 1, 999, 10**4, 10**16))]
            shown += [locales.duration(seconds) for seconds in (0, 59, 100, 4_000, 10**6, 10**12)]
        assert all(shown)
        assert not any("digital" in text for text in shown)


# -- formats -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("language", "timezone", "shown"),
    [
        (None, None, "2 Jan 2026, 12:05 UTC"),
        ("en", "Europe/Zurich", "2 Jan 2026, 13:05 CET"),
        ("en-US", "America/New_York", "Jan 2, 2026, 7:05\u202fAM EST"),
        ("de", "Europe/Zurich", "02.01.2026, 13:05 MEZ"),
        ("fr", "Asia/Kolkata", "2 janv. 2026, 17:35 IST"),
        ("en", "America/Sao_Paulo", "2 Jan 2026, 09:05 UTC-03:00"),
        ("es", "Nowhere/Land", "2 ene 2026, 12:05 UTC"),
    ],
)
def test_a_time_names_its_zone(language: str | None, timezone: str | None, shown: str) -> None:
    """By the name that people use there; by its distance from UTC, where there is none."""
    with in_force(language, timezone):
        assert when(NOON) == shown


def test_the_hour_that_comes_twice_is_told_apart() -> None:
    """When summer time ends, 02:30 is there twice."""
    twice = [datetime(2026, 10, 25, hour, 30, tzinfo=UTC) for hour in (0, 1)]
    with in_force("en", "Europe/Zurich"):
        assert [when(moment) for moment in twice] == ["25 Oct 2026, 02:30 CEST", "25 Oct 2026, 02:30 CET"]


@given(st.datetimes(timezones=st.none() | st.timezones() | st.just(timezone(timedelta(hours=5, minutes=59)))))
def test_any_time_is_shown(moment: datetime) -> None:
    """Also one that is before the year 1 in its requester's zone; one without a zone gets none."""
    for zone in ("Pacific/Kiritimati", "Pacific/Niue"):
        with in_force("de", zone):
            assert str(moment.year % 100)[-1] in when(moment) or moment.tzinfo is not None


def test_a_time_at_the_end_of_the_calendar_stays_what_it_is() -> None:
    """In its requester's zone it would be in the year 10000, or 0."""
    with in_force("en", "Pacific/Kiritimati"):
        assert when(datetime.max.replace(tzinfo=UTC)) == "31 Dec 9999, 23:59 UTC"
    with in_force("en", "Pacific/Niue"):
        assert when(datetime.min.replace(tzinfo=UTC)) == "1 Jan 1, 00:00 UTC"


def test_nothing_is_shown_as_nothing() -> None:
    """A row has columns that are not filled yet."""
    assert (number(None), when(None), size(None)) == ("", "", "")


@pytest.mark.parametrize(
    ("language", "shown"),
    [
        ("en", ["1,234,567", "0 bytes", "1 byte", "999 bytes", "12.3 kB", "5.0 TB", "5,000.0 TB"]),
        ("de", ["1.234.567", "0 Byte", "1 Byte", "999 Byte", "12,3 kB", "5,0 TB", "5.000,0 TB"]),
        ("fr", ["1 234 567", "0 octet", "1 octet", "999 octets", "12,3 ko", "5,0 To", "5 000,0 To"]),
    ],
)
def test_numbers_and_sizes_are_written_as_people_do(language: str, shown: list[str]) -> None:
    """With their separators and their units."""
    with in_force(language, None):
        said = [number(1_234_567), *map(size, (0, 1, 999, 12_345, 5 * 10**12, 5 * 10**15))]
    assert [text.replace("\xa0", " ").replace("\u202f", " ") for text in said] == shown


@pytest.mark.parametrize(
    ("seconds", "english", "german"),
    [
        (0, "less than a minute", "weniger als eine Minute"),
        (50, "about 1 minute", "etwa 1 Minute"),
        (125, "about 2 minutes", "etwa 2 Minuten"),
        (7_000, "about 2 hours", "etwa 2 Stunden"),
    ],
)
def test_an_estimate_is_rounded(seconds: float, english: str, german: str) -> None:
    """It is none to the second."""
    assert locales.duration(seconds) == english
    with in_force("de", None):
        assert locales.duration(seconds) == german


def test_words_within_an_english_sentence_are_english() -> None:
    """Where there are no texts in a language, its formats stay, and its words do not stand among ours."""
    with in_force("ar", None):
        assert TooManyActive(2, 180).told().endswith("Please ask again in 3 minutes.")
        assert (locales.duration(100), size(12_345)) == ("about 2 minutes", "12.3 kB")
    with in_force("de-CH", None):
        assert size(12_345) == "12.3 kB"
        assert number(1_234) == "1\u2019234"


# -- the visitor's -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("", "en"),
        ("de", "de"),
        ("de-CH,de;q=0.9,en;q=0.8", "de-CH"),
        ("ja, fr;q=0.5, de;q=0.2", "fr"),
        ("de;q=0, es", "es"),
        ("*", "en"),
        ("de;q=0", "en"),
        ("en-US,en;q=0.5", "en-US"),
        ("ja, zh;q=0.9", "en"),
        ("../../etc/passwd", "en"),
        ("de_AT", "de-AT"),
    ],
)
def test_the_best_language_that_there_are_texts_in(header: str, language: str) -> None:
    """Of those that the browser is set to; its region is kept, for the formats."""
    assert negotiate(accepting(header)) == language


@given(st.text(st.characters(max_codepoint=255, exclude_characters="\r\n")) | st.lists(tags, max_size=5).map(",".join))
def test_no_header_breaks_it(header: str) -> None:
    """A client may send anything."""
    environ = EnvironBuilder().get_environ() | {"HTTP_ACCEPT_LANGUAGE": header}
    assert negotiate(Request(environ))


def test_only_the_first_languages_of_a_header_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """A header has room for thousands of tags, each of which costs a search; what comes after many is not preferred."""
    looked_at = []
    monkeypatch.setattr(catalogues, "match", lambda tag, _: looked_at.append(tag))
    header = ",".join(f"x{chr(97 + number // 26)}{chr(97 + number % 26)}" for number in range(600))
    assert negotiate(accepting(header)) == "en"
    assert len(looked_at) < 50


@pytest.mark.parametrize(
    "name", [None, "", "Europe", "x" * 5_000, "a\0b", "/etc/passwd", "../UTC", "zone.tab", 3, b"UTC", "\ud800"]
)
def test_what_is_no_zone_is_none(name: Any) -> None:
    """Names of folders and of other files, and what no file is called."""
    assert known_zone(name) is None


def test_a_zone_is_known_by_its_name() -> None:
    """From the database of time zones."""
    assert known_zone("Europe/Zurich") == ZoneInfo("Europe/Zurich")


# -- errors ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "english", "german"),
    [
        (
            lambda: TooManyRows(1000),
            "There are more rows than this file may have (1,000). Please narrow it down.",
            "Es sind mehr Zeilen, als diese Datei haben darf (1.000). Bitte schränken Sie die Auswahl ein.",
        ),
        (
            lambda: TooManyActive(2, 180),
            "No more than 2 of these files can be made for you at once. Please ask again in 3 minutes.",
            "Es können höchstens 2 dieser Dateien gleichzeitig für Sie erstellt werden. Bitte versuchen Sie es in 3 ",
        ),
        (
            lambda: UnwritableValue("A text is not valid Unicode", row=2005, column="name"),
            "A text is not valid Unicode (row 2,005, column name).",
            "Ein Text ist kein gültiges Unicode (Zeile 2.005, Spalte name).",
        ),
        (
            lambda: InvalidCriteria({"": ["Nein"], "day": ["Dies ist kein Datum.", "Wirklich!"]}),
            "The criteria are not valid. Nein. day: Dies ist kein Datum. day: Wirklich!",
            "Die Auswahl ist nicht gültig. Nein. day: Dies ist kein Datum. day: Wirklich!",
        ),
        (BgtasksError, "Something went wrong while the file was made.", "Beim Erstellen der Datei ist etwas schief"),
        (lambda: BgtasksError("100 % %s of one's own"), "100 % %s of one's own", "100 % %s of one's own"),
    ],
)
def test_an_error_is_english_in_the_log_and_told_in_the_requesters_language(
    make: Callable[[], BgtasksError], english: str, german: str
) -> None:
    """Whichever language is in force when it is raised."""
    with in_force("de", None):
        error = make()
        assert str(error) == english
        assert error.told().startswith(german)
        assert locales.told(error) == error.told()
    assert error.told() == english


def test_a_value_that_is_a_time_is_told_in_the_requesters_zone() -> None:
    """Within a sentence, as anywhere."""
    sentence = Sentence("until %(end)s", {"end": NOON})
    with in_force("de", "Europe/Zurich"):
        assert locales.told(sentence) == "until 02.01.2026, 13:05 MEZ"


class Refused(BgtasksError):
    """An application's own error, which calls no constructor of ours."""

    def __init__(self) -> None:
        Exception.__init__(self, "This file has expired")


def test_an_error_of_an_applications_own_is_told_as_well() -> None:
    """Its text may be in a catalogue, or is told as it is."""
    with in_force("fr", None):
        assert Refused().told() == "Ce fichier a expiré"
