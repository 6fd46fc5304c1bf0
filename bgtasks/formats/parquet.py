"""Parquet, streamed in row groups: a file for programs, in which each column has a type."""

from __future__ import annotations

import io
from dataclasses import dataclass
from datetime import UTC, tzinfo
from typing import Any, BinaryIO, ClassVar

from bgtasks import arrow_memory
from bgtasks.extras import needs
from bgtasks.items import Items


@dataclass(frozen=True)
class Parquet:
    """A Parquet file, compressed with Zstandard."""

    name: ClassVar[str] = "parquet"
    content_type: ClassVar[str] = "application/vnd.apache.parquet"
    suffix: ClassVar[str] = ".parquet"
    max_rows: ClassVar[int | None] = None

    def write(self, items: Items, buffer: BinaryIO, zone: tzinfo = UTC) -> None:
        """Stream the items.

        :param zone: of aware times in columns of texts: a column of times has moments, and no zone.
        Raises: UnwritableValue; ImproperlyConfigured, where two columns have one name.
        """
        groups = needs("arrow", "bgtasks.formats.row_groups")
        with items.open_arrow() as arrow:
            if arrow is not None:
                _write(groups.from_arrow(arrow, zone), buffer)
                return
        with items.open() as rows:
            _write(groups.from_rows(rows, zone), buffer)


def _write(table: Any, buffer: BinaryIO) -> None:
    """Row group by row group."""
    parquet = needs("arrow", "pyarrow.parquet")
    sink = _Sink(buffer)
    try:
        writer = parquet.ParquetWriter(sink, table.schema, compression="zstd")
        for group in table.groups:
            writer.write_batch(group, row_group_size=group.num_rows)
            arrow_memory.release()
    except BaseException:
        sink.is_broken = True  # a writer that is given up ends the file all the same
        raise
    writer.close()


class _Sink(io.RawIOBase):
    """What takes the bytes of a file, until the file is given up."""

    def __init__(self, buffer: BinaryIO) -> None:
        self._buffer = buffer
        self.is_broken = False

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        if not self.is_broken:
            self._buffer.write(data)
        return memoryview(data).nbytes
