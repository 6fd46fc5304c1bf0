"""The rows of a workbook, streamed; where a sheet is full, they go on in the next one."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, tzinfo
from string import ascii_uppercase
from typing import Any

from bgtasks.errors import Sentence, UnwritableValue
from bgtasks.formats.archive import Archive, Entry
from bgtasks.formats.cells import Cells, unchanged, zone_name
from bgtasks.formats.xlsx import parts
from bgtasks.formats.xlsx.cells import HEADING, ColumnCells, cells, joined
from bgtasks.formats.xlsx.texts import Refused, escaped
from bgtasks.items import Row, Rows

#: Excel's limits (its "specifications and limits" page).
SHEET_ROWS = 1_048_576
SHEET_COLUMNS = 16_384
NAME_CHARACTERS = 31
#: A sheet of less than 4 GiB needs no ZIP64, which not every reader of workbooks knows.
SHEET_BYTES = 2**32 - 2**16

#: So many cells are made at once: as many as one row may have, so that their XML fits into a sheet in any case.
PAGE_CELLS = SHEET_COLUMNS

FIRST_NAME = "Sheet1"  # Excel's own

#: Widths of columns, in characters, and of how many rows they are to hold the values.
NARROWEST, WIDEST, MARGIN, LOOKED_AT = 9, 60, 2, 100
WIDTHS = {datetime: len("yyyy-mm-dd hh:mm:ss"), date: len("yyyy-mm-dd")}

TOO_WIDE = Sentence("An Excel sheet has %(most)s columns and no more", {"most": SHEET_COLUMNS})

Page = Sequence[Row]  # rows of one width


class Sheets:
    """The sheets of one workbook.

    :param name: of the first one.
    :param zone: where aware times are shown.
    """

    def __init__(self, archive: Archive, name: str, zone: tzinfo, rows: Rows) -> None:
        self._archive = archive
        self._name = name
        self._cells = ColumnCells(zone)
        self._rows = rows
        # Excel's times have no zone and no offset: it is named in any case.
        self._headings = rows.headings(zone_name(zone))
        self._done = 0  # rows in all sheets
        self.names: list[str] = []  #: of the sheets so far

    def write(self) -> None:
        """Write all rows. Raises: UnwritableValue."""
        heading = self._heading_row()
        batches = map(_measurable, self._rows.batches)
        first = next(batches, ())
        widths = _widths(self._headings or (), first[:LOOKED_AT], Cells(UTC, unchanged))
        pages = self._pages(itertools.chain([first], batches))
        left: Page | None = ()
        while left is not None:
            self.names.append(_name(self._name, len(self.names) + 1))
            number = len(self.names)
            with self._archive.entry(parts.sheet_path(number), zip64=False) as entry:
                entry.write(parts.sheet_begin(number, widths, frozen=bool(heading)) + heading)
                left = self._fill(entry, itertools.chain([left], pages), 1 if heading else 0)
                entry.write(parts.SHEET_END)

    def _fill(self, entry: Entry, pages: Iterator[Page], used: int) -> Page | None:
        """Write rows until a sheet is full.

        :param used: how many rows it has.
        :return: those of a page that did not fit; None: all are written.
        """
        for page in pages:
            fitting, rest = page[: SHEET_ROWS - used], page[SHEET_ROWS - used :]
            written = self._xml(fitting, used + 1)
            if entry.size + len(written) > SHEET_BYTES:
                return page
            entry.write(written)
            used += len(fitting)
            self._done += len(fitting)
            if rest:
                return rest
        return None

    def _pages(self, batches: Iterable[Sequence[Any]]) -> Iterator[Page]:
        """The rows, in portions. Raises: UnwritableValue, for one that is too wide, even if what is beyond is empty."""
        for batch in batches:
            for width, alike in _by_width(batch):
                if width > SHEET_COLUMNS:
                    raise UnwritableValue(TOO_WIDE, row=self._done + 1, column=self._rows.name(SHEET_COLUMNS))
                size = PAGE_CELLS // max(width, 1)
                for start in range(0, len(alike), size):
                    yield alike[start : start + size]

    def _xml(self, page: Page, first: int) -> bytes:
        """Rows as they stand in a sheet.

        :param first: the number of the first one there.
        """
        numbers = list(map(str, range(first, first + len(page))))
        pieces: list[str | Sequence[str]] = ['<row r="', numbers, '">']
        try:
            for values, letters in zip(zip(*page, strict=True), _letters(), strict=False):
                pieces += self._cells(values, letters, numbers)
        except Refused:
            raise self._culprit(page) from None
        return joined([*pieces, "</row>"], len(page)).encode("latin-1")

    def _culprit(self, page: Page) -> UnwritableValue:
        """The first cell that is refused."""
        for number, row in enumerate(page, self._done + 1):
            for column, value in enumerate(row):
                try:
                    self._cells((value,), "A", ("1",))
                except Refused as refusal:
                    return UnwritableValue(refusal.fault, row=number, column=self._rows.name(column))
        raise AssertionError("what is refused in a page is refused alone")

    def _heading_row(self) -> bytes:
        """The first row of each sheet; empty, where the columns have no names."""
        if self._headings is None:
            return b""
        named = zip(self._headings, _letters(), itertools.count(1), strict=False)
        made = "".join(_heading(name, letters, number) for name, letters, number in named)
        return f'<row r="1">{made}</row>'.encode("latin-1")


def _heading(name: str, letters: str, number: int) -> str:
    try:
        if number > SHEET_COLUMNS:
            raise Refused(TOO_WIDE)
        return joined(cells(escaped([name]), letters, ["1"], HEADING), 1)
    except Refused as refusal:
        where = {"fault": refusal.fault, "number": number}
        raise UnwritableValue(Sentence("%(fault)s (heading %(number)s)", where)) from None


def _letters() -> Iterator[str]:
    """What columns are called: A to Z, AA to ZZ, AAA …"""
    return ("".join(name) for size in (1, 2, 3) for name in itertools.product(ascii_uppercase, repeat=size))


def _measurable(batch: Sequence[Row]) -> Sequence[Any]:
    """The same rows, also where they could be looked at only once."""
    return batch if all(hasattr(row, "__len__") for row in batch[:1]) else list(map(tuple, batch))


def _by_width(batch: Sequence[Any]) -> Iterator[tuple[int, Page]]:
    """The rows in their order; those of one width together."""
    if len(set(map(len, batch))) == 1:
        yield len(batch[0]), batch
    else:
        yield from ((width, list(alike)) for width, alike in itertools.groupby(batch, len))


def _widths(headings: Sequence[str], rows: Page, text: Cells) -> list[int]:
    """Of the columns, in characters, by their headings and by values of theirs."""
    shown = [[WIDTHS.get(type(value)) or len(str(text(value))) for value in row] for row in rows]
    columns = itertools.zip_longest(map(len, headings), *shown, fillvalue=0)
    return [min(max(*column, NARROWEST - MARGIN) + MARGIN, WIDEST) for column in columns]


def _name(name: str, number: int) -> str:
    """Of a sheet: ``Sheet2`` after Excel's own ``Sheet1``, ``Orders (2)`` after any other."""
    if number == 1:
        return name
    if name == FIRST_NAME:
        return f"Sheet{number}"
    suffix = f" ({number})"
    return name[: NAME_CHARACTERS - len(suffix)] + suffix
