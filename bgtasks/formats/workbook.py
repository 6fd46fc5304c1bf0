"""XlsxWriter, mended where it would change a value on its way into the file."""

from __future__ import annotations

import re
from typing import Any

import xlsxwriter
from xlsxwriter.worksheet import Worksheet

_ILLEGAL = "\\x00-\\x08\\x0b-\\x1f\\ufffe\\uffff"  # in XML; and CR, which a parser would make LF
#: What becomes ``_xHHHH_``: these characters, and an underscore that would be read as such an escape.
_ESCAPED = re.compile(f"[{_ILLEGAL}]|_(?=x[0-9A-Fa-f]{{4}}[_{_ILLEGAL}])")


class ExactWorksheet(Worksheet):
    """A sheet whose texts and numbers read back as they were.

    These methods are XlsxWriter's own; the tests read every kind of value back.
    """

    fh: Any

    @staticmethod
    def _escape_control_characters(data: Any) -> str:
        # ECMA-376, 22.9.2.19. XlsxWriter misses escapes that touch each other.
        return _ESCAPED.sub(lambda found: f"_x{ord(found[0]):04X}_", str(data))

    def _xml_rich_inline_string(self, string: str, attributes: Any = ()) -> None:
        # XlsxWriter takes a text like "<r>…</r>" for markup of its own, and puts it into the XML unescaped.
        self._xml_inline_string(string, False, attributes)

    def _xml_number_element(self, number: float, attributes: Any = ()) -> None:
        # XlsxWriter writes sixteen digits, and some doubles need seventeen.
        shown = "".join(f' {key}="{value}"' for key, value in attributes)
        self.fh.write(f"<c{shown}><v>{number!r}</v></c>")


class ExactWorkbook(xlsxwriter.Workbook):
    """A workbook of such sheets, streamed into a file that need not seek.

    :param folder: where the rows wait until the workbook is assembled.
    """

    worksheet_class = ExactWorksheet

    def __init__(self, buffer: Any, folder: str) -> None:
        super().__init__(buffer, {"constant_memory": True, "tmpdir": folder})
        self.use_zip64()  # only a sheet of more than 2 GiB makes a difference: it would be refused
