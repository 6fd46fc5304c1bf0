"""A column of times names the zone that they are shown in."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, time, timedelta, timezone
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import openpyxl
import pytest
from sqlalchemy import (
    Column,
    DateTime,
    Integer,
    MetaData,
    Table,
    Time,
    func,
    insert,
    select,
    text,
    type_coerce,
    union_all,
)
from sqlalchemy.types import TypeDecorator

from bgtasks import database
from bgtasks.deployment import Deployment
from bgtasks.formats.csv import Csv
from bgtasks.formats.xlsx import Xlsx
from bgtasks.items import BATCH, Items
from bgtasks.models import UtcDateTime
from tests.conftest import new_postgresql, new_sqlite

ZURICH = ZoneInfo("Europe/Zurich")
NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
NAIVE = NOON.replace(tzinfo=None)

metadata = MetaData()
moments = Table(
    "moments",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("ours", UtcDateTime),
    Column("aware", DateTime(timezone=True)),
    Column("naive", DateTime),
    Column("clock", Time(timezone=True)),
)


class Event(NamedTuple):
    """A row with names."""

    name: str
    at: datetime | None


class Pairs:
    """Rows that can be looked at only once."""

    def __iter__(self) -> Iterator[Any]:
        for number in range(3):
            yield iter((number, NOON))


def as_csv(source: Any, zone: Any = ZURICH, columns: Any = None, **options: Any) -> list[list[str]]:
    """The lines of a CSV file."""
    buffer = io.BytesIO()
    Csv(**options).write(Items(source, columns=columns), buffer, zone)
    return list(csv.reader(io.StringIO(buffer.getvalue().decode(), newline="")))


def as_xlsx(source: Any, zone: Any = ZURICH, columns: Any = None) -> list[tuple[Any, ...]]:
    """The rows of a workbook."""
    buffer = io.BytesIO()
    Xlsx().write(Items(source, columns=columns), buffer, zone)
    book = openpyxl.load_workbook(buffer)
    return list(book.active.iter_rows(values_only=True))  # type: ignore[union-attr]


def headings(source: Any, zone: Any = ZURICH, columns: Any = None) -> list[str]:
    """The first line, which is the same in both formats where the zone is known."""
    line = as_csv(source, zone, columns)[0]
    assert list(as_xlsx(source, zone, columns)[0]) == line
    return line


# -- what is said --------------------------------------------------------------------------------------


def test_a_csv_names_the_zone_that_somebody_chose() -> None:
    """Its times have their offset in any case."""
    source = [Event("start", NOON)]
    assert as_csv(source) == [["name", "at (Europe/Zurich)"], ["start", "2026-07-01 14:00:00+02:00"]]
    assert as_csv(source, UTC) == [["name", "at"], ["start", "2026-07-01 12:00:00+00:00"]]
    assert as_csv(source, ZoneInfo("UTC"))[0] == ["name", "at (UTC)"]
    assert as_csv(source, timezone(timedelta(hours=2)))[0] == ["name", "at (UTC+02:00)"]


def test_a_workbook_always_names_it() -> None:
    """Its times have no offset: without the zone nobody could tell when that was."""
    source = [Event("start", NOON)]
    assert as_xlsx(source) == [("name", "at (Europe/Zurich)"), ("start", NAIVE + timedelta(hours=2))]
    assert as_xlsx(source, UTC) == [("name", "at (UTC)"), ("start", NAIVE)]


@pytest.mark.parametrize("value", [NAIVE, date(2026, 7, 1), time(12, tzinfo=UTC), "2026-07-01T12:00Z", None, 1])
def test_what_is_no_time_with_a_zone_is_not_moved_and_names_none(value: Any) -> None:
    """Dates, times that say nothing of a zone, and times of day."""
    assert headings([(value, NOON)], columns=("what", "at")) == ["what", "at (Europe/Zurich)"]


def test_the_headings_that_a_type_declares_name_it_too() -> None:
    """And rows without headings have none."""
    assert headings([("a", NOON)], columns=("name", "when")) == ["name", "when (Europe/Zurich)"]
    assert as_csv([("a", NOON)]) == [["a", "2026-07-01 14:00:00+02:00"]]
    assert as_csv([Event("a", NOON)], header=False) == [["a", "2026-07-01 14:00:00+02:00"]]


def test_a_heading_with_a_zone_is_neutralised_as_any_other() -> None:
    """It may come from what users have typed."""
    assert as_csv([{"=now()": NOON}])[0] == ["'=now() (Europe/Zurich)"]


# -- how it is known --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "rows",
    [
        [{"name": "a", "at": NOON}],
        [Event("a", None), Event("b", None), Event("c", NOON)],
        [Event("a", None)] * (BATCH - 1) + [Event("b", NOON)],
        (Event("a", NOON) for _ in range(1)),
    ],
)
def test_the_first_batch_shows_it(rows: Any) -> None:
    """A column's first times may be missing."""
    assert as_csv(rows)[0] == ["name", "at (Europe/Zurich)"]


