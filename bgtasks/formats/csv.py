"""CSV as RFC 4180 has it, in UTF-8, streamed: the same bytes from rows and from Arrow record batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, tzinfo
from typing import Any, BinaryIO, ClassVar

from bgtasks.errors import ImproperlyConfigured, UnwritableValue
from bgtasks.extras import needs
from bgtasks.formats import send
from bgtasks.formats.cells import Cells, is_unicode, neutralised, unchanged, zone_name
from bgtasks.formats.columnwise import Columnwise
from bgtasks.formats.quoting import Quoting
from bgtasks.formats.shapes import sized
from bgtasks.items import ArrowRows, Items, Row, Rows

BOM = "\ufeff"


@dataclass(frozen=True)
class Csv:
    """Comma-separated values. The options are what spreadsheets of different countries ask for."""

    name: ClassVar[str] = "csv"
    content_type: ClassVar[str] = "text/csv; charset=utf-8"
    suffix: ClassVar[str] = ".csv"
    max_rows: ClassVar[int | None] = None
    is_text: ClassVar[bool] = True

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

    def part(self, number: int) -> Csv:
        """What comes after the first part has no beginning of its own."""
        return replace(self, header=False, bom=False) if number else self

    def write(self, items: Items, buffer: BinaryIO, zone: tzinfo = UTC) -> None:
        """Stream the items. Raises: UnwritableValue, for text that is not Unicode."""
        writing = _Writing(self, zone)
        # With an unusual delimiter any number may need quotes: Arrow's road has them for texts only.
        with items.open_arrow() if writing.quoting.plain_is_safe else nullcontext() as rows:
            if rows is not None:
                send(writing.from_arrow(rows), buffer)
                return
        with items.open() as rows:
            send(writing.from_rows(rows), buffer)


class _Writing:
    """One file on its way: what its parts are."""

    def __init__(self, form: Csv, zone: tzinfo) -> None:
        self._form = form
        self._zone = zone
        self._text = neutralised if form.neutralise else unchanged
        self._cell = Cells(zone, self._text)
        self.quoting = Quoting(form.delimiter)

    def from_arrow(self, rows: ArrowRows) -> Iterator[bytes | memoryview]:
        arrow_text = needs("arrow", "bgtasks.formats.arrow_text")
        yield self._beginning(rows)
        lines = arrow_text.ArrowText(rows, self._zone, self._cell, self.quoting, self._form.neutralise)
        yield from map(lines, rows.batches)

    def from_rows(self, rows: Rows) -> Iterator[bytes]:
        yield self._beginning(rows)
        lines = Columnwise(self._zone, self._cell, self.quoting, self._form.neutralise)
        done = 0
        for batch in map(sized, rows.batches):
            try:
                yield lines(batch).encode()
            except UnicodeEncodeError:
                raise _culprit(batch, done, self._cell, rows) from None
            done += len(batch)

    def _beginning(self, rows: Rows | ArrowRows) -> bytes:
        # Each time has its offset: the zone is named where somebody has chosen it.
        headings = rows.headings(None if self._zone is UTC else zone_name(self._zone))
        line = self.quoting.line(list(map(self._text, headings))) if self._form.header and headings is not None else ""
        try:
            return ((BOM if self._form.bom else "") + line).encode()
        except UnicodeEncodeError:
            raise UnwritableValue("A heading is not valid Unicode") from None


def _culprit(batch: Sequence[Row], done: int, cell: Callable[[Any], Any], rows: Rows) -> UnwritableValue:
    """The first cell of a batch that can't be encoded."""
    number, column = next(
        (number, column)
        for number, row in enumerate(batch, done + 1)
        for column, value in enumerate(row)
        if not is_unicode(str(cell(value)))
    )
    return UnwritableValue("A text is not valid Unicode", row=number, column=rows.name(column))
