"""Workbooks, read back by openpyxl."""

from __future__ import annotations

import io
import itertools
import math
import re
import zipfile
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, IntEnum
from pathlib import Path
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import openpyxl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from openpyxl.worksheet.worksheet import Worksheet

from bgtasks.errors import ImproperlyConfigured, UnwritableValue
from bgtasks.formats import Format, resolve
from bgtasks.formats.xlsx import CELL_CHARACTERS, EXACT_INTEGERS, SHEET_COLUMNS, SHEET_ROWS, Xlsx
from bgtasks.formats.xlsx import sheets as sheets_module
from bgtasks.formats.xlsx.cells import ColumnCells, joined
from bgtasks.items import Items
from bgtasks.stores import Store

ZURICH = ZoneInfo("Europe/Zurich")


class Colour(Enum):
    RED = "red"
    TWO = 2


class Level(IntEnum):
    HIGH = 3


class Name(str):
    __slots__ = ()


class Moment(datetime):
    pass


class Count(int):
    def __repr__(self) -> str:
        return "a count"


def written(source: Any, columns: Any = None, form: Format | None = None, **options: Any) -> io.BytesIO:
    """The bytes of a workbook."""
    buffer = io.BytesIO()
    (form or Xlsx()).write(Items(source, columns=columns), buffer, **options)
    return buffer


def sheet(*args: Any, **options: Any) -> Worksheet:
    """A workbook's sheet as openpyxl reads it."""
    read = openpyxl.load_workbook(written(*args, **options)).active
    assert isinstance(read, Worksheet)
    return read


def cell(value: Any, **options: Any) -> Any:
    """What one value is read back as."""
    return sheet([(value, "end")], **options)["A1"]


def column_a(values: list[Any]) -> list[Any]:
    """What many values are read back as."""
    return [read for read, _ in sheet([(value, "end") for value in values]).iter_rows(values_only=True)]


def at(*parts: int) -> datetime:
    """A time as a cell has it."""
    return datetime(*parts)  # type: ignore[arg-type]  # noqa: DTZ001 - without a zone


def decoded(text: str) -> str:
    """What Excel reads (ECMA-376, 22.9.2.19), which openpyxl leaves to its callers."""
    return re.sub("_x([0-9A-Fa-f]{4})_", lambda found: chr(int(found[1], 16)), text)


def test_the_name_chooses_it() -> None:
    """``xlsx`` is this format with its default options, and says what it holds."""
    assert resolve("xlsx") == Xlsx()
    assert isinstance(Xlsx(), Format)
    assert (Xlsx.suffix, Xlsx.max_rows) == (".xlsx", None)


