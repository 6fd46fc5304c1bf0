"""What one value becomes as text, in every text format."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from typing import Any, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgtasks.formats.cells import FORMULA, Cells, duration, neutralised, unchanged

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
ZURICH = ZoneInfo("Europe/Zurich")
cell = Cells(ZURICH)


class Point(NamedTuple):
    x: int
    y: int


class Colour(Enum):
    RED = "red"
    NONE = None
    PAID = Decimal("1.50")
    SUM = "=SUM(A1)"


class Level(IntEnum):
    HIGH = -3


class Size(StrEnum):
    SMALL = "small"


class Name(str):
    __slots__ = ()


class Amount(Decimal):
    pass


class Ratio(float):
    def __repr__(self) -> str:
        return "a ratio"


class Money:
    def __init__(self, shown: str) -> None:
        self.shown = shown

    def __str__(self) -> str:
        return self.shown


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (None, ""),
        (True, "true"),
        (False, "false"),
        (0, "0"),
        (-1, "-1"),
        (1.0, "1.0"),
        (-0.1, "-0.1"),
        (1e22, "1e+22"),
        (math.nan, "NaN"),
        (math.inf, "Infinity"),
        (-math.inf, "-Infinity"),
        (Ratio(0.5), "0.5"),
        (Decimal("1.50"), "1.50"),
        (Decimal("1E+5"), "100000"),
        (Decimal("-1E-7"), "-0.0000001"),
        (Decimal("NaN"), "NaN"),
        (Decimal("-Infinity"), "-Infinity"),
        (Amount("2.50"), "2.50"),
        ("text", "text"),
        (Name("text"), "text"),
        (date(2024, 2, 29), "2024-02-29"),
        (date(99, 1, 1), "0099-01-01"),
        (datetime(2024, 2, 29, 12, 30, 1), "2024-02-29 12:30:01"),  # noqa: DTZ001
        (datetime(2024, 2, 29, 12, 30, 1, 500, tzinfo=UTC), "2024-02-29 13:30:01.000500+01:00"),
        (datetime(2024, 7, 1, 12, tzinfo=UTC), "2024-07-01 14:00:00+02:00"),
        (datetime(2024, 7, 1, 1, tzinfo=timezone(timedelta(hours=5, minutes=30))), "2024-06-30 21:30:00+02:00"),
        (datetime.max.replace(tzinfo=UTC), "9999-12-31 23:59:59.999999+00:00"),
        (time(12, 30), "12:30:00"),
        (time(12, 30, tzinfo=UTC), "12:30:00+00:00"),
        (timedelta(hours=26, minutes=3, seconds=4.5), "26:03:04.5"),
        (timedelta(seconds=-1), "-0:00:01"),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (b"\x00\xff", "\\x00ff"),
        (bytearray(b"="), "\\x3d"),
        (memoryview(b"a"), "\\x61"),
        ({"k": [1, "ü", None]}, '{"k": [1, "ü", null]}'),
        (("a", 1), '["a", 1]'),
        (Point(1, 2), "[1, 2]"),
        ([Decimal("1.50"), Colour.RED, date(2024, 1, 1)], '["1.50", "red", "2024-01-01"]'),
        (Colour.RED, "red"),
        (Colour.NONE, ""),
        (Colour.PAID, "1.50"),
        (Level.HIGH, "-3"),
        (Size.SMALL, "small"),
        (Money("12 CHF"), "12 CHF"),
    ],
)  # fmt: skip
def test_each_kind_of_value_has_one_canonical_text(value: Any, written: str) -> None:
    """Numbers and dates are the same in every locale; aware times are in the requester's zone, with their offset."""
    assert str(cell(value)) == written


@pytest.mark.parametrize(
    "value", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", Name("=1"), Colour.SUM, Money("=1"), Money("-5 CHF")]
)
def test_a_text_that_begins_a_formula_gets_an_apostrophe(value: Any) -> None:
    """Whatever becomes text is neutralised: strings, their subclasses, enum values and what ``str()`` makes."""
    shown = str(value.value if isinstance(value, Enum) else value)
    assert cell(value) == "'" + shown
    assert Cells(ZURICH, unchanged)(value) == shown


@pytest.mark.parametrize("value", [-1, -1.5, Decimal("-1.5"), -math.inf, timedelta(seconds=-1), Level.HIGH, -(10**30)])
def test_a_negative_number_stays_a_number(value: Any) -> None:
    """Only texts are neutralised."""
    assert str(cell(value)).startswith("-")


@pytest.mark.parametrize("text", ["", " =1", "'=1", "1=1", "a\t", "\n=1"])
def test_a_text_that_begins_otherwise_is_unchanged(text: str) -> None:
    """Nothing but the first character counts."""
    assert neutralised(text) == text


@given(st.text())
def test_neutralising_adds_nothing_but_an_apostrophe(text: str) -> None:
    """No text begins a formula afterwards, and none loses anything."""
    written = neutralised(text)
    assert not written.startswith(FORMULA)
    assert written.removeprefix("'") == text.removeprefix("'")


@given(st.integers() | st.integers(min_value=1).map(lambda exponent: -(7 ** (exponent % 9000))))
def test_an_integer_of_any_size_is_written_whole(number: int) -> None:
    """Python itself refuses to write integers of more than 4,300 digits."""
    assert Decimal(str(cell(number))) == number


@given(st.floats(allow_nan=False))
def test_a_float_reads_back_as_the_same_number(number: float) -> None:
    """No digit is lost."""
    assert float(cell(number)) == number


@given(st.decimals(allow_nan=False, allow_infinity=False, places=12))
def test_a_decimal_is_exact_and_has_no_exponent(number: Decimal) -> None:
    """Money keeps its trailing zeros."""
    assert "E" not in cell(number)
    assert Decimal(cell(number)).as_tuple() == number.as_tuple()


@given(st.datetimes(timezones=st.timezones()))
def test_an_aware_time_stays_the_same_moment(moment: datetime) -> None:
    """The zone changes how it is shown, not when it is: even at the ends of the calendar."""
    # Subtracted, since times that a clock skips equal none of another zone.
    assert datetime.fromisoformat(cell(moment)) - EPOCH == moment - EPOCH


@given(st.timedeltas())
def test_a_duration_reads_back(value: timedelta) -> None:
    """Days become hours; nothing is rounded."""
    hours, minutes, seconds = duration(abs(value)).split(":")
    whole, _, fraction = seconds.partition(".")
    read = timedelta(
        hours=int(hours), minutes=int(minutes), seconds=int(whole), microseconds=int(fraction.ljust(6, "0"))
    )
    assert read == abs(value)
