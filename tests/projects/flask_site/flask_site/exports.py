"""The site's file types."""

from __future__ import annotations

from datetime import date
from typing import Any

from pydantic import BaseModel
from sqlalchemy import Select, select

from bgtasks import FileType, registry
from flask_site.models import Reading

SMALL = 100  # rows that nobody needs to wait for


@registry.register
class Readings(FileType):
    """The readings of some days."""

    file_type = "readings"
    file_description = "Readings"

    class Criteria(BaseModel):
        from_date: date
        until_date: date
        at_once: bool = False

    def get_items(self, criteria: Any) -> Select[Any]:
        columns = select(Reading.id, Reading.day, Reading.station, Reading.remark).order_by(Reading.id)
        return columns.where(Reading.day.between(criteria.from_date, criteria.until_date))

    def evaluate_dataset(self, dataset: Any, http_request: Any) -> None:
        dataset.delay = dataset.count() > SMALL and not dataset.criteria.at_once
