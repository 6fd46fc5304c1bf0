"""Criteria that several file types share."""

from __future__ import annotations

from datetime import date
from typing import Self

from pydantic import BaseModel, model_validator


class DateRange(BaseModel):
    """Days, both ends included; with no last day it goes on to today and beyond."""

    from_date: date
    until_date: date | None = None

    @model_validator(mode="after")
    def check_order(self) -> Self:
        """An empty range is a mistake, and not an empty file."""
        if self.until_date is not None and self.until_date < self.from_date:
            raise ValueError("until_date is before from_date")
        return self
