"""What an Arrow column is for a file: a kind of values, and how it is brought into that kind's one form."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from bgtasks.errors import UnwritableValue
from bgtasks.items.rows import Kind

Convert = Callable[[pa.Array], pa.Array]
Finish = Callable[[list[Any]], list[Any]]

#: Python's years: days and microseconds since 1970.
FIRST_DAY, LAST_DAY = -719_162, 2_932_896
DAY = 86_400_000_000


@dataclass(frozen=True)
class Vector:
    """A column."""

    kind: Kind
    convert: Convert | None = None  #: None: it is in that form
    finish: Finish | None = None  #: what Python makes of its values; None: nothing

    def finished(self, more: Finish) -> Vector:
        """The same, whose values Python goes on with."""
        before = self.finish
        return replace(self, kind=Kind.OTHER, finish=more if before is None else lambda values: more(before(values)))


def cast(kind: pa.DataType) -> Convert:
    """What brings an array into a type. Raises: UnwritableValue, for a time that it would have to cut."""

    def convert(array: pa.Array) -> pa.Array:
        try:
            return array.cast(kind)
        except pa.ArrowInvalid as error:
            raise UnwritableValue("A time is finer than a microsecond, or out of bounds") from error

    return convert


def as_date(array: pa.Array) -> pa.Array:
    """As a date32. Raises: UnwritableValue, for a year that Python has not."""
    days = cast(pa.date32())(array)
    return _within(days, days.view(pa.int32()), FIRST_DAY, LAST_DAY)


def as_datetime(array: pa.Array) -> pa.Array:
    """As microseconds without a zone."""
    return _within_years(cast(pa.timestamp("us"))(array))


def as_moment(array: pa.Array) -> pa.Array:
    """As microseconds in UTC."""
    return _within_years(cast(pa.timestamp("us", tz="UTC"))(array))


def as_time(array: pa.Array) -> pa.Array:
    """As microseconds of a day."""
    micros = cast(pa.time64("us"))(array)
    return _within(micros, micros.view(pa.int64()), 0, DAY - 1)


def _within_years(array: pa.Array) -> pa.Array:
    return _within(array, array.view(pa.int64()), FIRST_DAY * DAY, (LAST_DAY + 1) * DAY - 1)


def _within(array: pa.Array, numbers: pa.Array, first: int, last: int) -> pa.Array:
    """The array. Raises: UnwritableValue, if one of its numbers is out of these bounds."""
    found = pc.min_max(numbers)
    if found["min"].is_valid and not first <= found["min"].as_py() <= found["max"].as_py() <= last:
        raise UnwritableValue("A time is before the year 1 or after 9999")
    return array
