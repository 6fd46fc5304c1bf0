"""Excel workbooks, streamed through XlsxWriter's constant-memory mode.

What Excel can't hold is refused or written as text, never cut or dropped: XlsxWriter itself
returns a number for a row or a text that is too long, and goes on.
"""

from __future__ import annotations

import math
import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from enum import Enum
from typing import Any, BinaryIO, ClassVar

from bgtasks.errors import ImproperlyConfigured, Sentence, TooManyRows, UnwritableValue
from bgtasks.formats import needs
from bgtasks.formats.cells import Cells, by_ancestor, local, unchanged, zone_name
from bgtasks.items import Items, Row, Rows

#: Excel's limits (its "specifications and limits" page).
SHEET_ROWS = 1_048_576
SHEET_COLUMNS = 16_384
CELL_CHARACTERS = 32_767
#: Excel computes with doubles: an integer beyond this loses digits.
EXACT_INTEGERS = 2**53
FIRST_DATE = date(1900, 3, 1)  # before it Excel counts a 29 February 1900 that never was
LAST_MOMENT = datetime(9999, 12, 31, 23, 59, 59, 999_000)  # noqa: DTZ001 - what is later rounds up to the year 10000

WIDTH = 16  # characters

#: XlsxWriter's answers, and one of our own.
OUT_OF_BOUNDS, TOO_LONG, NO_UNICODE = -1, -2, -3
REFUSALS = {
    OUT_OF_BOUNDS: Sentence("An Excel sheet has %(most)s columns and no more", {"most": SHEET_COLUMNS}),
    TOO_LONG: Sentence(
        "A text is longer than the %(most)s characters that an Excel cell holds", {"most": CELL_CHARACTERS}
    ),
    NO_UNICODE: Sentence("A text is not valid Unicode"),
}

_SHEET_NAME = re.compile(r"(?!')[^\[\]:*?/\\\x00-\x1f]{1,31}(?<!')")


@dataclass(frozen=True)
class Xlsx:
    """A workbook with one sheet and a frozen heading row."""

    name: ClassVar[str] = "xlsx"
    content_type: ClassVar[str] = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
    suffix: ClassVar[str] = ".xlsx"
    max_rows: ClassVar[int | None] = SHEET_ROWS - 1

    #: The sheet's name: at most 31 characters, none of them ``[]:*?/\``, no apostrophe at either end.
    sheet: str = "Sheet1"

    def __post_init__(self) -> None:
        if not _SHEET_NAME.fullmatch(self.sheet):
            raise ImproperlyConfigured(f"Excel does not take {self.sheet[:100]!r} as the name of a sheet")

    def write(self, items: Items, buffer: BinaryIO, zone: tzinfo = UTC) -> None:
        """Stream the items. Raises: TooManyRows, UnwritableValue."""
        xlsxwriter = needs("xlsx", "bgtasks.formats.workbook")
        # The rows wait in a file of XlsxWriter's until the workbook is assembled: in a folder of
        # their own, so that nothing is left behind if this fails.
        with tempfile.TemporaryDirectory(prefix="bgtasks-xlsx-") as folder:
            workbook = xlsxwriter.ExactWorkbook(buffer, folder)
            sheet = workbook.add_worksheet(self.sheet)
            try:
                _Sheet(workbook, sheet, zone).write(items)
                workbook.close()
            finally:
                sheet.row_data_fh.close()


