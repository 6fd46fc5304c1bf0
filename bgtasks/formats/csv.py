"""CSV as RFC 4180 has it, in UTF-8, streamed."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, tzinfo
from functools import partial
from typing import Any, BinaryIO, ClassVar

from bgtasks.errors import ImproperlyConfigured, UnwritableValue
from bgtasks.formats.cells import Cells, is_unicode, neutralised, unchanged, zone_name
from bgtasks.items import Items, Row, Rows

BOM = "\ufeff"


@dataclass(frozen=True)
class Csv:
    """Comma-separated values. The options are what spreadsheets of different countries ask for."""

    name: ClassVar[str] = "csv"
    content_type: ClassVar[str] = "text/csv; charset=utf-8"
    suffix: ClassVar[str] = ".csv"
    max_rows: ClassVar[int | None] = None

    #: One character between cells.
    delimiter: str = ","
    #: Whether the file begins with a byte-order mark, by which Excel knows UTF-8.
    bom: bool = False
    #: Whether the first line has the columns' names.
    header: bool = True
    #: Whether a text that a spreadsheet would run as a formula gets an apostrophe before it.
    neutralise: bool = True

    def __post_init__(self) -> None:
        if len(self.delimiter) != 1 or self.delimiter in '"\r\n\0' or not is_unicode(self.delimiter):
            raise ImproperlyConfigured("a CSV delimiter is one character, and no quote or line end")

    def write(self, items: Items, buffer: BinaryIO, zone: tzinfo = UTC) -> None:
        """Stream the items. Raises: UnwritableValue, for text that is not Unicode."""
        text = neutralised if self.neutralise else unchanged
        cell = Cells(zone, text)
        page = io.StringIO(newline="")
        writer = csv.writer(page, delimiter=self.delimiter, lineterminator="\r\n")
        if self.bom:
            page.write(BOM)
        done = 0
        with items.open() as rows:
            # Each time has its offset: the zone is named where somebody has chosen it.
            headings = rows.headings(None if zone is UTC else zone_name(zone))
            if self.header and headings is not None:
                writer.writerow(map(text, headings))
                _flush(page, buffer, lambda: UnwritableValue("A heading is not valid Unicode"))
            for batch in rows.batches:
                writer.writerows([cell(value) for value in row] for row in batch)
                _flush(page, buffer, partial(_culprit, batch, done, cell, rows))
                done += len(batch)
        buffer.write(page.getvalue().encode())  # where there are no rows: the byte-order mark


def _flush(page: io.StringIO, buffer: BinaryIO, culprit: Callable[[], UnwritableValue]) -> None:
    try:
        buffer.write(page.getvalue().encode())
    except UnicodeEncodeError:
        raise culprit() from None
    page.seek(0)
    page.truncate()


def _culprit(batch: Sequence[Row], done: int, cell: Callable[[Any], Any], rows: Rows) -> UnwritableValue:
    """The first cell of a batch that can't be encoded."""
    number, column = next(
        (number, column)
        for number, row in enumerate(batch, done + 1)
        for column, value in enumerate(row)
        if not is_unicode(str(cell(value)))
    )
    return UnwritableValue("A text is not valid Unicode", row=number, column=rows.name(column))
