"""Flights of the tests' own, in the table that the reference deployment exports."""

from __future__ import annotations

import csv
import io
from datetime import UTC, date, datetime, timedelta
from typing import Any

from sqlalchemy import insert

from bgtasks.database import Database
from tasks.flights import Flights, flights, metadata

HEADINGS = tuple(Flights.columns.values())


def flight(number: int) -> dict[str, Any]:
    """A row of the table: half of them are of the carrier that is asked for."""
    return {
        "date": date(2013, 4, 1) + timedelta(days=number % 30),
        "carrier": ("ZQ", "UA")[number % 2],
        "flight": number,
        "tailnum": ("=cmd|x", 'Ü,"码', None, "N7 45")[number // 2 % 4],
        "origin": "JFK",
        "dest": "LAX",
        "sched_dep_time": 515,
        "dep_time": 517 if number % 3 else None,
        "dep_delay": -2,
        "sched_arr_time": 819,
        "arr_time": None,
        "arr_delay": None,
        "air_time": 227,
        "distance": 2475,
        "time_hour": datetime(2013, 4, 1, 10, tzinfo=UTC) + timedelta(hours=number),
    }


FLIGHTS = [flight(number) for number in range(5000)]


def fill(source: Database) -> None:
    """Make the table, and put the flights into it."""
    metadata.create_all(source.engine)
    with source.writing() as session:
        session.execute(insert(flights), FLIGHTS)


def as_csv(rows: list[dict[str, Any]]) -> bytes:
    """What the file must be, written independently of the library."""
    page = io.StringIO(newline="")
    writer = csv.writer(page)
    writer.writerow(HEADINGS)
    for row in rows:
        neutralised = "'" + row["tailnum"] if (row["tailnum"] or "").startswith("=") else row["tailnum"]
        writer.writerow({**row, "tailnum": neutralised, "time_hour": row["time_hour"].isoformat(" ")}.values())
    return page.getvalue().encode()