@pytest.mark.parametrize(
    ("value", "expected", "kind"),
    [
        (None, None, "n"),
        (True, True, "b"),
        (False, False, "b"),
        (0, 0, "n"),
        (-1, -1, "n"),
        (EXACT_INTEGERS, EXACT_INTEGERS, "n"),
        (-EXACT_INTEGERS, -EXACT_INTEGERS, "n"),
        (Count(7), 7, "n"),
        (Level.HIGH, 3, "n"),
        (Colour.TWO, 2, "n"),
        (1.5, 1.5, "n"),
        (0.1 + 0.2, 0.1 + 0.2, "n"),
        (date(2024, 2, 29), at(2024, 2, 29), "d"),
        (date(1900, 3, 1), at(1900, 3, 1), "d"),
        (date.max, at(9999, 12, 31), "d"),
        (at(2024, 2, 29, 12, 30, 1), at(2024, 2, 29, 12, 30, 1), "d"),
        (at(9999, 12, 31, 23, 59, 59, 999_999), at(9999, 12, 31, 23, 59, 59, 999_000), "d"),
        (datetime(2024, 7, 1, 12, tzinfo=UTC), at(2024, 7, 1, 14), "d"),
        (Moment(2024, 7, 1, 12, tzinfo=UTC), at(2024, 7, 1, 14), "d"),
        (datetime(2023, 12, 31, 23, 30, tzinfo=UTC), at(2024, 1, 1, 0, 30), "d"),
        (time(12, 30), time(12, 30), "d"),
        (timedelta(hours=26, minutes=3), timedelta(hours=26, minutes=3), "d"),
        (Colour.RED, "red", "s"),
        (Name("text"), "text", "s"),
    ],
)  # fmt: skip
def test_a_value_that_excel_knows_keeps_its_type(value: Any, expected: Any, kind: str) -> None:
    """Numbers are numbers, dates dates, times local; an enum is its value, a subclass what its base is."""
    read = cell(value, zone=ZURICH)
    assert (read.value, read.data_type) == (expected, kind)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (EXACT_INTEGERS + 1, "9007199254740993"),
        (-EXACT_INTEGERS - 1, "-9007199254740993"),
        pytest.param(10**5000, "1" + "0" * 5000, id="5001 digits"),
        (Decimal("1.50"), "1.50"),
        (Decimal("1E+3"), "1000"),
        (math.nan, "NaN"),
        (math.inf, "Infinity"),
        (-math.inf, "-Infinity"),
        (date(1900, 2, 28), "1900-02-28"),
        (at(1899, 12, 31, 1), "1899-12-31 01:00:00"),
        (datetime(1800, 1, 1, tzinfo=UTC), "1800-01-01 00:34:08+00:34:08"),
        (at(1, 1, 1), "0001-01-01 00:00:00"),
        (time(12, 30, tzinfo=UTC), "12:30:00+00:00"),
        (timedelta(seconds=-1), "-0:00:01"),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (b"\x00\xff", "\\x00ff"),
        ([1, {"k": None}], '[1, {"k": null}]'),
    ],
)  # fmt: skip
def test_what_excel_would_change_is_written_as_text(value: Any, expected: str) -> None:
    """Large integers, Decimals, dates before March 1900: exact, if not a number."""
    read = cell(value, zone=ZURICH)
    assert (read.value, read.data_type) == (expected, "s")


numbers = st.integers(-EXACT_INTEGERS, EXACT_INTEGERS) | st.floats(allow_nan=False, allow_infinity=False)


@settings(max_examples=25)
@given(st.lists(numbers, min_size=1))
@example([0.1 + 0.2, 5e-324, -1.7976931348623157e308])
def test_a_number_reads_back_as_the_same(written_numbers: list[float]) -> None:
    """To the last of its seventeen digits."""
    assert column_a(written_numbers) == written_numbers


@pytest.mark.parametrize(
    "text",
    [
        "=1+1",
        "=cmd|' /C calc'!A0",
        "{=1}",
        "+1",
        "-1",
        "@x",
        "http://example.com/",
        "mailto:a@b.c",
        "1",
        "true",
        "#N/A",
    ],
)
def test_a_text_stays_a_text(text: str) -> None:
    """No formula, no link, no number is made of a string, nor is a character put before it."""
    read = cell(text)
    assert (read.value, read.data_type, read.hyperlink) == (text, "s", None)


texts = (
    st.text(st.characters(exclude_categories=["Cs"]))
    | st.text("_x0041F\x00\x0d\x1f\ufffe<>r/&; \t\n\"'", max_size=30)
    | st.from_regex(r"(_x[0-9a-fA-F]{4}_?|\x01|_){1,4}", fullmatch=True)
)


@settings(max_examples=25)
@given(st.lists(texts, min_size=1))
@example(["_x0041_", "_x0041_x0042_", "_x0041\x01", "_x005F_", "_x005f_x0041_", "_X0041_"])
@example(["<r>&<t></r>", "<r><t>x</t></r>", "&lt;", "]]>", " blanks ", "\t", "\n", "\r\n", "\ufffe\uffff"])
def test_a_text_reads_back_as_it_was(written_texts: list[str]) -> None:
    """Unicode, blanks at the ends, line ends, controls, markup, and what looks like an escape."""
    assert [decoded(read or "") for read in column_a(written_texts)] == written_texts