def test_rows_that_can_be_looked_at_only_once_are_left_alone() -> None:
    """They are all written; of what they hold nothing is known before."""
    lines = as_csv(Pairs(), columns=("number", "at"))
    assert lines[0] == ["number", "at"]
    assert [line[0] for line in lines[1:]] == ["0", "1", "2"]


@pytest.mark.parametrize("rows", [[(1,), (2, NOON)], [(1, NOON), (2,)], [(1, NOON, NOON)], [()]])
def test_rows_of_different_lengths_are_written_as_they_are(rows: Any) -> None:
    """Whether a heading belongs to each cell or not."""
    assert len(as_csv(rows, columns=("number", "at"))) == len(rows) + 1


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Any) -> str:
    """Each says in its own way what its times are."""
    if request.param == "sqlite":
        return new_sqlite(tmp_path)
    return new_postgresql(request.getfixturevalue("postgres"))


@pytest.fixture
def table(parts: Deployment) -> Callable[..., None]:
    """Fills the table of moments."""
    metadata.create_all(database.current().engine)

    def fill(**row: Any) -> None:
        with database.current().writing() as session:
            session.execute(insert(moments).values(**row))

    return fill


class Local(TypeDecorator[datetime]):
    """Makes local times of what it reads."""

    impl = UtcDateTime
    cache_ok = True

    def process_result_value(self, value: Any, dialect: Any) -> Any:
        return value and value.replace(tzinfo=None)


def test_a_select_knows_it_by_the_types_of_its_columns(table: Callable[..., None]) -> None:
    """Also where there are no rows, or no values. SQLite keeps no zones, but a type may add them."""
    aware = " (Europe/Zurich)" if database.current().engine.dialect.name == "postgresql" else ""
    expected = ["id", "ours (Europe/Zurich)", f"aware{aware}", "naive", "clock"]
    assert headings(select(moments)) == expected
    table(id=1)
    assert headings(select(moments)) == expected
    table(id=2, ours=NOON, aware=NOON, naive=NAIVE)
    assert headings(select(moments)) == expected
    latest = select(moments.c.id, func.max(moments.c.ours).label("latest")).group_by(moments.c.id)
    assert headings(latest) == ["id", "latest (Europe/Zurich)"]
    assert headings(union_all(select(moments.c.ours), select(moments.c.ours))) == ["ours (Europe/Zurich)"]


def test_values_know_better_than_types(table: Callable[..., None]) -> None:
    """A text in SQL has no types, and a type may be made into another."""
    table(id=2, ours=NOON)
    made = select(moments.c.id, type_coerce(moments.c.ours, Local).label("local"))
    assert headings(made) == ["id", "local"]
    if database.current().engine.dialect.name == "postgresql":
        sql = text("SELECT id, ours FROM moments").columns(moments.c.id)
        assert headings(sql) == ["id", "ours (Europe/Zurich)"]
    assert headings(select(text("1 AS one"), moments.c.ours)) == ["one", "ours (Europe/Zurich)"]
