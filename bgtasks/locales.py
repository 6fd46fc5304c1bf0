"""The requester's language and time zone: in force in each step and each page, whatever is said there."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta, tzinfo
from decimal import Decimal
from gettext import NullTranslations
from pathlib import Path
from typing import Any, Protocol
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import babel
from babel import dates, numbers, units
from werkzeug.wrappers import Request

from bgtasks import catalogues
from bgtasks.catalogues import ENGLISH

#: How English is written where nobody has said whose: day before month, 24 hours.
_PLAIN_ENGLISH = babel.Locale("en", "150")
_UNITS = ("byte", "kilobyte", "megabyte", "gigabyte", "terabyte")
#: Seconds below which an estimate is no more than "soon".
_SOON = 45
#: So many of a visitor's languages are looked at: a header has room for thousands.
_MOST_LANGUAGES = 20


@dataclass(frozen=True)
class Locale:
    """Whom to speak to, and how."""

    language: str = ENGLISH  #: such as ``de`` or ``pt-BR``
    zone: tzinfo = UTC
    zone_name: str | None = None  #: such as ``Europe/Zurich``; None: nobody has told the zone, and it is UTC

    @property
    def formats(self) -> babel.Locale:
        """How numbers, dates and times are written."""
        known = catalogues.known_to_babel(self.language)
        return _PLAIN_ENGLISH if known is None or str(known) == ENGLISH else known

    @property
    def spoken(self) -> str:
        """The language of our texts: English, where there are no catalogues for the requester's."""
        return self.language if catalogues.match(self.language, _root()) else ENGLISH

    @property
    def text_direction(self) -> str:
        """``ltr`` or ``rtl``, for those texts."""
        spoken = catalogues.known_to_babel(self.spoken)
        return spoken.text_direction if spoken else "ltr"


@dataclass(frozen=True)
class Sentence:
    """A text of a gettext catalogue, and what is filled into it."""

    text: str  #: in English, with ``%(name)s`` where it has values
    #: Numbers, times, time spans and other sentences, which each language shows in its own way; or texts.
    values: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.filled(self.text, _in_english)

    def filled(self, text: str, show: Callable[[Any], str]) -> str:
        """This text, or a translation of it, with the values filled in."""
        return text % {name: show(value) for name, value in self.values.items()} if self.values else text


def _in_english(value: Any) -> str:
    if isinstance(value, timedelta):
        seconds = round(value.total_seconds())
        return f"in {seconds} seconds" if seconds < 100 else f"in {round(seconds / 60)} minutes"
    return f"{value:,}" if type(value) is int else str(value)


#: What is in force where nobody has said anything.
_NOBODYS = Locale()
_current: ContextVar[Locale] = ContextVar("bgtasks_locale", default=_NOBODYS)


@contextmanager
def in_force(language: Any, timezone: Any) -> Iterator[Locale]:
    """Speak a language and show times in a zone within this block; English and UTC for what is not known.

    :param language: a tag such as ``de`` or ``pt-BR``; anything will do.
    :param timezone: a name such as ``Europe/Zurich``; anything will do.
    """
    zone = known_zone(timezone)
    locale = Locale(_tag(language), zone or UTC, zone.key if zone else None)
    before = _current.set(locale)
    try:
        yield locale
    finally:
        _current.reset(before)


def current() -> Locale:
    """The locale that is in force; English and UTC where none is."""
    return _current.get()


def known_zone(name: Any) -> ZoneInfo | None:
    """The time zone of that name; None for anything else."""
    try:
        return ZoneInfo(name) if name and isinstance(name, str) else None
    except (ZoneInfoNotFoundError, ValueError, OSError):  # the name of a folder, or one too long for a file
        return None


def negotiate(http_request: Request) -> str:
    """The first language of the visitor's ``Accept-Language`` that there are texts in; ``en`` where there is none.

    It keeps its region (``de-CH``), which says how numbers and dates are written.
    """
    for tag, quality in itertools.islice(http_request.accept_languages, _MOST_LANGUAGES):
        if quality > 0 and catalogues.match(tag, _root()):
            return _tag(tag)
    return ENGLISH


@contextmanager
def in_visitors(http_request: Request) -> Iterator[Locale]:
    """Within this block, the locale that is in force already; where none is, what the visitor's browser says."""
    if _current.get() is not _NOBODYS:
        yield current()
        return
    with in_force(negotiate(http_request), http_request.cookies.get("tz")) as locale:
        yield locale


# -- texts ------------------------------------------------------------------------------------------