def test_headings_are_frozen_and_bold() -> None:
    """They come from the rows' own names, or from the file type."""
    read = sheet([{"=id": 1, "naïve": "x"}])
    assert list(read.iter_rows(values_only=True)) == [("=id", "naïve"), (1, "x")]
    assert (read.freeze_panes, read["A1"].data_type, read["A1"].font.b, read["A2"].font.b) == ("A2", "s", True, False)
    assert sheet([(1,)], ("n",))["A1"].value == "n"


def test_no_rows_make_a_workbook_of_headings() -> None:
    """An empty export is a file like any other, with names or without."""
    assert list(sheet([], ("a", "b")).iter_rows(values_only=True)) == [("a", "b")]
    assert list(sheet([]).iter_rows(values_only=True)) == []


def test_the_sheet_has_the_chosen_name() -> None:
    """The default is Excel's own."""
    assert sheet([(1,)]).title == "Sheet1"
    assert sheet([(1,)], form=Xlsx(sheet="Überblick")).title == "Überblick"


@pytest.mark.parametrize("name", ["", "a" * 32, "a/b", "[a]", "what?", "'a", "a'", "a\nb", "\ud83d", "\uffff"])
def test_a_name_that_excel_refuses_is_refused_when_it_is_declared(name: str) -> None:
    """A wrong option is said at once, not by a worker at night."""
    with pytest.raises(ImproperlyConfigured, match="name of a sheet"):
        Xlsx(sheet=name)


