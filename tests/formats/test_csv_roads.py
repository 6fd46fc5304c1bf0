"""CSV is the same, byte for byte, on whichever road its rows come, and is what ``csv.writer`` makes of their cells."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from bgtasks.formats.cells import Cells, neutralised, unchanged, zone_name
from bgtasks.formats.csv import Csv
from bgtasks.items import Items
from tests.formats.roads import TYPES, Given, tables, texts, written, zones

forms = st.builds(
    Csv, delimiter=st.sampled_from(",;\t|é'="), bom=st.booleans(), header=st.booleans(), neutralise=st.booleans()
)

#: What a row may hold, whichever row above it held something else.
values = st.none() | st.one_of([kind.values for kind in TYPES]) | st.integers() | st.just(10**5000)


def as_csv_writer_has_it(rows: Any, form: Csv, zone: tzinfo = UTC, headings: tuple[str, ...] = ()) -> bytes:
    """Cell by cell, the slow way."""
    text = neutralised if form.neutralise else unchanged
    page = io.StringIO(newline="")
    writer = csv.writer(page, delimiter=form.delimiter, lineterminator="\r\n")
    if headings and form.header:
        writer.writerow(map(text, headings))
    writer.writerows(map(Cells(zone, text), row) for row in rows)
    return (("\ufeff" if form.bom else "") + page.getvalue()).encode()


def headings(table: Given, zone: tzinfo) -> tuple[str, ...]:
    """Those of times name the zone that was chosen."""
    with table.items("arrow").open_arrow() as rows:
        assert rows is not None
        return rows.headings(None if zone is UTC else zone_name(zone))


@given(tables(), forms, zones)
def test_both_roads_write_what_csv_writer_would(table: Given, form: Csv, zone: tzinfo) -> None:
    """Of every type, in every zone, wherever Arrow's batches are cut."""
    expected = as_csv_writer_has_it(table.rows, form, zone, headings(table, zone))
    assert written(table.items("tuples"), form, zone) == expected
    assert written(table.items("arrow"), form, zone) == expected


@given(st.lists(st.lists(values, max_size=3), max_size=5), st.sampled_from(",;.-1 e:T\\"), zones)
def test_rows_of_any_values_are_written_as_csv_writer_would(rows: list[Any], delimiter: str, zone: tzinfo) -> None:
    """Columns of mixed types, rows of different lengths, delimiters that numbers and dates have in them."""
    form = Csv(delimiter=delimiter)
    assert written(Items(rows), form, zone) == as_csv_writer_has_it(rows, form, zone)


@given(st.integers(1, 3).flatmap(lambda width: st.lists(st.tuples(*[values] * width))), st.sampled_from(",.-1 e:T\\"))
def test_the_same_of_rows_of_one_length(rows: list[Any], delimiter: str) -> None:
    """Which are written column by column."""
    assert written(Items(rows), Csv(delimiter=delimiter)) == as_csv_writer_has_it(rows, Csv(delimiter=delimiter))


@given(st.lists(st.tuples(texts, texts)), forms)
def test_what_is_read_back_is_what_was_written(rows: list[tuple[str, str]], form: Csv) -> None:
    """By a reader that knows the delimiter."""
    content = written(Items(rows), form).decode("utf-8-sig" if form.bom else "utf-8")
    text = neutralised if form.neutralise else unchanged
    read = list(csv.reader(io.StringIO(content, newline=""), delimiter=form.delimiter))
    assert read == [[text(cell) for cell in row] for row in rows]


@given(zones, st.datetimes(datetime(1880, 1, 1), datetime(2040, 1, 1)), st.integers(1, 400))  # noqa: DTZ001
def test_the_hours_around_a_change_of_the_clock_are_right(zone: tzinfo, start: datetime, days: int) -> None:
    """An offset is asked for once a day; on the days of its changes, once a row."""
    moments = [(start.replace(tzinfo=UTC) + timedelta(days=days * hour / 24 / 50),) for hour in range(0, 24 * 50, 37)]
    [moment] = [kind for kind in TYPES if kind.kind == "moment"]
    table = Given(("at",), (moment,), moments)
    expected = as_csv_writer_has_it(moments, Csv(header=False), zone)
    assert written(table.items("tuples"), Csv(header=False), zone) == expected
    assert written(table.items("arrow"), Csv(header=False), zone) == expected


def test_a_number_out_of_arrows_hands_is_written_by_python() -> None:
    """Where Arrow would write another text for the same number."""
    [float_] = [kind for kind in TYPES if kind.kind == "float"]
    numbers = [0.0, -0.0, 1e-4, 9.9e-5, 1e10, 9999999999.5, 1e15, 1e16, 5e-324, 123456789.0, -1.5, 1e22, 0.1 + 0.2]
    table = Given(("n",), (float_,), [(number,) for number in numbers])
    assert written(table.items("arrow"), Csv(header=False)).decode().split() == list(map(repr, numbers))