def gettext(message: str) -> str:
    """A text in the language in force; as it is where no catalogue has it."""
    message = str(message)  # it may be another framework's lazy text
    return _translations().gettext(message) if message else ""  # the empty one is a catalogue's header


def ngettext(one: str, many: str, count: int) -> str:
    """The text for so many."""
    return _translations().ngettext(one, many, count)


def N_(text: str) -> str:  # noqa: N802 - gettext's usual name for it
    """Mark a text for the catalogues that is translated where it is told."""
    return text


class Telling(Protocol):
    """Something that has a sentence for people: an error of ours."""

    @property
    def sentence(self) -> Sentence:
        """What it says."""


def told(what: Sentence | Telling) -> str:
    """What a sentence or an error says, in the language in force."""
    sentence = what if isinstance(what, Sentence) else what.sentence
    return sentence.filled(gettext(sentence.text), _shown)


def _shown(value: Any) -> str:
    if isinstance(value, Sentence):
        return told(value)
    if isinstance(value, timedelta):
        return dates.format_timedelta(value, add_direction=True, locale=_words())
    if isinstance(value, datetime):
        return when(value)
    if isinstance(value, date):
        return dates.format_date(value, "medium", locale=current().formats)
    return number(value) if type(value) in (int, float, Decimal) else str(value)


# -- numbers, times and sizes -----------------------------------------------------------------------


def number(value: float | Decimal | None) -> str:
    """A number as people write it; None: nothing."""
    return "" if value is None else str(numbers.format_decimal(value, locale=current().formats))


def when(value: datetime | None) -> str:
    """A time to the minute, in the requester's zone, which is named: ``2 Jan 2026, 13:05 CET``; None: nothing."""
    if value is None:
        return ""
    moment, formats = _local(value), current().formats
    clock = dates.format_time(moment, "short", tzinfo=moment.tzinfo, locale=formats)
    return f"{dates.format_date(moment, 'medium', locale=formats)}, {clock} {_zone(moment)}".strip()


def size(count: int | None) -> str:
    """Bytes as people say them: ``12.3 MB``; None: nothing."""
    if count is None:
        return ""
    value, unit = float(count), 0
    while value >= 1000 and unit < len(_UNITS) - 1:
        value, unit = value / 1000, unit + 1
    name, locale = f"digital-{_UNITS[unit]}", _words()
    if unit:
        return units.format_unit(value, name, "short", format="#,##0.0", locale=locale)
    said = units.format_unit(count, name, "long", locale=locale)
    return said if name not in said else f"{number(count)} B"  # not every language has a word for it


def duration(seconds: float) -> str:
    """About how long something takes: ``about 2 minutes``."""
    if seconds < _SOON:
        return gettext("less than a minute")
    span = timedelta(seconds=min(seconds, 1e9))
    rounded = dates.format_timedelta(span, granularity="minute", threshold=1.5, locale=_words())
    return gettext("about %(duration)s") % {"duration": rounded}


def _words() -> babel.Locale:
    """For words that stand within a sentence of a catalogue: they have its language."""
    locale = current()
    return locale.formats if catalogues.match(locale.language, _root()) else _PLAIN_ENGLISH


def _local(value: datetime) -> datetime:
    try:
        return value.astimezone(current().zone) if value.tzinfo else value
    except OverflowError:  # before the year 1, or after 9999
        return value


def _zone(moment: datetime) -> str:
    """The zone's usual name in this language, or its distance from UTC; nothing of a time that has none."""
    if moment.tzinfo is None:
        return ""
    named = dates.get_timezone_name(moment, "short", locale=current().formats), moment.tzname() or ""
    return next(filter(str.isalpha, named), f"UTC{moment.isoformat(timespec='minutes')[len('2026-01-02T13:05') :]}")


# -- the deployment -----------------------------------------------------------------------------------


def _tag(language: Any) -> str:
    """A language tag as it is usually written; English for what is none."""
    if not isinstance(language, str) or next(catalogues.truncated(language), None) is None:
        return ENGLISH
    known = catalogues.known_to_babel(language)
    return str(known).replace("_", "-") if known else language.replace("_", "-")


def _translations() -> NullTranslations:
    return catalogues.translations(current().language, _root())


#: Tells the deployment's folder.
_find_root: Callable[[], Path | None] = lambda: None  # noqa: E731 - to be replaced


def find_catalogues_by(find_root: Callable[[], Path | None]) -> None:
    """Say where the deployment's own catalogues are: in the folder ``locale`` of what is returned.

    The settings do so, which are above this module.
    """
    global _find_root  # noqa: PLW0603
    _find_root = find_root


def _root() -> Path | None:
    return _find_root()
