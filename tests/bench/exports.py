"""The file types that are measured: the same seven columns from each database."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from pydantic import BaseModel
from sqlalchemy import Boolean, Column, Integer, MetaData, Numeric, Select, String, Table, select

from bgtasks import FileType, registry
from bgtasks.models import UtcDateTime

#: The environment variables with the databases' URLs begin with this.
URL = "BENCH_URL_"
FIRST = datetime(2020, 1, 1, tzinfo=UTC)

metadata = MetaData()

events = Table(
    "events",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("at", UtcDateTime, nullable=False),
    Column("name", String, nullable=False),
    Column("address", String, nullable=False),
    Column("succeeded", Boolean, nullable=False),
    Column("amount", Numeric(12, 2), nullable=False),
    Column("note", String),
)


def sample(count: int) -> Iterator[dict[str, Any]]:
    """So many rows, of many lengths."""
    names = ("Zoë Müller", "Łukasz Żak", "山田太郎", "ada@example.com", "=SUM(1;1)")
    for number in range(count):
        yield {
            "id": number,
            "at": FIRST + timedelta(seconds=37 * number),
            "name": f"{names[number % len(names)]} {number}",
            "address": f"2001:db8::{number % 65_536:x}",
            "succeeded": number % 7 != 0,
            "amount": Decimal(number) / 100,
            "note": None if number % 3 else "so many words " * (number % 10),
        }


class Events(FileType):
    """The first rows of the table."""

    class Criteria(BaseModel):
        rows: int

    formats = ("csv", "xlsx")

    def get_source_url(self) -> str:
        return os.environ[URL + self.file_type.removeprefix("events_").upper()]

    def get_items(self, criteria: Any) -> Select[Any]:
        return select(events).where(events.c.id < criteria.rows).order_by(events.c.id)


@registry.register
class SqliteEvents(Events):
    file_type = "events_sqlite"


@registry.register
class PostgresqlEvents(Events):
    file_type = "events_postgresql"
