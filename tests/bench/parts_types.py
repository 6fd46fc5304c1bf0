"""The file types that are measured in parts: the same rows, by a key of their own, and by one that most share."""

from __future__ import annotations

import functools
import os
from typing import Any

from pydantic import BaseModel
from sqlalchemy import Column, Integer, Select, Table, select

from bgtasks import FileType, registry
from tests.bench import data
from tests.bench.file_types import SOURCE

#: The queue that all workers consume, and what those are called that one of them has for itself.
SHARED, OWN = "files.bench_parts", "files.bench_parts_{}"
#: Of the table that has so many rows.
SKEWED = "skewed_{}"
#: One row of so many has a key of its own; all others have the same one.
RARE = 10


@registry.register
class Divided(FileType):
    """The table of so many rows, in so many parts; nobody is told, since a mail takes what its server takes."""

    file_type = "bench_parts"
    formats = ("csv",)
    notifiers = ()
    part_key = "id"

    class Criteria(BaseModel):
        rows: int
        parts: int = 1
        queue: str = SHARED

    def get_source_url(self) -> str | None:
        return os.environ.get(SOURCE)

    def get_queue(self, criteria: Any = None, count: int | None = None) -> str:
        return criteria.queue if criteria else SHARED

    def get_parts(self, criteria: Any, count: int) -> int:
        return int(criteria.parts)

    def get_items(self, criteria: Any) -> Select[Any]:
        return data.everything(criteria.rows)


@registry.register
class Skewed(Divided):
    """The same rows in the same order, of which most share one key."""

    file_type = "bench_skewed"
    part_key = "shared"

    def get_items(self, criteria: Any) -> Select[Any]:
        table = skewed(criteria.rows)
        columns = (column for column in table.c if column.name != self.part_key)
        return select(*columns).order_by(table.c.shared, table.c.id)


@functools.cache
def skewed(rows: int) -> Table:
    """The table of so many rows, of which most share one key."""
    same = data.table(rows)
    columns = (Column(column.name, column.type) for column in same.c)
    return Table(SKEWED.format(rows), same.metadata, *columns, Column("shared", Integer))


def skewing(rows: int) -> tuple[str, str]:
    """The SQL that makes it of the table of so many rows."""
    name, events, first = SKEWED.format(rows), data.table(rows).name, rows // RARE
    shared = f"CASE WHEN id < {first} THEN id ELSE {first} END AS shared"
    return (
        f"CREATE TABLE {name} AS SELECT *, {shared} FROM {events} ORDER BY id",
        f"CREATE INDEX {name}_shared ON {name} (shared, id)",
    )
