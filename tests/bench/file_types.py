"""The file type that is measured in a real worker."""

from __future__ import annotations

import os
from typing import Any

from pydantic import BaseModel
from sqlalchemy import Select

from bgtasks import FileType, registry
from tests.bench import data

#: The environment variable with the URL of the database that the rows come from; none: the record's own.
SOURCE = "BENCH_SOURCE_URL"


@registry.register
class Events(FileType):
    """The table of so many rows; nobody is told, since a mail takes what its server takes."""

    file_type = "bench_events"
    formats = ("csv", "xlsx", "jsonl", "parquet")
    notifiers = ()

    class Criteria(BaseModel):
        rows: int = 10

    def get_source_url(self) -> str | None:
        return os.environ.get(SOURCE)

    def get_items(self, criteria: Any) -> Select[Any]:
        return data.everything(criteria.rows)
