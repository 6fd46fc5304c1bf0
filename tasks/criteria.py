"""Criteria that several file types share."""

from __future__ import annotations

from datetime import date

from pydantic import BaseModel, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from bgtasks.periods import FirstDay, LastDay


class DateRange(BaseModel):
    """Days, both ends included; with no last day it goes on to today and beyond. ``last week`` is understood too."""

    from_date: FirstDay = Field(title="First day")
    until_date: LastDay | None = Field(None, title="Last day", description="Nothing: to the end.")

    @field_validator("until_date")
    @classmethod
    def check_order(cls, value: date | None, info: ValidationInfo) -> date | None:
        """An empty range is a mistake, and not an empty file."""
        first = info.data.get("from_date")
        if value is not None and first is not None and value < first:
            raise PydanticCustomError("date_order", "The last day is before the first one.")
        return value
