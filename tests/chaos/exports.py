"""What is exported: a table of readings, the file type that selects from it, and what each file must say."""

from __future__ import annotations

import csv
import gzip
import io
import os
import signal
import time
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Any, BinaryIO

import openpyxl
from pydantic import BaseModel
from sqlalchemy import Column, Date, Integer, MetaData, Select, String, Table, insert, literal, select

from bgtasks import FileType, registry
from bgtasks.database import Database
from bgtasks.file_types import Dataset

#: Rows of the largest file that is made; the table has some more, so that a file can be too large.
MOST_ROWS = 20_000
ROWS = MOST_ROWS + 500
#: In each row of a wide file: 20,000 of them are more than the store's writer keeps in memory.
FILLER = "so many words " * 70
#: The lines that a pause is for: writes are of more where the rows come as Arrow batches.
LINES = 2000
#: The share of a file, or of its last part, that is written before the trouble; and the bytes that a row has at least.
#: Of a wide file the first piece of its upload is in the store by then.
SHARE, ROW = 0.6, 20

FIRST_DAY = date(2020, 1, 1)
PLACES = ("Zürich", "=SUM(A1:A9)", "東京, 大阪", 'so "called"', "two\nlines", "@home")
HEADINGS = ("number", "taken", "remark", "place")

metadata = MetaData()

readings = Table(
    "readings",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("taken", Date, nullable=False),
    Column("remark", String),
    Column("place", String, nullable=False),
)


def reading(number: int) -> tuple[int, date, str | None, str]:
    """A row of the table."""
    remark = None if number % 3 else f"the reading of number {number}"
    return number, FIRST_DAY + timedelta(days=number % 3000), remark, PLACES[number % len(PLACES)]


def fill(source: Database) -> None:
    """Make the table, and put the readings into it."""
    metadata.create_all(source.engine)
    with source.writing() as session:
        session.execute(insert(readings), [dict(zip(HEADINGS, reading(number), strict=True)) for number in range(ROWS)])


class Trouble(StrEnum):
    """What goes wrong while a file is written, each time."""

    NONE = ""
    RAISES = "raises"
    KILLS = "kills"  #: as the kernel does where memory has run out


class Readings(FileType):
    """So many readings from a first one on."""

    file_type = "readings"
    file_description = "Readings"
    formats = ("csv", "xlsx")
    max_rows = MOST_ROWS

    class Criteria(BaseModel):
        first: int = 0
        rows: int
        wide: bool = False
        pause: float = 0  #: seconds before so many lines are written
        trouble: Trouble = Trouble.NONE

    def get_items(self, criteria: Any) -> Select[Any]:
        columns = [*readings.columns, *([literal(FILLER).label("filler")] if criteria.wide else [])]
        until = criteria.first + criteria.rows
        chosen = select(*columns).where(readings.c.number >= criteria.first, readings.c.number < until)
        return chosen.order_by(readings.c.number)

    def write_bytes(self, dataset: Dataset, buffer: BinaryIO) -> None:
        if self.format == "csv":
            buffer = _Troubled(buffer, dataset.criteria, dataset.criteria.rows)  # type: ignore[assignment]
        super().write_bytes(dataset, buffer)


class Divided(Readings):
    """The same in parts, which workers write side by side; the trouble is in the last one."""

    file_type = "divided"
    formats = ("csv", "csv.gz")
    part_key = readings.c.number

    class Criteria(Readings.Criteria):
        parts: int
        at_once: int | None = None  #: how many of them may be out at once; None: all

    def get_parts(self, criteria: Any, count: int) -> int:
        return int(criteria.parts)

    def get_max_parts_at_once(self) -> int | None:
        at_once: int | None = self.file_request.criteria["at_once"]
        return at_once

    def write_part(self, dataset: Dataset, buffer: BinaryIO, number: int) -> None:
        if self.format == "csv":
            parts = dataset.criteria.parts
            rows = dataset.criteria.rows / parts if number == parts - 1 else None
            buffer = _Troubled(buffer, dataset.criteria, rows)  # type: ignore[assignment]
        super().write_part(dataset, buffer, number)


class _Troubled:
    """A binary file that takes its time, and worse.

    :param rows: about how many come; None: the worse happens elsewhere.
    """

    def __init__(self, buffer: BinaryIO, criteria: Any, rows: float | None) -> None:
        self._buffer, self._pause = buffer, criteria.pause / LINES
        self._trouble = Trouble.NONE if rows is None else criteria.trouble
        self._left = SHARE * (rows or 0) * (len(FILLER) if criteria.wide else ROW)

    def write(self, data: bytes | memoryview) -> int:
        time.sleep(self._pause * bytes(data).count(b"\n"))
        self._left -= len(data)
        if self._left < 0 and self._trouble == Trouble.KILLS:
            os.kill(os.getpid(), signal.SIGKILL)
        if self._left < 0 and self._trouble == Trouble.RAISES:
            raise ValueError("a row that can't be read")
        return self._buffer.write(data)


TYPES: tuple[type[Readings], ...] = (Readings, Divided)

for file_type in TYPES:
    registry.register(file_type)


def is_right(contents: bytes, file_format: str, criteria: dict[str, Any]) -> bool:
    """Whether a file says what the table says; told without the library."""
    rows = _rows(**{"first": 0, "wide": False, **criteria})
    if file_format != "xlsx":
        return (gzip.decompress(contents) if file_format == "csv.gz" else contents) == _as_csv(rows)
    return _cells(contents) == [list(row) for row in rows]


def _rows(first: int, rows: int, wide: bool, **_: Any) -> Iterator[tuple[Any, ...]]:
    """The headings, and the readings."""
    more = (FILLER,) if wide else ()
    yield (*HEADINGS, *(["filler"] if wide else []))
    for number in range(first, min(first + rows, ROWS)):
        yield (*reading(number), *more)


def _as_csv(rows: Iterator[tuple[Any, ...]]) -> bytes:
    page = io.StringIO(newline="")
    writer = csv.writer(page)
    for row in rows:
        writer.writerow([f"'{cell}" if isinstance(cell, str) and cell[0] in "=@" else cell for cell in row])
    return page.getvalue().encode()


def _cells(contents: bytes) -> list[list[Any]]:
    book = openpyxl.load_workbook(io.BytesIO(contents), read_only=True)
    try:
        rows = book.worksheets[0].iter_rows(values_only=True)
        return [[cell.date() if isinstance(cell, datetime) else cell for cell in row] for row in rows]
    finally:
        book.close()
