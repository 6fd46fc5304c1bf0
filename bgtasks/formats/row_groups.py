"""Rows, and Arrow record batches, as the row groups of one table: both roads cut them at the same rows."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from typing import Any

import pyarrow as pa

from bgtasks.formats.shapes import require_width, sized, unique
from bgtasks.formats.typed import Typed, declared, inferred
from bgtasks.items import ArrowRows, Kind, Rows

GROUP = 65_536  # rows: enough to compress well, few enough to be in memory at once
CELLS = 64 * GROUP  # of a row group, where there are many columns
#: Bytes of Arrow's, or characters of texts: a row group that has so many ends with the batch, on whichever road.
LARGE = 64 * 1024 * 1024

_SIZED = {str, bytes, type(None)}

#: The columns of a part of the table: each Arrow's values, or Python's.
Columns = list[Any]


@dataclass(frozen=True)
class Table:
    """A schema, and record batches that have it."""

    schema: pa.Schema
    groups: Iterator[pa.RecordBatch]


def from_rows(rows: Rows, zone: tzinfo) -> Table:
    """Raises: UnwritableValue, ImproperlyConfigured."""
    batches = map(sized, rows.batches)
    first = list(itertools.islice(batches, 1))
    names = rows.names or rows.columns or _numbered(first)
    kinds = rows.kinds or [Kind.OTHER] * len(names)
    columns = [
        _Column(name, rows.name(number), kind, rows.decimals.get(number))
        for number, (name, kind) in enumerate(zip(names, kinds, strict=True))
    ]
    return _table(columns, _columnwise(itertools.chain(first, batches), len(names)), zone)


def from_arrow(rows: ArrowRows, zone: tzinfo) -> Table:
    """Raises: UnwritableValue, ImproperlyConfigured."""
    columns = [
        _Column(name, heading, kind, rows.decimals.get(number), is_sure=kind is not Kind.OTHER)
        for number, (name, heading, kind) in enumerate(zip(rows.names, rows.columns, rows.kinds, strict=True))
    ]
    return _table(columns, (_values(rows, batch) for batch in rows.batches), zone)


@dataclass(frozen=True)
class _Column:
    """What is known of a column before its values are."""

    name: str
    shown: str | int  #: what a person knows it by
    kind: Kind
    decimal: tuple[int, int] | None  #: precision and scale
    is_sure: bool = False  #: the kind is that of the values; if not, they are looked at

    def type(self, parts: Iterable[Sequence[Any]]) -> pa.DataType:
        return declared(self.kind, self.decimal) if self.is_sure else inferred(parts, self.kind, self.decimal)


def _numbered(batches: Sequence[Sequence[Any]]) -> tuple[str, ...]:
    """Names for the columns of rows that have none."""
    width = len(batches[0][0]) if batches else 0
    return tuple(f"column_{number}" for number in range(1, width + 1))


def _columnwise(batches: Iterable[Sequence[Any]], width: int) -> Iterator[Columns]:
    done = 0
    for batch in batches:
        require_width(batch, width, done)
        yield list(zip(*batch, strict=True))
        done += len(batch)


def _values(rows: ArrowRows, batch: pa.RecordBatch) -> Columns:
    return [
        rows.values(batch, number) if kind is Kind.OTHER else batch.column(number)
        for number, kind in enumerate(rows.kinds)
    ]


def _table(columns: Sequence[_Column], parts: Iterable[Columns], zone: tzinfo) -> Table:
    """The first row group shows what the types are, where that is not sure before."""
    unique("Parquet", [column.name for column in columns])
    groups = _regrouped(parts, max(1, min(GROUP, CELLS // max(1, len(columns)))))
    first = list(itertools.islice(groups, 1))
    types = [column.type([part[number] for group in first for part in group]) for number, column in enumerate(columns)]
    schema = pa.schema([pa.field(column.name, of) for column, of in zip(columns, types, strict=True)])
    typed = [Typed(of, column.shown, zone) for column, of in zip(columns, types, strict=True)]
    return Table(schema, (_group(group, typed, schema) for group in itertools.chain(first, groups)))


def _group(parts: Sequence[Columns], typed: Sequence[Typed], schema: pa.Schema) -> pa.RecordBatch:
    arrays = []
    for number, column in enumerate(typed):
        arrays.append(column([part[number] for part in parts]))
        for part in parts:
            part[number] = ()  # Python's values take much more memory than Arrow's
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _regrouped(parts: Iterable[Columns], rows: int) -> Iterator[list[Columns]]:
    """Lists of parts of the table, each list with as many rows as a row group, or fewer large ones."""
    group: list[Columns] = []
    missing, size = rows, 0
    for part in filter(None, parts):  # no columns: there is nothing to write
        while len(part[0]) >= missing:
            yield [*group, [column[:missing] for column in part]]
            part, group, missing, size = [column[missing:] for column in part], [], rows, 0  # noqa: PLW2901
        if len(part[0]):
            group.append(part)
            missing -= len(part[0])
            size += sum(map(_size, part))
        if size >= LARGE:
            yield group
            group, missing, size = [], rows, 0
    if group:
        yield group


def _size(column: Any) -> int:
    """How large a column is, as far as it is texts or bytes, which alone may be of any size."""
    if isinstance(column, pa.Array):
        return int(column.nbytes)
    return sum(map(len, filter(None, column))) if set(map(type, column)) <= _SIZED else 0
