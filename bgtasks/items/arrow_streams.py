"""Rows that come as Arrow: a reader, a table, or whatever gives Arrow's C stream (polars, DuckDB …)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa

from bgtasks.items.arrow_rows import arrow_rows
from bgtasks.items.arrow_types import vector
from bgtasks.items.columns import Columns
from bgtasks.items.rows import ArrowRows


@contextmanager
def arrow_streamed(source: Any, columns: Columns, size: int) -> Iterator[ArrowRows]:
    """The rows.

    :param size: how many a batch may have: a table has them all in one.
    """
    with _reader(source) as reader:
        names = tuple(reader.schema.names)
        choice = columns.choose(names, len(names))
        vectors = choice.of([vector(field.type) for field in reader.schema])
        yield arrow_rows(choice, names, vectors, _sliced(reader, size), [False] * len(vectors))


def _reader(source: Any) -> pa.RecordBatchReader:
    if isinstance(source, pa.RecordBatchReader):
        return source
    if hasattr(source, "__arrow_c_stream__"):
        return pa.RecordBatchReader.from_stream(source)
    batch = pa.record_batch(source)
    return pa.RecordBatchReader.from_batches(batch.schema, [batch])


def _sliced(reader: pa.RecordBatchReader, size: int) -> Iterator[pa.RecordBatch]:
    for batch in reader:
        for start in range(0, batch.num_rows, size):
            yield batch.slice(start, size)
