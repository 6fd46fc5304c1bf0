"""The rows that are measured: login events, the same ones each time, with all that makes texts awkward."""

from __future__ import annotations

import contextlib
import functools
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import Boolean, Column, Integer, MetaData, Numeric, Select, String, Table, select

from bgtasks.models import UtcDateTime
from tests.bench.once import TABLE

FIRST = datetime(2020, 1, 1, tzinfo=UTC)
#: Knuth's multiplier: it scatters the numbers, the same way on each machine.
SCATTER = 2_654_435_761

NAMES = ("Zoë Müller", "Łukasz Żak", "山田太郎", "ada@example.com", "O'Brien, Aoife", "Ada Lovelace", "😀 smile")
NOTES = (
    "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0, from the office",
    'she said "it works on my machine", and closed the window of her browser without another word',
    '=HYPERLINK("https://example.com/";"a formula that must not run in anybody\'s spreadsheet")',
    "two lines:\nthe second one, with a comma, a semicolon; and a tab\there, as people paste them",
    "plain words and nothing else, which is what most of the notes in most of the tables look like",
    "-2+3 looks like a formula too, and so do @SUM(1;1) and +44 20 7946 0000 when they come first",
    "Größe, naïve, Ελληνικά, русский, 日本語, עברית: what people write when they are asked nothing",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148",
)

TYPES = {
    "postgresql": "id integer PRIMARY KEY, at timestamptz NOT NULL, name text NOT NULL, address text NOT NULL, "
    "succeeded boolean NOT NULL, amount numeric(12, 2) NOT NULL, note text",
    "sqlite": "id INTEGER PRIMARY KEY, at DATETIME NOT NULL, name VARCHAR NOT NULL, address VARCHAR NOT NULL, "
    "succeeded BOOLEAN NOT NULL, amount NUMERIC(12, 2) NOT NULL, note VARCHAR",
}


@functools.cache
def table(rows: int) -> Table:
    """The table of so many rows."""
    return Table(
        TABLE.format(rows),
        MetaData(),
        Column("id", Integer, primary_key=True),
        Column("at", UtcDateTime, nullable=False),
        Column("name", String, nullable=False),
        Column("address", String, nullable=False),
        Column("succeeded", Boolean, nullable=False),
        Column("amount", Numeric(12, 2), nullable=False),
        Column("note", String),
    )


def everything(rows: int) -> Select[Any]:
    """All rows of the table that has so many, in order."""
    return select(table(rows)).order_by(table(rows).c.id)


def sample(count: int) -> Iterator[tuple[Any, ...]]:
    """So many rows, of many lengths."""
    for number in range(count):
        scattered = number * SCATTER % 2**32
        yield (
            number,
            FIRST + timedelta(seconds=37 * number, microseconds=scattered % 1_000_000),
            f"{NAMES[scattered % len(NAMES)]} {number}",
            f"2001:db8::{scattered % 65_536:x}",
            scattered % 7 != 0,
            Decimal(scattered % 10_000_000 - 1_000_000).scaleb(-2),
            None if scattered % 11 == 0 else NOTES[scattered // 11 % len(NOTES)][: 20 + scattered % 90],
        )


def fill_postgresql(url: str, *counts: int) -> None:
    """Make tables of so many rows."""
    with psycopg.connect(url, autocommit=True) as connection:
        for count in counts:
            name = TABLE.format(count)
            connection.execute(f"CREATE TABLE {name} ({TYPES['postgresql']})")
            with connection.cursor().copy(f"COPY {name} FROM STDIN") as copy:
                for row in sample(count):
                    copy.write_row(row)
            connection.execute(f"VACUUM (ANALYZE) {name}")  # nobody's first reader shall have to do it


def fill_sqlite(path: Path, *counts: int) -> None:
    """The same in a file, where values are kept as SQLAlchemy keeps them."""
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        for count in counts:
            connection.execute(f"CREATE TABLE {TABLE.format(count)} ({TYPES['sqlite']})")
            connection.executemany(
                f"INSERT INTO {TABLE.format(count)} VALUES (?, ?, ?, ?, ?, ?, ?)", map(_kept, sample(count))
            )


def _kept(row: tuple[Any, ...]) -> tuple[Any, ...]:
    number, at, name, address, succeeded, amount, note = row
    return number, f"{at:%Y-%m-%d %H:%M:%S.%f}", name, address, succeeded, float(amount), note
