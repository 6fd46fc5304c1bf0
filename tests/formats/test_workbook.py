"""Rich workbooks by XlsxWriter, read back by openpyxl."""

from __future__ import annotations

import io
import re
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from bgtasks.errors import UnwritableValue
from bgtasks.formats.workbook import workbook
from bgtasks.formats.xlsx import CELL_CHARACTERS, SHEET_COLUMNS, SHEET_ROWS


@pytest.fixture(autouse=True)
def temp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for temporary files, which is empty again at the end, however a test has ended."""
    folder = tmp_path / "temp"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert list(folder.iterdir()) == []


class Unseekable(io.RawIOBase):
    """A file as the store's."""

    def __init__(self) -> None:
        self.written = b""

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.written += bytes(data)
        return len(data)


def decoded(text: str) -> str:
    """What Excel reads (ECMA-376, 22.9.2.19), which openpyxl leaves to its callers."""
    return re.sub("_x([0-9A-Fa-f]{4})_", lambda found: chr(int(found[1], 16)), text)


def test_a_workbook_has_what_rows_alone_have_not() -> None:
    """Several sheets, merged cells and a chart, into a file that can't seek."""
    buffer = Unseekable()
    with workbook(buffer) as book:
        sales = book.add_worksheet("Sales")
        sales.merge_range("A1:B1", "Sales by month", book.add_format({"bold": True}))
        for row, (month, amount) in enumerate([("May", 3), ("June", 5)], 1):
            sales.write_row(row, 0, [month, amount])
        chart = book.add_chart({"type": "column"})
        chart.add_series({"categories": "=Sales!$A$2:$A$3", "values": "=Sales!$B$2:$B$3"})
        book.add_worksheet("Chart").insert_chart("A1", chart)
    read = openpyxl.load_workbook(io.BytesIO(buffer.written))
    assert read.sheetnames == ["Sales", "Chart"]
    assert list(read["Sales"].iter_rows(min_row=2, values_only=True)) == [("May", 3), ("June", 5)]
    assert [str(merged) for merged in read["Sales"].merged_cells.ranges] == ["A1:B1"]
    assert "xl/charts/chart1.xml" in zipfile.ZipFile(io.BytesIO(buffer.written)).namelist()


@pytest.mark.parametrize("text", ["_x0041_x0042_", "<r>&<t></r>", "<r><t>x</t></r>", "_x0041\x01", "\r\n", " x "])
def test_a_text_reads_back_as_it_was(text: str) -> None:
    """Also where XlsxWriter takes it for markup of its own."""
    assert decoded(cell("write_string", text)) == text


@pytest.mark.parametrize("number", [0.1 + 0.2, 5e-324, 2**53, -1.7976931348623157e308])
def test_a_number_reads_back_as_the_same(number: float) -> None:
    """To its last digit."""
    assert cell("write_number", number) == number


def cell(method: str, value: Any) -> Any:
    """What one value is read back as."""
    buffer = io.BytesIO()
    with workbook(buffer) as book:
        getattr(book.add_worksheet(), method)(0, 0, value)
    return openpyxl.load_workbook(buffer).worksheets[0]["A1"].value


@pytest.mark.parametrize(
    ("row", "column", "value", "said"),
    [
        (SHEET_ROWS, 0, "x", r"1,048,576 rows and 16,384 columns and no more \(row 1,048,577, column A\)"),
        (0, SHEET_COLUMNS, 1, r"1,048,576 rows and 16,384 columns and no more \(row 1, column XFE\)"),
        (1, 1, "x" * (CELL_CHARACTERS + 1), r"32,767 characters .* \(row 2, column B\)"),
    ],
)
def test_what_xlsxwriter_would_drop_or_cut_is_refused(row: int, column: int, value: Any, said: str) -> None:
    """It returns a number, and goes on."""
    buffer = io.BytesIO()
    with pytest.raises(UnwritableValue, match=said), workbook(buffer) as book:
        book.add_worksheet().write(row, column, value)
    assert buffer.getvalue() == b""


def test_a_row_that_is_written_already_is_refused() -> None:
    """Rows wait on the disk: XlsxWriter would drop what comes too late."""
    with pytest.raises(ValueError, match="in their order"), workbook(io.BytesIO()) as book:
        sheet = book.add_worksheet()
        sheet.write(1, 0, "x")
        sheet.write(0, 0, "x")


def test_what_fails_leaves_nothing_behind(temp: Path) -> None:
    """Neither a file in the temporary folder nor half a workbook in the buffer."""
    buffer = io.BytesIO()
    with pytest.raises(RuntimeError, match="gone"), workbook(buffer) as book:
        book.add_worksheet().write(0, 0, "x")
        assert list(temp.iterdir()) != []  # this is where the rows wait
        raise RuntimeError("the source is gone")
    assert buffer.getvalue() == b""


def test_a_missing_xlsxwriter_is_said_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra is named."""
    monkeypatch.setitem(sys.modules, "xlsxwriter", None)
    monkeypatch.delitem(sys.modules, "bgtasks.formats.workbook")
    with pytest.raises(ModuleNotFoundError, match=r"xlsxwriter is not installed: .*celery-bgtasks\[xlsx\]"):
        import bgtasks.formats.workbook  # noqa: F401
