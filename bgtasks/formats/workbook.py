"""Rich workbooks (charts, merged cells, several sheets) by XlsxWriter, mended where it would change a value.

For rows alone there is ``bgtasks.formats.xlsx``, which is several times as fast and needs no extra.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

from bgtasks.errors import Sentence, UnwritableValue
from bgtasks.extras import imported_with
from bgtasks.formats.xlsx.sheets import SHEET_COLUMNS, SHEET_ROWS
from bgtasks.formats.xlsx.texts import ESCAPED, TOO_LONG

with imported_with("xlsx"):
    import xlsxwriter
    from xlsxwriter.utility import xl_col_to_name
    from xlsxwriter.worksheet import Worksheet

#: XlsxWriter's own answers, which are easily missed.
_CUT = -2
_OUT_OF_BOUNDS = -1

_OUTSIDE = Sentence(
    "An Excel sheet has %(rows)s rows and %(columns)s columns and no more",
    {"rows": SHEET_ROWS, "columns": SHEET_COLUMNS},
)


@contextmanager
def workbook(buffer: BinaryIO) -> Iterator[ExactWorkbook]:
    """A workbook to fill, which is written into a binary file at the end of the block; nothing, if that fails.

    The rows of a sheet are to be written in their order: they wait on the disk and not in memory.
    """
    # In a folder of their own, so that nothing is left behind.
    with tempfile.TemporaryDirectory(prefix="bgtasks-xlsx-") as folder:
        book = ExactWorkbook(buffer, folder)
        try:
            yield book
            book.close()
        finally:
            book.let_go()


class ExactWorksheet(Worksheet):
    """A sheet whose texts and numbers read back as they were, and that loses none.

    These methods are XlsxWriter's own; the tests read every kind of value back.
    """

    fh: Any

    @staticmethod
    def _escape_control_characters(data: Any) -> str:
        # ECMA-376, 22.9.2.19. XlsxWriter misses escapes that touch each other.
        return ESCAPED.sub(lambda found: f"_x{ord(found[0]):04X}_", str(data))

    def _xml_rich_inline_string(self, string: str, attributes: Any = ()) -> None:
        # XlsxWriter takes a text like "<r>…</r>" for markup of its own, and puts it into the XML unescaped.
        self._xml_inline_string(string, False, attributes)

    def _xml_number_element(self, number: float, attributes: Any = ()) -> None:
        # XlsxWriter writes sixteen digits, and some doubles need seventeen.
        shown = "".join(f' {key}="{value}"' for key, value in attributes)
        self.fh.write(f"<c{shown}><v>{number!r}</v></c>")

    def _write_string(self, row: int, col: int, string: str, cell_format: Any = None) -> Any:
        # XlsxWriter cuts what is too long.
        if super()._write_string(row, col, string, cell_format) == _CUT:
            raise UnwritableValue(TOO_LONG, row=row + 1, column=xl_col_to_name(col))
        return 0

    def _check_dimensions(self, row: int, col: int, ignore_row: Any = False, ignore_col: Any = False) -> int:
        # XlsxWriter drops such a cell.
        refusal = super()._check_dimensions(row, col, ignore_row, ignore_col)
        if refusal == _OUT_OF_BOUNDS:
            raise UnwritableValue(_OUTSIDE, row=row + 1, column=xl_col_to_name(max(col, 0)))
        if refusal:
            raise ValueError(f"row {row} is written already: the rows of a sheet are written in their order")
        return 0


class ExactWorkbook(xlsxwriter.Workbook):
    """A workbook of such sheets, streamed into a file that need not seek.

    :param folder: where the rows wait until the workbook is assembled.
    """

    worksheet_class = ExactWorksheet

    def __init__(self, buffer: Any, folder: str) -> None:
        super().__init__(buffer, {"constant_memory": True, "tmpdir": folder})
        self.use_zip64()  # only a sheet of more than 2 GiB makes a difference: it would be refused

    def let_go(self) -> None:
        """Close the files in which rows are still waiting."""
        for sheet in self.worksheets():
            waiting: Any = sheet.row_data_fh
            waiting.close()
