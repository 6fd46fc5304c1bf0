"""Bare pipelines of Arrow batches: a driver, a library that writes, and nothing in between."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import adbc_driver_postgresql.dbapi
import pyarrow
import pyarrow.compute
import pyarrow.csv
import pyarrow.parquet

from tests.bench import once

FORMULA = r"^[=+\-@\t\r]"
TEXTS = ("name", "address", "note")


def _csv(neutralise: bool) -> once.Work:
    guard = _neutralised if neutralise else _unchanged

    def work(rows: int) -> int:
        with _batches(rows) as (schema, batches), pyarrow.csv.CSVWriter(_file(), schema) as writer:
            for batch in batches:
                writer.write(guard(batch))
        return _size()

    return work


def _parquet() -> once.Work:
    def work(rows: int) -> int:
        with _batches(rows) as (schema, batches):
            with pyarrow.parquet.ParquetWriter(_file(), schema, compression="zstd") as writer:
                for batch in batches:
                    writer.write(batch)
        return _size()

    return work


@contextmanager
def _batches(rows: int) -> Iterator[tuple[pyarrow.Schema, Iterator[pyarrow.RecordBatch]]]:
    """What COPY sends; a numeric, which is a text of an opaque type, as the text that it is."""
    with adbc_driver_postgresql.dbapi.connect(once.url()) as connection, connection.cursor() as cursor:
        cursor.execute(once.SELECT.format(rows))
        reader = cursor.fetch_record_batch()
        plain = pyarrow.schema(
            [(field.name, getattr(field.type, "storage_type", field.type)) for field in reader.schema]
        )
        yield plain, (_unpacked(batch, plain) for batch in reader)


def _unpacked(batch: pyarrow.RecordBatch, schema: pyarrow.Schema) -> pyarrow.RecordBatch:
    return pyarrow.record_batch([getattr(column, "storage", column) for column in batch.columns], schema=schema)


def _unchanged(batch: pyarrow.RecordBatch) -> pyarrow.RecordBatch:
    return batch


def _neutralised(batch: pyarrow.RecordBatch) -> pyarrow.RecordBatch:
    """With an apostrophe before each text that a spreadsheet would run."""
    columns = [
        _guarded(column) if field.name in TEXTS else column
        for field, column in zip(batch.schema, batch.columns, strict=True)
    ]
    return pyarrow.record_batch(columns, schema=batch.schema)


def _guarded(column: pyarrow.Array) -> pyarrow.Array:
    is_formula = pyarrow.compute.match_substring_regex(column, FORMULA)
    return pyarrow.compute.if_else(is_formula, pyarrow.compute.binary_join_element_wise("'", column, ""), column)


def _file() -> Path:
    return once.folder() / "bare"


def _size() -> int:
    return _file().stat().st_size


WAYS: dict[str, Callable[[], once.Work]] = {
    "csv-plain": partial(_csv, False),
    "csv": partial(_csv, True),
    "parquet": _parquet,
}

if __name__ == "__main__":
    once.main(WAYS)
