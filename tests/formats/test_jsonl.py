"""JSON Lines: an object for each row, for programs."""

from __future__ import annotations

import json
import math
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from enum import Enum
from typing import Any, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgtasks.errors import ImproperlyConfigured, UnwritableValue
from bgtasks.formats import Format, resolve
from bgtasks.formats.json_values import JsonValues
from bgtasks.formats.jsonl import JsonLines
from bgtasks.items import BATCH, Items
from tests.formats.roads import TYPES, naive, texts, written, zones

ZURICH = ZoneInfo("Europe/Zurich")
NOON = datetime(2024, 7, 1, 12, tzinfo=UTC)

#: What JSON reads back as it was.
natural = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)
values = st.none() | st.one_of([kind.values for kind in TYPES]) | natural


class Colour(Enum):
    RED = "red"
    PAID = Decimal("1.50")


class Name(str):
    __slots__ = ()


class Moment(datetime):
    pass


class Length(timedelta):
    pass


class Point(NamedTuple):
    x: int
    y: Decimal


class Money:
    def __str__(self) -> str:
        return "12 CHF"


def lines(source: Any, columns: Any = None, zone: tzinfo = UTC) -> list[Any]:
    """What a program reads."""
    return [json.loads(line) for line in written(Items(source, columns=columns), JsonLines(), zone).splitlines()]


def test_the_name_chooses_it() -> None:
    """``jsonl`` is this format, and says what it is."""
    assert resolve("jsonl") == JsonLines()
    assert isinstance(JsonLines(), Format)
    assert (JsonLines.content_type, JsonLines.suffix, JsonLines.max_rows) == ("application/jsonl", ".jsonl", None)


def test_each_row_is_a_line_with_an_object() -> None:
    """UTF-8, ended by a line feed, nothing escaped that need not be."""
    content = written(Items([{"id": 1, "text": 'é "=1+1"\n'}, {"id": 2, "text": None}]), JsonLines())
    assert content == '{"id":1,"text":"é \\"=1+1\\"\\n"}\n{"id":2,"text":null}\n'.encode()


def test_rows_without_names_are_arrays() -> None:
    """Of any length."""
    assert lines([(1, "a"), (2,), ()]) == [[1, "a"], [2], []]
    assert lines([]) == []


def test_the_names_are_those_for_programs() -> None:
    """Not the headings, which may be translated, and name a zone."""

    items = Items([{"at": NOON}], columns={"at": "Zeit"})
    assert written(items, JsonLines(), ZURICH) == b'{"at":"2024-07-01T14:00:00+02:00"}\n'


@pytest.mark.parametrize(
    ("value", "line"),
    [
        (2**64 + 1, "18446744073709551617"),
        (-(10**30), "-1" + "0" * 30),
        (0.1, "0.1"),
        (math.nan, "null"),
        (-math.inf, "null"),
        (Decimal("1E+5"), '"100000"'),
        (Decimal("1.50"), '"1.50"'),
        (Decimal("NaN"), '"NaN"'),
        (True, "true"),
        (date(99, 1, 1), '"0099-01-01"'),
        (NOON, '"2024-07-01T14:00:00+02:00"'),
        (NOON.replace(tzinfo=None, microsecond=500), '"2024-07-01T12:00:00.000500"'),
        (datetime(1890, 1, 1, tzinfo=UTC), '"1890-01-01T00:29:46+00:29:46"'),
        (datetime.max.replace(tzinfo=UTC), '"9999-12-31T23:59:59.999999Z"'),
        (Moment(2024, 7, 1, 12, tzinfo=UTC), '"2024-07-01T14:00:00+02:00"'),
        (time(12, 30), '"12:30:00"'),
        (time(12, 30, tzinfo=timezone(timedelta(seconds=2048))), '"12:30:00+00:34:08"'),
        (timedelta(hours=26, seconds=4.5), '"P1DT7204.5S"'),
        (Length(seconds=-1), '"-PT1S"'),
        (UUID(int=1), '"00000000-0000-0000-0000-000000000001"'),
        (b"\x00\xff", '"AP8="'),
        (memoryview(b"a"), '"YQ=="'),
        (Colour.RED, '"red"'),
        (Colour.PAID, '"1.50"'),
        (Name("=1"), '"=1"'),
        (Money(), '"12 CHF"'),
        (Point(1, Decimal("2.0")), '[1,"2.0"]'),
        ({"k": [1, NOON, {1: math.nan}]}, '{"k":[1,"2024-07-01T14:00:00+02:00",{"1":null}]}'),
    ],
)  # fmt: skip
def test_each_kind_of_value_has_one_form(value: Any, line: str) -> None:
    """Numbers are numbers where JSON has them, whatever their size; Decimals are texts; times have their offset."""
    assert written(Items([(value,)]), JsonLines(), ZURICH).decode() == f"[{line}]\n"
    assert written(Items([(value,), (None,), (Money(),)]), JsonLines(), ZURICH).decode().startswith(f"[{line}]\n")