class _Sheet:
    """One sheet, filled row by row."""

    def __init__(self, workbook: Any, sheet: Any, zone: tzinfo) -> None:
        self._sheet = sheet
        self._zone = zone
        self._as_text = Cells(zone, unchanged)
        self._row = 0
        self._heading = workbook.add_format({"bold": True, "bottom": 1})
        self._moment, self._day, self._clock, self._duration = (
            workbook.add_format({"num_format": shape})
            for shape in ("yyyy-mm-dd hh:mm:ss", "yyyy-mm-dd", "hh:mm:ss", "[h]:mm:ss")
        )
        sheet.set_column(0, SHEET_COLUMNS - 1, WIDTH)
        #: How a value of a type is written.
        self._write_by_type: dict[type, Callable[[int, Any], int]] = {
            str: self._text,
            int: self._integer,
            float: self._number,
            bool: lambda column, value: int(sheet.write_boolean(self._row, column, value)),
            type(None): lambda *_: 0,
            datetime: self._datetime,
            date: lambda column, value: self._serial(column, value, self._day, value >= FIRST_DATE),
            time: lambda column, value: self._serial(column, value, self._clock, value.tzinfo is None),
            timedelta: lambda column, value: self._serial(column, value, self._duration, value >= timedelta()),
        }

    def write(self, items: Items) -> None:
        with items.open() as rows:
            # Excel's times have no zone and no offset: it is named in any case.
            if (headings := rows.headings(zone_name(self._zone))) is not None:
                self._write_headings(headings)
            first = self._row
            for batch in rows.batches:
                if self._row + len(batch) > SHEET_ROWS:
                    raise TooManyRows(SHEET_ROWS - first)
                for row in batch:
                    self._write_row(row, rows, self._row - first + 1)
                    self._row += 1

    def _write_headings(self, names: tuple[str, ...]) -> None:
        for column, name in enumerate(names):
            if refusal := self._text(column, name, self._heading):
                heading = {"fault": REFUSALS[refusal], "number": column + 1}
                raise UnwritableValue(Sentence("%(fault)s (heading %(number)s)", heading))
        self._sheet.freeze_panes(1, 0)
        self._row = 1

    def _write_row(self, row: Row, rows: Rows, number: int) -> None:
        if len(row) > SHEET_COLUMNS:  # even if what is beyond is empty
            raise UnwritableValue(REFUSALS[OUT_OF_BOUNDS], row=number, column=rows.name(SHEET_COLUMNS))
        for column, value in enumerate(row):
            if refusal := self._cell(column, value):
                raise UnwritableValue(REFUSALS[refusal], row=number, column=rows.name(column))

    def _cell(self, column: int, value: Any) -> int:
        """Write one value: 0, or why it can't be written."""
        write = self._write_by_type.get(type(value))
        if write is None:
            write = self._write_by_type[type(value)] = self._writer(type(value))
        return write(column, value)

    def _writer(self, kind: type) -> Callable[[int, Any], int]:
        """How an unlisted type is written: an Enum as its value, a subclass as its base, all else as text."""
        if issubclass(kind, Enum):
            return lambda column, value: self._cell(column, value.value)
        return by_ancestor(self._write_by_type, kind) or self._other

    def _text(self, column: int, value: str, form: Any = None) -> int:
        try:
            units = len(value) if value.isascii() else len(value.encode("utf-16-le")) // 2  # as Excel counts
        except UnicodeEncodeError:
            return NO_UNICODE
        return TOO_LONG if units > CELL_CHARACTERS else int(self._sheet.write_string(self._row, column, value, form))

    def _other(self, column: int, value: Any) -> int:
        return self._text(column, str(self._as_text(value)))

    def _integer(self, column: int, value: int) -> int:
        return self._number(column, int(value)) if abs(value) <= EXACT_INTEGERS else self._other(column, value)

    def _number(self, column: int, value: float) -> int:
        if not math.isfinite(value):
            return self._other(column, value)
        return int(self._sheet.write_number(self._row, column, value))

    def _datetime(self, column: int, value: datetime) -> int:
        """Excel's times have no zone: the requester's local time."""
        shown = local(value, self._zone)
        fits = shown.date() >= FIRST_DATE
        return self._serial(column, min(shown.replace(tzinfo=None), LAST_MOMENT) if fits else value, self._moment, fits)

    def _serial(self, column: int, value: date | time | timedelta, form: Any, fits: bool) -> int:
        """A number of days that is shown as a date or a time; as text where Excel has no such number."""
        return int(self._sheet.write_datetime(self._row, column, value, form)) if fits else self._other(column, value)
