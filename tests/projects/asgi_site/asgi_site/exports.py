"""The site's table and its file types."""

from __future__ import annotations

from datetime import date
from typing import Any

from pydantic import BaseModel
from sqlalchemy import Column, Date, Integer, MetaData, Select, String, Table, select

from bgtasks import FileType, registry

visits = Table(
    "visits",
    MetaData(),
    Column("id", Integer, primary_key=True),
    Column("day", Date, nullable=False),
    Column("gallery", String, nullable=False),
    Column("remark", String, nullable=False),
)


class Days(BaseModel):
    """What a visitor chooses."""

    from_date: date
    until_date: date
    at_once: bool = False


@registry.register
class Visits(FileType):
    """The visits of some days; a hundred of them are there at once."""

    file_type = "visits"
    formats = ("csv", "xlsx")
    criteria_class = Days

    def get_items(self, criteria: Days) -> Select[Any]:
        return select(visits).where(visits.c.day.between(criteria.from_date, criteria.until_date)).order_by(visits.c.id)

    def evaluate_dataset(self, dataset: Any, http_request: Any) -> None:
        dataset.delay = not dataset.criteria.at_once and dataset.count() > 100
