"""Excel workbooks, streamed.

What Excel can't hold is refused or written as text, never cut or dropped.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, tzinfo
from typing import BinaryIO, ClassVar

from bgtasks.errors import ImproperlyConfigured
from bgtasks.formats.archive import Archive
from bgtasks.formats.xlsx import parts
from bgtasks.formats.xlsx.cells import EXACT_INTEGERS
from bgtasks.formats.xlsx.sheets import FIRST_NAME, SHEET_COLUMNS, SHEET_ROWS, Sheets
from bgtasks.formats.xlsx.texts import CELL_CHARACTERS
from bgtasks.items import Items

__all__ = ["CELL_CHARACTERS", "EXACT_INTEGERS", "SHEET_COLUMNS", "SHEET_ROWS", "Xlsx"]

_SHEET_NAME = re.compile(r"(?!')[^\[\]:*?/\\\x00-\x1f\ud800-\udfff\ufffe\uffff]{1,31}(?<!')")


@dataclass(frozen=True)
class Xlsx:
    """A workbook with a frozen heading row. Where a sheet is full, after 1,048,576 rows, the next one goes on."""

    name: ClassVar[str] = "xlsx"
    content_type: ClassVar[str] = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
    suffix: ClassVar[str] = ".xlsx"
    max_rows: ClassVar[int | None] = None

    #: The first sheet's name: at most 31 characters, none of them ``[]:*?/\``, no apostrophe at either end.
    sheet: str = FIRST_NAME

    def __post_init__(self) -> None:
        if not _SHEET_NAME.fullmatch(self.sheet):
            raise ImproperlyConfigured(f"Excel does not take {self.sheet[:100]!r} as the name of a sheet")

    def write(self, items: Items, buffer: BinaryIO, zone: tzinfo = UTC) -> None:
        """Stream the items. Raises: UnwritableValue."""
        with items.open() as rows:
            archive = Archive(buffer)
            parts.begin(archive)
            sheets = Sheets(archive, self.sheet, zone, rows)
            sheets.write()
            parts.end(archive, sheets.names)
