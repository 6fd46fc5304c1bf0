"""File types for a person's walks: the tests put this module among the reference deployment's own."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field

from bgtasks import FileType, registry, settings
from bgtasks.file_types import Dataset
from bgtasks.items import Items
from tasks.flights import Flights, flights

ROWS = 12_000  # of a gated file
#: Rows and seconds between two gates: progress is written after a batch of so many, and at most once a second.
BATCH, PAUSE = 2000, 1.1


class GatedRows:
    """Rows that come a batch at a time, as far as a gate is open: a file that says how many may pass."""

    def __init__(self, gate: Path) -> None:
        self._gate = gate

    def __len__(self) -> int:
        return ROWS

    def __iter__(self) -> Iterator[dict[str, int]]:
        open_to = 0
        for number in range(1, ROWS + 1):
            if number > open_to:
                open_to = self._passed(number)
            yield {"number": number}

    def _passed(self, number: int) -> int:
        """How many rows may pass, once this one may; all of them, once the gate is wide open."""
        time.sleep(PAUSE)
        while not self._gate.exists() or (open_to := int(self._gate.read_text())) < number:
            time.sleep(0.02)
        return open_to if open_to >= ROWS else number + BATCH - 1


class Gated(FileType):
    """Rows that come one gate at a time."""

    file_type = "gated"
    file_description = "Gated rows"

    class Criteria(BaseModel):
        gate: str = Field(title="Gate", pattern=r"^\w+$")

    def get_items(self, criteria: Any) -> GatedRows:
        return GatedRows(settings.current().root / "var" / f"{criteria.gate}.gate")


class Fleeting(FileType):
    """A file whose link works for a moment only."""

    file_type = "fleeting"
    file_description = "Fleeting file"
    max_age = 1.0

    def get_items(self, criteria: Any) -> list[dict[str, int]]:
        return [{"number": 1}]


class Failing(FileType):
    """A file that can't be made."""

    file_type = "failing"
    file_description = "Failing file"

    class Criteria(BaseModel):
        pass

    def get_items(self, criteria: Any) -> list[dict[str, int]]:
        raise ValueError("an inner secret")

    def build_dataset(self, http_request: Any) -> Dataset:
        return Dataset(self.build_criteria(http_request), Items([]))


class Cabin(StrEnum):
    """Where one sits."""

    FIRST = "first"
    COACH = "coach"


class Survey(FileType):
    """One field of each kind."""

    file_type = "survey"
    file_description = "Survey <b>&amp;"

    class Criteria(BaseModel):
        day: date
        name: str = Field("O'Hara & <Sons>", title="Name <i>", description="A hint with <u>markup</u>.")
        count: int = Field(3, ge=1, le=9, title="Count")
        share: float | None = None
        is_urgent: bool = True
        is_paid: bool | None = None
        cabin: Cabin = Cabin.COACH
        meal: Literal["fish", "fruit"] | None = None
        letters: set[Literal["a", "b", "c"]] = {"b"}
        tags: list[str] = []
        after: str = Field("", alias="from")

    def evaluate_dataset(self, dataset: Any, http_request: Any) -> None:
        dataset.delay = False

    def get_items(self, criteria: Any) -> list[dict[str, str]]:
        return [{"criteria": criteria.model_dump_json()}]


class FlightsInParts(Flights):
    """The reference deployment's, of which two workers may write a half each."""

    file_type = "flights_in_parts"
    file_description = "Halves of flights"
    formats = ("csv",)
    parts = 2
    part_key = flights.c.id


for each in (Gated, Fleeting, Failing, Survey, FlightsInParts):
    registry.register(each)