@pytest.mark.parametrize("text", ["x" * CELL_CHARACTERS, "ü" * CELL_CHARACTERS, "🙂" * (CELL_CHARACTERS // 2) + "x"])
def test_the_longest_text_is_written_whole(text: str) -> None:
    """32,767 characters, as Excel counts them: one beyond the basic plane is two."""
    assert cell(text).value == text


@pytest.mark.parametrize(
    "text", ["x" * (CELL_CHARACTERS + 1), "ü" * (CELL_CHARACTERS + 1), "🙂" * (CELL_CHARACTERS // 2 + 1), "\ud83d"]
)
def test_a_text_that_does_not_fit_is_refused_by_row_and_column(text: str) -> None:
    """Nothing is cut: whoever has to mend it is told where it is."""
    with pytest.raises(UnwritableValue) as refused:
        written([(1, "ok"), (2, text)], ("id", "note"))
    assert (refused.value.row, refused.value.column) == (2, "note")
    assert "(row 2, column note)" in str(refused.value)


def test_a_column_without_a_name_is_named_by_its_number() -> None:
    """Counted from 1."""
    with pytest.raises(UnwritableValue, match=r"32,767 characters .*\(row 1, column 3\)"):
        written([(1, 2, "x" * (CELL_CHARACTERS + 1))])


def test_a_heading_that_does_not_fit_is_refused() -> None:
    """A heading is no more cut than a cell is."""
    with pytest.raises(UnwritableValue, match=r"32,767 characters .*\(heading 2\)"):
        written([(1, 2)], ("a", "x" * (CELL_CHARACTERS + 1)))


@pytest.mark.parametrize("value", [1, None, "x", True])
def test_more_columns_than_a_sheet_has_are_refused(value: Any) -> None:
    """Even if those beyond are empty; the last one that fits is written."""
    written([[value] * SHEET_COLUMNS])
    with pytest.raises(UnwritableValue, match=r"16,384 columns and no more .*row 1, column 16385"):
        written([[value] * (SHEET_COLUMNS + 1)])


def test_more_headings_than_a_sheet_has_columns_are_refused() -> None:
    """Also where there are no rows."""
    with pytest.raises(UnwritableValue, match="16,384 columns and no more"):
        written([], [str(number) for number in range(SHEET_COLUMNS + 1)])


def sheets(*args: Any, **options: Any) -> dict[str, list[tuple[Any, ...]]]:
    """The rows of each of a workbook's sheets."""
    book = openpyxl.load_workbook(written(*args, **options))
    return {read.title: list(read.iter_rows(values_only=True)) for read in book.worksheets}


def test_rows_go_on_in_the_next_sheet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where one is full, in the middle of a batch too; each has the headings, and they stay in sight there."""
    monkeypatch.setattr(sheets_module, "SHEET_ROWS", 3)
    rows = [(number, "x") for number in range(5)]
    assert sheets(rows, ("n", "t")) == {
        "Sheet1": [("n", "t"), (0, "x"), (1, "x")],
        "Sheet2": [("n", "t"), (2, "x"), (3, "x")],
        "Sheet3": [("n", "t"), (4, "x")],
    }
    assert sheets(rows[:3]) == {"Sheet1": rows[:3]}
    assert sheets(rows[:4]) == {"Sheet1": rows[:3], "Sheet2": rows[3:4]}
    book = openpyxl.load_workbook(written(rows, ("n", "t")))
    assert [read.freeze_panes for read in book] == ["A2", "A2", "A2"]
    assert [read.sheet_view.tabSelected for read in book] == [True, None, None]


def test_a_sheet_ends_before_it_needs_zip64(monkeypatch: pytest.MonkeyPatch) -> None:
    """At 4 GiB, which not every reader of workbooks takes."""
    monkeypatch.setattr(sheets_module, "PAGE_CELLS", 10)
    monkeypatch.setattr(sheets_module, "SHEET_BYTES", 5000)
    rows = [(number, "x" * 50) for number in range(100)]
    split = sheets(rows, ("n", "t"))
    assert len(split) > 2
    assert [row for read in split.values() for row in read[1:]] == rows
    packed = zipfile.ZipFile(written(rows, ("n", "t")))
    assert all(entry.file_size <= 5100 for entry in packed.infolist() if "worksheets" in entry.filename)


def test_the_limit_is_excels() -> None:
    """1,048,576 rows, of which the heading is one. These rows have no cells, which makes them quick to write."""
    packed = zipfile.ZipFile(written(itertools.repeat((), SHEET_ROWS), ("n",)))
    assert packed.read("xl/worksheets/sheet1.xml").endswith(b'<row r="1048576"></row></sheetData></worksheet>')
    assert packed.read("xl/worksheets/sheet2.xml").endswith(b'</row><row r="2"></row></sheetData></worksheet>')


@pytest.mark.parametrize(
    ("name", "second"), [("Orders", "Orders (2)"), ("2026", "2026 (2)"), ("x" * 31, "x" * 27 + " (2)")]
)
def test_further_sheets_are_numbered(name: str, second: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Within the 31 characters of a name."""
    monkeypatch.setattr(sheets_module, "SHEET_ROWS", 1)
    assert list(sheets([(1,), (2,)], form=Xlsx(sheet=name))) == [name, second]


def test_a_row_beyond_the_first_sheet_is_named_by_its_number_in_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """And not by that in its sheet."""
    monkeypatch.setattr(sheets_module, "SHEET_ROWS", 3)
    with pytest.raises(UnwritableValue, match=r"\(row 6, column t\)"):
        written([*[("x",)] * 5, ("\ud83d",)], ("t",))


def test_the_first_fault_in_the_order_of_the_rows_is_told() -> None:
    """Whatever column it is in: cells are made column by column."""
    with pytest.raises(UnwritableValue, match=r"\(row 2, column 2\)"):
        written([("a", "a"), ("a", "\ud83d"), ("\ud83d", "a")])


def test_rows_may_have_different_numbers_of_cells() -> None:
    """None of them is moved, and none is lost."""
    assert sheets([(1,), (), (2, 3), (4, 5), (6,)], ("a", "b"))["Sheet1"] == [
        ("a", "b"), (1, None), (None, None), (2, 3), (4, 5), (6, None)
    ]  # fmt: skip


def test_rows_may_be_readable_only_once() -> None:
    """Any iterable is a row."""
    assert sheets((iter((number, "x")) for number in range(2)), ("a", "b"))["Sheet1"] == [
        ("a", "b"),
        (0, "x"),
        (1, "x"),
    ]


def test_columns_are_as_wide_as_what_they_hold() -> None:
    """By their headings and first rows, within bounds."""
    read = sheet(
        [("x" * 30, 1, at(2024, 2, 29, 12), date(2024, 2, 29), "y" * 500, None)], ("a", "id", "t", "d", "y", "z" * 20)
    )
    widths = [read.column_dimensions[letter].width for letter in "ABCDEF"]
    assert widths == [32, 9, 21, 12, 60, 22]


def test_the_same_rows_make_the_same_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whenever that is, whatever they come from, and however many come at once."""
    rows = [(number, "x" * (number % 50), at(2024, 1, 1, number % 24)) for number in range(6000)]
    first = written(rows, ("n", "t", "at")).getvalue()
    assert written(iter(rows), ("n", "t", "at")).getvalue() == first
    monkeypatch.setattr(sheets_module, "PAGE_CELLS", 100)
    assert written(rows, ("n", "t", "at")).getvalue() == first


def test_a_source_that_fails_leaves_half_a_workbook_which_is_none() -> None:
    """Nothing takes it for a whole one."""

    def rows() -> Iterator[tuple[str]]:
        for _ in range(5000):
            yield ("x" * 100,)
        raise RuntimeError("the source is gone")

    buffer = io.BytesIO()
    with pytest.raises(RuntimeError, match="the source is gone"):
        Xlsx().write(Items(rows()), buffer)
    assert not zipfile.is_zipfile(buffer)


def test_a_source_that_fails_at_once_has_written_nothing() -> None:
    """A response that has not begun can still tell what is wrong."""
    buffer = io.BytesIO()
    with pytest.raises(TypeError):
        Xlsx().write(Items([1]), buffer)
    assert buffer.getvalue() == b""


def test_it_streams_into_a_store(tmp_path: Path) -> None:
    """The store's files can't seek; the object is a whole workbook, and no temporary file stays."""
    store = Store("files", tmp_path)
    with store.open_writer("id/1") as buffer:
        Xlsx().write(Items([{"n": number, "text": "ü" * 50} for number in range(5000)]), buffer)  # type: ignore[arg-type]
        buffer.commit()
    content = b"".join(store.read("id/1"))
    assert len(content) == buffer.size
    assert zipfile.ZipFile(io.BytesIO(content)).testzip() is None
    read = openpyxl.load_workbook(io.BytesIO(content), read_only=True).active
    assert [*itertools.islice(read.iter_rows(values_only=True), 5000, 5002)] == [(4999, "ü" * 50)]


kinds = (
    st.booleans(),
    st.integers(-(2**60), 2**60),
    st.floats(),
    texts,
    st.decimals(),
    st.dates(),
    st.datetimes(),
    st.datetimes(timezones=st.sampled_from([UTC, ZURICH])),
    st.times(),
    st.timedeltas(),
    st.uuids(),
    st.binary(max_size=5),
    st.sampled_from([*Colour, *Level, Count(7), Name("x"), [1], {"a": 1}]),
)
columns = st.sampled_from(kinds).flatmap(lambda kind: st.lists(st.none() | kind, min_size=1, max_size=30))
mixed = st.lists(st.one_of(st.none(), *kinds), min_size=1, max_size=30)


@settings(max_examples=200)
@given(columns | mixed)
def test_a_cell_does_not_depend_on_its_neighbours(column: list[Any]) -> None:
    """A column is converted at once where its values are alike; the cells are those of each value alone."""
    made, numbers = ColumnCells(ZURICH), list(map(str, range(1, len(column) + 1)))
    alone = [joined(made([value], "A", [number]), 1) for value, number in zip(column, numbers, strict=True)]
    assert joined(made(column, "A", numbers), len(column)) == "".join(alone)
