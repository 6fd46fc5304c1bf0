"""Our workbooks beside XlsxWriter's of the same rows, and the packages that they are in."""

from __future__ import annotations

import io
import math
import shutil
import struct
import subprocess
import zipfile
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import openpyxl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bgtasks.formats.workbook import workbook
from bgtasks.formats.xlsx import EXACT_INTEGERS, Xlsx
from bgtasks.formats.xlsx import sheets as sheets_module
from bgtasks.items import Items
from tests.formats.packages import checked
from tests.support.services import missing

ZURICH = ZoneInfo("Europe/Zurich")
FIRST = datetime(1900, 3, 1)  # noqa: DTZ001 - Excel's times have no zone


def ours(rows: Sequence[Any], headings: Sequence[str]) -> io.BytesIO:
    """A workbook by our own writer."""
    buffer = io.BytesIO()
    Xlsx().write(Items(rows, columns=headings), buffer, ZURICH)
    return buffer


def theirs(rows: Sequence[Any], headings: Sequence[str]) -> io.BytesIO:
    """The same by XlsxWriter, as its documentation has it."""
    buffer = io.BytesIO()
    with workbook(buffer) as book:
        sheet = book.add_worksheet("Sheet1")
        shapes = {
            datetime: "yyyy-mm-dd hh:mm:ss",
            date: "yyyy-mm-dd",
            time: "hh:mm:ss",
            timedelta: "[hh]:mm:ss",
        }
        formats = {kind: book.add_format({"num_format": shape}) for kind, shape in shapes.items()}
        write: dict[type, Callable[..., Any]] = {
            str: sheet.write_string,
            int: sheet.write_number,
            float: sheet.write_number,
            bool: sheet.write_boolean,
            **dict.fromkeys(shapes, sheet.write_datetime),
        }
        sheet.freeze_panes(1, 0)
        for column, heading in enumerate(headings):
            sheet.write_string(0, column, heading, book.add_format({"bold": True, "bottom": 1}))
        for number, row in enumerate(rows, 1):
            for column, value in enumerate(row):
                if value is not None:
                    write[type(value)](number, column, local(value), *filter(None, [formats.get(type(value))]))
    return buffer


def local(value: Any) -> Any:
    """A time as the clocks of Zurich show it."""
    aware = isinstance(value, datetime) and value.tzinfo is not None
    return value.astimezone(ZURICH).replace(tzinfo=None) if aware else value


def shown(buffer: io.BytesIO) -> list[Any]:
    """All that a reader of a workbook makes of its cells."""
    sheet = openpyxl.load_workbook(buffer).active
    assert sheet is not None
    cells = [
        (cell.coordinate, cell.value, cell.data_type, cell.number_format, cell.font.b, cell.border.bottom.style)
        for row in sheet.iter_rows()
        for cell in row
    ]
    return [sheet.title, sheet.freeze_panes, *cells]


def whole(moment: datetime) -> datetime:
    """To the millisecond, as Excel shows it: what is finer is rounded by whoever reads it."""
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


texts = st.text(st.characters(exclude_categories=["Cs"])).filter(lambda text: text == text.strip() or "\r" not in text)
columns = st.tuples(
    st.integers(-EXACT_INTEGERS, EXACT_INTEGERS),
    st.datetimes(FIRST + timedelta(days=1), timezones=st.just(UTC)).map(whole),
    st.datetimes(FIRST).map(whole),
    st.dates(FIRST.date()),
    st.times().map(lambda clock: clock.replace(microsecond=clock.microsecond // 1000 * 1000)),
    st.timedeltas(timedelta(), timedelta(days=9999)).map(lambda span: timedelta(span.days, span.seconds)),
    texts,
    st.booleans(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.none() | texts,
    st.none() | st.booleans() | st.integers(-1000, 1000) | texts,
)
HEADINGS = ("id", "at", "naive", "day", "clock", "span", "text", "yes", "float", "note", "any")
ODD = "=SUM(1;1) _x0041_ \x01 <r>&</r> 山田太郎 🙂 \ufffe "


@settings(max_examples=60)
@given(st.lists(columns, min_size=1, max_size=8))
@example(
    [(1, datetime(2024, 7, 1, 12, tzinfo=UTC), FIRST, FIRST.date(), time(), timedelta(), ODD, True, 0.1, None, ODD)]
)
def test_each_cell_is_as_xlsxwriter_writes_it(rows: list[Any]) -> None:
    """Its value, its type, how it is shown; the headings and that they stay in sight."""
    named = [name if name != "at" else "at (Europe/Zurich)" for name in HEADINGS]
    assert shown(ours(rows, HEADINGS)) == shown(theirs(rows, named))


NAMES = ("Zoë Müller", "山田太郎", 'O\'Brien, "Aoife"', "😀", "two\nlines", " blanks ", "=1+1", "<b>&amp;", "_x0041_")


def test_many_rows_are_as_xlsxwriter_writes_them() -> None:
    """More than are made at once, over a change of the clocks; a Decimal is written as text."""
    rows = [
        (
            number,
            datetime(2023, 12, 1, tzinfo=UTC) + timedelta(hours=number, milliseconds=number),
            f"{NAMES[number % len(NAMES)]}{number % 3 or ''}",
            number % 7 != 0,
            Decimal(number) / 100,
            None if number % 5 else NAMES[number % len(NAMES)],
        )
        for number in range(4000)
    ]
    plain = [(*row[:4], format(row[4], "f"), row[5]) for row in rows]
    headings = ("id", "at", "name", "succeeded", "amount", "note")
    assert shown(ours(rows, headings)) == shown(theirs(plain, [headings[0], "at (Europe/Zurich)", *headings[2:]]))


# -- the package -----------------------------------------------------------------------------------


@settings(max_examples=40)
@given(
    st.lists(st.lists(st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.dates(), max_size=30))
)
def test_a_package_is_well_formed(rows: list[Any]) -> None:
    """Whatever is in it, programs need not mend it."""
    encodable = [
        [value if not isinstance(value, str) else value.encode(errors="replace").decode() for value in row]
        for row in rows
    ]
    checked(ours(encodable, ("a", "<b>", "&")))


def test_a_package_of_several_sheets_is_well_formed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is found by its relationship."""
    monkeypatch.setattr(sheets_module, "SHEET_ROWS", 10)
    checked(ours([(number, None, "x") for number in range(95)], ("a", "b", "c")))


def test_a_wide_package_is_well_formed() -> None:
    """Up to the last column, XFD."""
    checked(ours([range(16_384)] * 3, [f"c{number}" for number in range(16_384)]))


def test_both_headers_of_an_entry_agree() -> None:
    """Excel compares them, and needs no ZIP64 to read them."""
    data = ours([(1, "x")], ("a", "b")).getvalue()
    for entry in zipfile.ZipFile(io.BytesIO(data)).infolist():
        version, flags, method = struct.unpack_from("<HHH", data, entry.header_offset + 4)
        assert (version, flags, method) == (entry.extract_version, entry.flag_bits, entry.compress_type)
        assert (entry.extract_version, entry.extra) == (20, b"")


def test_other_programs_unpack_it(tmp_path: Path) -> None:
    """Info-ZIP finds no fault."""
    (tmp_path / "a.xlsx").write_bytes(ours([(math.pi, "x")] * 3000, ("a", "b")).getvalue())
    if not shutil.which("unzip"):
        missing("unzip")
    tested = subprocess.run(["unzip", "-t", tmp_path / "a.xlsx"], capture_output=True, text=True, check=False)
    assert tested.returncode == 0, tested.stdout + tested.stderr
