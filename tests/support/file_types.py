"""File types that the tests register."""

from __future__ import annotations

from datetime import date
from typing import Any

from pydantic import BaseModel

from bgtasks import FileType

HEADINGS = ("number", "name")


def rows(count: int) -> list[tuple[int, str]]:
    """The rows of ``Numbers``."""
    return [(number, f"name {number}") for number in range(count)]


class Numbers(FileType):
    """So many rows, from no database."""

    file_type = "numbers"
    file_description = "Some numbers"
    formats = ("csv", "xlsx")
    columns = HEADINGS

    class Criteria(BaseModel):
        count: int = 3
        since: date | None = None

    def get_items(self, criteria: Any) -> Any:
        return rows(criteria.count)
