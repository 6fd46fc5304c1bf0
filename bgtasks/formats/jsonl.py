"""JSON Lines (jsonlines.org), streamed: an object for each row, for programs.

Nothing is neutralised: no spreadsheet opens such a file, and a program wants the text that there was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, tzinfo
from typing import Any, BinaryIO, ClassVar

from bgtasks.errors import UnwritableValue
from bgtasks.extras import needs
from bgtasks.formats import send
from bgtasks.formats.shapes import require_width, sized, unique
from bgtasks.items import Items, Row, Rows


@dataclass(frozen=True)
class JsonLines:
    """A line of JSON for each row: an object, or an array where the rows have no names."""

    name: ClassVar[str] = "jsonl"
    content_type: ClassVar[str] = "application/jsonl"
    suffix: ClassVar[str] = ".jsonl"
    max_rows: ClassVar[int | None] = None
    is_text: ClassVar[bool] = True

    def part(self, _: int) -> JsonLines:
        """Each line is by itself."""
        return self

    def write(self, items: Items, buffer: BinaryIO, zone: tzinfo = UTC) -> None:
        """Stream the items. Raises: UnwritableValue; ImproperlyConfigured, where two columns have one name."""
        values = needs("jsonl", "bgtasks.formats.json_values").JsonValues(zone)
        with items.open() as rows:
            send(_Writing(rows, values).pages(), buffer)


class _Writing:
    """One file on its way."""

    def __init__(self, rows: Rows, values: Any) -> None:
        msgspec = needs("jsonl", "msgspec")
        self._rows = rows
        self._values = values
        names = rows.names or rows.columns
        self._names = names and tuple(map(str, names))  # SQLAlchemy's are a kind of str that msgspec does not know
        unique("JSON Lines", self._names or ())
        self._objects = zip if self._names is None else _maker(msgspec, self._names)
        self._encode: Callable[[Any], bytes] = msgspec.json.Encoder().encode_lines
        self._done = 0

    def pages(self) -> Iterator[bytes]:
        for batch in map(sized, self._rows.batches):
            try:
                yield self._encode(list(self._converted(batch)))
            except UnicodeEncodeError:
                raise self._culprit(batch) from None
            self._done += len(batch)

    def _converted(self, batch: Sequence[Row]) -> Iterable[Any]:
        if self._names is not None:
            require_width(batch, len(self._names), self._done)
        elif len(set(map(len, batch))) > 1 or not batch[0]:
            return ([self._values(value) for value in row] for row in batch)
        return self._objects(*map(self._values.column, zip(*batch, strict=True)))

    def _culprit(self, batch: Sequence[Row]) -> UnwritableValue:
        """The first value of a batch that can't be encoded."""
        number, column = next(
            (number, column)
            for number, row in enumerate(batch, self._done + 1)
            for column, value in enumerate(row)
            if not self._is_encodable(value)
        )
        return UnwritableValue("A text is not valid Unicode", row=number, column=self._rows.name(column))

    def _is_encodable(self, value: Any) -> bool:
        try:
            self._encode([self._values(value)])
        except UnicodeEncodeError:
            return False
        return True


def _maker(msgspec: Any, names: tuple[str, ...]) -> Callable[..., Iterable[Any]]:
    """What makes objects of columns: msgspec's structures are made and written in half the time that dicts take."""
    fields = [f"field_{number}" for number in range(len(names))]
    try:
        made = msgspec.defstruct("Row", fields, rename=dict(zip(fields, names, strict=True)), gc=False)
    except ValueError:  # a name with a quote or a backslash
        return lambda *columns: (dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True))
    return lambda *columns: map(made, *columns)
