"""Selects on real databases: the file is the same, byte for byte, by Arrow's road and as tuples."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, tzinfo
from decimal import Decimal
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from sqlalchemy import Column, MetaData, Numeric, Select, Table, func, insert, select, union_all

from bgtasks import database
from bgtasks.deployment import Deployment
from bgtasks.formats import Format
from bgtasks.formats.csv import Csv
from bgtasks.formats.jsonl import JsonLines
from bgtasks.formats.parquet import Parquet
from bgtasks.items import ArrowRows, Items
from tests.formats.roads import written, zones
from tests.items import tables
from tests.items.tables import FINISHED, PLAIN, USUAL, everything

FEW = settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
FORMS = [Csv(), Csv(neutralise=False, delimiter=";"), Parquet(), JsonLines()]


class Tuples(Items):
    """Items that know no other road."""

    @contextmanager
    def open_arrow(self) -> Iterator[ArrowRows | None]:
        yield None


class Watched(Items):
    """Items that say which road was taken."""

    road = ""

    @contextmanager
    def open_arrow(self) -> Iterator[ArrowRows | None]:
        with super().open_arrow() as rows:
            self.road = "arrow" if rows else "tuples"
            yield rows


@pytest.fixture
def fill(parts: Deployment) -> Callable[..., None]:
    """Puts rows, and no others, into the table of everything."""
    tables.metadata.create_all(parts.database.engine)
    return tables.refill


def chosen(*names: str) -> Select[Any]:
    return select(*(everything.c[name] for name in names)).order_by(everything.c.id)


def by_both_roads(source: Any, form: Format, zone: tzinfo = UTC) -> tuple[str, bytes]:
    """The bytes, which are the same, and the road that is taken to them."""
    watched = Watched(source)
    content = written(watched, form, zone)
    assert written(Tuples(source), form, zone) == content
    return watched.road, content


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
@FEW
@given(rows=tables.rows(special=True), zone=zones)
def test_csv_of_any_rows_in_postgresql(fill: Any, rows: Any, zone: tzinfo) -> None:
    """Of every type, NaN and infinities included."""
    fill(rows)
    for form in FORMS[:2]:
        road, content = by_both_roads(chosen("id", *PLAIN, *FINISHED), form, zone)
        assert road == "arrow"
        assert content.count(b"\r\n") >= len(rows) + 1


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@FEW
@given(rows=tables.rows(special=False), zone=zones)
def test_csv_of_any_rows_in_sqlite(fill: Any, rows: Any, zone: tzinfo) -> None:
    """Whichever road that is."""
    fill(rows)
    by_both_roads(chosen("id", *PLAIN, *FINISHED), Csv(), zone)
    by_both_roads(chosen("id", "whole", "text", "ours"), Csv(), zone)


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
@pytest.mark.parametrize("gaps", [False, True])
def test_each_format_of_usual_rows(fill: Any, form: Format, gaps: bool) -> None:
    """On both databases, with columns that have no value at all, and without."""
    row = dict.fromkeys(USUAL) if gaps else USUAL
    fill([row] * 3)
    by_both_roads(chosen("id", *PLAIN, *FINISHED), form)


@FEW
@given(rows=tables.rows(special=False))
def test_parquet_of_any_rows(fill: Any, rows: Any) -> None:
    """On both databases."""
    fill(rows)
    _, content = by_both_roads(chosen("id", *PLAIN, *FINISHED), Parquet())
    assert pq.read_metadata(io.BytesIO(content)).num_rows == len(rows)


def test_the_types_of_a_select_are_known_without_a_row(fill: Any) -> None:
    """So that two exports of one select have one schema, whatever they hold."""
    kinds = ["whole", "double", "money", "exact", "flag", "day", "naive", "ours", "clock", "text"]
    schemas = []
    for rows in ([], [dict.fromkeys(USUAL)], [USUAL]):
        fill(rows)
        schemas.append(pq.read_schema(io.BytesIO(by_both_roads(chosen(*kinds), Parquet())[1])))
    assert schemas[0].equals(schemas[1])
    assert schemas[0].equals(schemas[2])
    assert [str(field.type) for field in schemas[0]] == [
        "int64", "double", "decimal128(12, 2)", "string", "bool", "date32[day]", "timestamp[us]",
        "timestamp[us, tz=UTC]", "time64[us]", "string",
    ]  # fmt: skip


def test_json_lines_have_the_names_of_the_columns(fill: Any) -> None:
    """Which SQLAlchemy gives as a kind of text of its own."""
    fill([USUAL])
    _, content = by_both_roads(select(everything.c.whole, everything.c.money, everything.c.key), JsonLines())
    assert content == b'{"whole":2,"money":"1.50","key":"00000000-0000-0000-0000-000000000007"}\n'


def test_what_is_computed_may_have_more_digits_than_what_it_is_computed_of(fill: Any) -> None:
    """A sum of numeric(12, 2) has its type in SQLAlchemy, but not its digits."""
    fill([USUAL | {"money": Decimal("9999999999.99"), "double": 2.5}] * 2)
    source = select(func.sum(everything.c.money).label("sum"), (everything.c.whole / 4).label("part")).group_by("part")
    _, content = by_both_roads(source, Parquet())
    assert pq.read_table(io.BytesIO(content)).column("sum").to_pylist() == ["19999999999.98"]


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_union_has_decimals_that_are_wide_enough_for_all_of_its_selects(fill: Any) -> None:
    """Its columns have the first select's types in SQLAlchemy, alone and as another's subquery; not their digits."""
    fill([USUAL | {"money": Decimal("1.50")}])
    fine = Table("fine", MetaData(), Column("rate", Numeric(20, 4)))
    with database.current().writing() as session:
        fine.create(session.connection())
        session.execute(insert(fine).values(rate=Decimal("1.2345")))
    union = union_all(select(everything.c.money), select(fine.c.rate))
    for source in (union, select(union.subquery()), select(union.cte().c.money.label("of"))):
        _, content = by_both_roads(source, Parquet())
        [column] = pq.read_table(io.BytesIO(content)).columns
        assert str(column.type) == "decimal128(20, 4)"
        assert sorted(column.to_pylist()) == [Decimal("1.2345"), Decimal("1.50")]
