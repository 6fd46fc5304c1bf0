"""Days in words, as a recurring export has them: ``last week`` is other days each week.

They are settled once, when a file is asked for, in its requester's time zone; the row keeps the days themselves, so
that whatever is done later is done for the same days. Weeks begin on Monday.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any, NamedTuple

from pydantic import BeforeValidator

from bgtasks import locales

#: What may be said: ``today``, ``yesterday``, ``this month``, ``last quarter``, ``next week``, ``last 7 days`` …
_WORDS = re.compile(r"(last|this|next) (?:(\d{1,4}) )?(day|week|month|quarter|year)s?")
_DAYS = {"yesterday": "last day", "today": "this day", "tomorrow": "next day"}
#: The units that consist of months, and of how many.
_MONTHS = {"month": 1, "quarter": 3, "year": 12}

#: How often a recurring export may be wanted; each has its own way to write when that is, in its own time zone.
UNITS = ("hour", "day", "week", "month", "quarter", "year")

_asked_at: ContextVar[datetime | None] = ContextVar("bgtasks_asked_at", default=None)
_settled: ContextVar[list[str] | None] = ContextVar("bgtasks_settled", default=None)


class Period(NamedTuple):
    """Some days, both ends included."""

    first: date
    last: date


@contextmanager
def asked_at(moment: datetime | None) -> Iterator[None]:
    """Within this block, it is then: what was asked an hour ago is about that hour's days.

    :param moment: None: it is what it is when the block begins, and stays so: midnight may come within it.
    """
    before = _asked_at.set(moment or now())
    try:
        yield
    finally:
        _asked_at.reset(before)


@contextmanager
def settling() -> Iterator[list[str]]:
    """The words of which criteria that are validated in this block have made days."""
    words: list[str] = []
    before = _settled.set(words)
    try:
        yield words
    finally:
        _settled.reset(before)


def now() -> datetime:
    """When the file was asked for, where that is known; otherwise now. In UTC."""
    return (_asked_at.get() or datetime.now(UTC)).astimezone(UTC)


def today() -> date:
    """The day that it is then, in the time zone in force."""
    return now().astimezone(locales.current().zone).date()


def of(words: str, day: date | None = None) -> Period | None:
    """The days that are called ``last week``, ``yesterday``, ``this month`` and the like; None: no days are called so.

    ``last 7 days`` are whole ones, up to yesterday, and ``last 3 months`` go up to the end of the last one.

    :param day: seen from this day (default: today, in the time zone in force).
    """
    said = _WORDS.fullmatch(_DAYS.get(words, words))
    if said is None or (said[1] == "this" and said[2]):
        return None
    which, number, unit = said[1], int(said[2] or 1), said[3]
    start = {"last": -number, "this": 0, "next": 1}[which]
    try:
        first, after = (_start(day or today(), unit, units) for units in (start, start + number))
        return Period(first, after - timedelta(days=1)) if after > first else None
    except (ValueError, OverflowError):  # before the year 1, or after 9999
        return None


def _start(day: date, unit: str, units: int) -> date:
    """The first day of the unit that a day is in, or of one so many units later."""
    if unit in _MONTHS:
        months = day.year * 12 + day.month - 1
        year, month = divmod((months // _MONTHS[unit] + units) * _MONTHS[unit], 12)
        return date(year, month + 1, 1)
    if unit == "week":
        return day - timedelta(days=day.weekday()) + timedelta(weeks=units)
    return day + timedelta(days=units)


def start_of(day: date) -> datetime:
    """The moment at which a day begins in the time zone in force, also where its clocks have no midnight that day."""
    midnight = datetime(day.year, day.month, day.day, tzinfo=locales.current().zone)
    return midnight.astimezone(UTC)


def occurrence(unit: str, zone: Any = None) -> str:
    """The name of the hour, day, week … that it is: ``2026-W48`` for a week.

    :param zone: the name of the time zone (default: UTC). Hours are UTC's, where each has a name of its own.
    Raises: KeyError.
    """
    when = now() if unit == "hour" else now().astimezone(locales.known_zone(zone) or UTC)
    year, week, _ = when.isocalendar()
    return {
        "hour": f"{when:%Y-%m-%dT%HZ}",
        "day": f"{when:%Y-%m-%d}",
        "week": f"{year}-W{week:02}",
        "month": f"{when:%Y-%m}",
        "quarter": f"{when.year}-Q{(when.month + 2) // 3}",
        "year": f"{when.year}",
    }[unit]


def _day_of(end: str) -> Any:
    def settle(value: Any) -> Any:
        found = of(value) if isinstance(value, str) else None
        if found is None:
            return value
        if (noted := _settled.get()) is not None:
            noted.append(value)
        return getattr(found, end)

    return settle


def are_in(value: Any) -> bool:
    """Whether a text in a JSON value may be a period in words."""
    if isinstance(value, str):
        return value in _DAYS or _WORDS.fullmatch(value) is not None
    if isinstance(value, dict | list):
        return any(map(are_in, value.values() if isinstance(value, dict) else value))
    return False


#: A date in criteria, or a period in words, of which it is the first day.
FirstDay = Annotated[date, BeforeValidator(_day_of("first"))]
#: A date in criteria, or a period in words, of which it is the last day.
LastDay = Annotated[date, BeforeValidator(_day_of("last"))]
