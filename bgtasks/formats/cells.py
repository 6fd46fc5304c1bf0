"""What one value becomes as text: one canonical form for every text format.

Numbers and ISO 8601 dates look the same in every locale; aware times are shown in the requester's
zone with their offset; a text that a spreadsheet would run as a formula is neutralised.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta, tzinfo
from decimal import Decimal
from enum import Enum
from typing import Any, TypeVar
from uuid import UUID

#: What a spreadsheet takes for the beginning of a formula (OWASP, CSV Injection).
FORMULA = ("=", "+", "-", "@", "\t", "\r")

#: Python refuses to write an integer of more digits itself: the time that it takes grows with their square.
INTEGER_BITS = 4300 * 3

Known = TypeVar("Known")


def neutralised(text: str) -> str:
    """A text that no spreadsheet runs: with an apostrophe before what would begin a formula."""
    return "'" + text if text.startswith(FORMULA) else text


def unchanged(text: str) -> str:
    """A text as it is."""
    return text


class Cells:
    """Called with a value, gives what ``csv.writer`` shall write.

    :param zone: where aware times are shown.
    :param text: what happens to texts, and only to texts: numbers and dates stay what they are.
    """

    def __init__(self, zone: tzinfo, text: Callable[[str], str] = neutralised) -> None:
        self._zone = zone
        self._text = text
        self._by_type: dict[type, Callable[[Any], Any]] = {
            str: text,
            int: _integer,
            type(None): _nothing,
            bool: _boolean,
            float: number,
            Decimal: _decimal,
            datetime: self._moment,
            date: date.isoformat,
            time: time.isoformat,
            timedelta: duration,
            UUID: str,
            bytes: _hex,
            bytearray: _hex,
            memoryview: _hex,
            dict: self._json,
            list: self._json,
            tuple: self._json,
        }

    def __call__(self, value: Any) -> Any:
        convert = self._by_type.get(type(value))
        if convert is None:
            convert = self._by_type[type(value)] = self._by_ancestor(type(value))
        return convert(value)

    def _by_ancestor(self, kind: type) -> Callable[[Any], Any]:
        """What an unlisted type is written as: an Enum as its value, a subclass as its base, else ``str()``."""
        if issubclass(kind, Enum):
            return lambda value: self(value.value)
        return by_ancestor(self._by_type, kind) or (lambda value: self._text(str(value)))

    def _moment(self, value: datetime) -> str:
        return local(value, self._zone).isoformat(sep=" ")

    def _json(self, value: Any) -> str:
        """What JSON does not know is a string there, as it would be in a cell of its own."""
        return json.dumps(value, ensure_ascii=False, default=self)


def by_ancestor(known: Mapping[type, Known], kind: type) -> Known | None:
    """What is known for a type, or for the nearest of its bases."""
    return next((known[base] for base in kind.__mro__ if base in known), None)


def local(value: datetime, zone: tzinfo) -> datetime:
    """An aware time in a zone; as it is where that would be before the year 1 or after 9999."""
    try:
        return value if value.tzinfo is None else value.astimezone(zone)
    except OverflowError:
        return value


def zone_name(zone: tzinfo) -> str:
    """What a zone is called, such as ``Europe/Zurich``, ``UTC`` or ``UTC+02:00``."""
    return getattr(zone, "key", None) or str(zone)


def is_unicode(text: str) -> bool:
    """Whether a text can be encoded: half of a surrogate pair can't."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def number(value: float) -> str:
    """The shortest text that reads back as the same number; ``NaN``, ``Infinity``, ``-Infinity``."""
    if math.isfinite(value):
        return repr(float(value))
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def duration(value: timedelta) -> str:
    """Hours, minutes and seconds, as spreadsheets read them: ``26:03:04.5`` is over a day."""
    micros = value // timedelta(microseconds=1)
    seconds, micros_left = divmod(abs(micros), 1_000_000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    fraction = f".{micros_left:06d}".rstrip("0") if micros_left else ""
    return f"{'-' if micros < 0 else ''}{hours}:{minutes:02d}:{seconds:02d}{fraction}"


def _nothing(_: None) -> str:
    return ""


def _boolean(value: bool) -> str:
    return "true" if value else "false"


def _integer(value: int) -> Any:
    return value if value.bit_length() < INTEGER_BITS else format(Decimal(value), "f")


def _decimal(value: Decimal) -> str:
    return format(value, "f")


def _hex(value: bytes | bytearray | memoryview) -> str:
    return f"\\x{bytes(value).hex()}"
