"""Arrow record batches in the one form that formats read."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace

import pyarrow as pa

from bgtasks.items.batches import first_values, is_aware
from bgtasks.items.columns import Choice
from bgtasks.items.rows import BATCH, ArrowRows, Kind, Row, Rows
from bgtasks.items.vectors import Vector


def arrow_rows(
    choice: Choice,
    own: tuple[str, ...],
    vectors: Sequence[Vector],
    batches: Iterator[pa.RecordBatch],
    declared: Sequence[bool],
) -> ArrowRows:
    """The rows, when the first of them are there.

    :param own: the names that they bring along.
    :param vectors: how each chosen column is read.
    :param declared: which of those are aware times, where no value tells.
    """
    headings = choice.headings or own
    names = choice.names or own
    made = _converted(batches, choice.of(range(len(own))), vectors, names)
    first = list(itertools.islice(made, 1))
    kinds = tuple(vector.kind for vector in vectors)
    finish = {number: vector.finish for number, vector in enumerate(vectors) if vector.finish}
    types = enumerate(first[0].schema.types if first else ())
    decimals = {number: (kind.precision, kind.scale) for number, kind in types if pa.types.is_decimal128(kind)}
    rows = ArrowRows(headings, names, kinds, itertools.chain(first, made), finish, decimals=decimals)
    return replace(rows, made_moments=_made_moments(rows, first, declared))


def as_tuples(rows: ArrowRows) -> Rows:
    """The same rows, as tuples."""
    batches = (_tuples(rows, batch) for batch in rows.batches)
    return Rows(rows.columns, batches, rows.moments, rows.names, rows.kinds, rows.decimals)


def _tuples(rows: ArrowRows, batch: pa.RecordBatch) -> Sequence[Row]:
    return list(zip(*(rows.values(batch, number) for number in range(len(rows.kinds))), strict=True))


def _converted(
    batches: Iterator[pa.RecordBatch], places: Sequence[int], vectors: Sequence[Vector], names: Sequence[str]
) -> Iterator[pa.RecordBatch]:
    """Each batch with these columns, brought into the form of their kinds."""
    for batch in batches:
        arrays = [
            batch.column(place) if vector.convert is None else vector.convert(batch.column(place))
            for place, vector in zip(places, vectors, strict=True)
        ]
        yield pa.RecordBatch.from_arrays(arrays, names)


def _made_moments(rows: ArrowRows, first: Sequence[pa.RecordBatch], declared: Sequence[bool]) -> frozenset[int]:
    """The columns of which Python makes aware times: as the tuples' first batch tells, or else their type."""
    made = [number for number, kind in enumerate(rows.kinds) if kind is Kind.OTHER and number in rows.finish]
    seen = zip(*(rows.values(first[0].slice(0, BATCH), number) for number in made), strict=True) if first else ()
    values = {made[place]: value for place, value in first_values(list(seen)).items()}
    return frozenset(number for number in made if (is_aware(values[number]) if number in values else declared[number]))