@given(st.lists(st.tuples(values, values, values), max_size=5), zones)
def test_a_column_is_written_as_each_of_its_values_is(rows: list[Any], zone: tzinfo) -> None:
    """Whatever the column's other values are."""
    one_by_one = msgspec.json.Encoder().encode_lines([list(map(JsonValues(zone), row)) for row in rows])
    assert written(Items(rows), JsonLines(), zone) == one_by_one
    names = ("a", 'b"', "c")
    named = [dict(zip(names, json.loads(line), strict=True)) for line in one_by_one.splitlines()]
    assert lines(rows, names, zone) == named
    assert lines(rows, ("a", "b", "c"), zone) == [dict(zip("abc", row.values(), strict=True)) for row in named]


@given(st.lists(st.tuples(natural, natural), max_size=5))
def test_what_json_has_reads_back_as_it_was(rows: list[Any]) -> None:
    """Numbers and texts, lists and objects."""
    assert lines(rows) == [list(row) for row in rows]


@given(st.lists(naive, min_size=1), zones)
def test_an_aware_time_stays_the_same_moment(moments: list[datetime], zone: tzinfo) -> None:
    """In any zone, at the ends of the calendar, on the days when clocks change."""
    aware = [moment.replace(tzinfo=UTC) for moment in moments]
    read = [datetime.fromisoformat(value) for [value] in lines([(moment,) for moment in aware], zone=zone)]
    assert [value - NOON for value in read] == [moment - NOON for moment in aware]


def test_an_integer_of_any_size_is_written_whole() -> None:
    """Python itself refuses to write integers of more than 4,300 digits."""
    assert written(Items([(-(10**5000), [10**5000])]), JsonLines()).decode() == f"[-1{'0' * 5000},[1{'0' * 5000}]]\n"


def test_two_columns_of_one_name_are_refused() -> None:
    """An object has one value for a name: the other would be lost."""
    with pytest.raises(ImproperlyConfigured, match="JSON Lines needs a name of its own for each column: 'a'"):
        written(Items([(1, 2)], columns=("a", "a")), JsonLines())


@pytest.mark.parametrize("row", [(1,), (1, 2, 3), ()])
def test_a_row_of_another_length_than_its_names_is_refused(row: Any) -> None:
    """Which value is whose nobody could tell."""
    with pytest.raises(UnwritableValue) as refused:
        written(Items([(1, 2), row], columns=("a", "b")), JsonLines())
    assert refused.value.row == 2


@pytest.mark.parametrize("value", ["half \ud83d", ["\ud83d"], {"\ud83d": 1}])
def test_a_text_that_is_no_unicode_is_refused_by_row_and_column(value: Any) -> None:
    """Also within lists and objects."""
    rows = ((number, value if number == BATCH + 5 else "whole") for number in range(1, 2 * BATCH))
    with pytest.raises(UnwritableValue) as refused:
        written(Items(rows, columns=("id", "text")), JsonLines())
    assert str(refused.value) == "A text is not valid Unicode (row 2,005, column text)."


def test_a_name_that_is_no_unicode_is_refused() -> None:
    """As values are."""
    with pytest.raises(UnwritableValue, match="A heading is not valid Unicode"):
        written(Items([(1,)], columns=("\ud800",)), JsonLines())
