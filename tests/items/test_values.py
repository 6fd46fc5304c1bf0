"""Whatever the road, the values are those that SQLAlchemy's own rows have."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from sqlalchemy import (
    ARRAY,
    Column,
    GenerativeSelect,
    Integer,
    Interval,
    MetaData,
    Select,
    String,
    Table,
    func,
    literal,
    literal_column,
    select,
    text,
    type_coerce,
    union_all,
)
from sqlalchemy.dialects.postgresql import INET, INTERVAL
from sqlalchemy.exc import DataError
from sqlalchemy.orm import DeclarativeBase, Mapped, deferred, mapped_column

from bgtasks import database
from bgtasks.deployment import Deployment
from bgtasks.errors import UnwritableValue
from bgtasks.items import Items, Kind
from tests.items import tables
from tests.items.reading import as_arrow, as_tuples, comparable
from tests.items.tables import FINISHED, PLAIN, USUAL, everything

POSTGRESQL = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
FEW = settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def fill(parts: Deployment) -> Callable[..., None]:
    """Puts rows, and no others, into the table of everything."""
    tables.metadata.create_all(parts.database.engine)
    return tables.refill


def reference(source: Any) -> list[tuple[Any, ...]]:
    """What SQLAlchemy gives, row by row."""
    with database.current().streaming() as connection:
        return [
            tuple(map(comparable, row)) for row in connection.execution_options(stream_results=False).execute(source)
        ]


def chosen(*names: str) -> Select[Any]:
    """Some of the columns, in the rows' order."""
    return select(*(everything.c[name] for name in names)).order_by(everything.c.id)


# -- types ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@FEW
@given(rows=tables.rows(special=False))
def test_tuples_have_sqlalchemys_values_in_sqlite(fill: Any, rows: Any) -> None:
    """For every type, with values and without."""
    fill(rows)
    source = select(everything).order_by(everything.c.id)
    assert as_tuples(Items(source)) == reference(source)


@POSTGRESQL
@FEW
@given(rows=tables.rows(special=True))
def test_tuples_and_arrow_have_sqlalchemys_values_in_postgresql(fill: Any, rows: Any) -> None:
    """For every type, with parameters and without."""
    fill(rows)
    source = select(everything).order_by(everything.c.id)
    expected = reference(source)
    assert as_tuples(Items(source)) == expected
    assert as_arrow(Items(source)) == expected
    assert as_arrow(Items(source.where(everything.c.id >= 0))) == expected


@POSTGRESQL
def test_every_usual_type_is_read_as_arrow(fill: Any) -> None:
    """And in a kind that a format need not ask Python about."""
    fill([USUAL])
    with Items(chosen(*PLAIN)).open_arrow() as rows:
        assert rows is not None
        assert Kind.OTHER not in rows.kinds


@POSTGRESQL
def test_what_only_python_can_make_of_it_is_finished_by_it(fill: Any) -> None:
    """As long as most of the other columns are Arrow's."""
    fill([USUAL])
    with Items(chosen(*PLAIN, *FINISHED)).open_arrow() as rows:
        assert rows is not None
        assert set(rows.kinds[len(PLAIN) :]) == {Kind.OTHER}
    assert as_arrow(Items(chosen("id", *FINISHED))) is None


UNSURE = [
    literal_column("array[1, 2]", ARRAY(Integer)),
    literal_column("interval '1 day'", Interval),
    literal_column("interval '14 months'", INTERVAL),
    literal_column("timetz '12:00+02'"),
    literal_column("inet '1.2.3.4'", INET),
    literal_column("money '1.50'"),
    literal_column("'a'::\"char\""),
    literal_column("row(1, 2)"),
    literal_column("int4range(1, 2)"),
    literal_column("1::oid"),
    type_coerce(literal_column("timestamptz '2026-07-01'"), tables.Seconds),
]


@POSTGRESQL
def test_what_is_not_known_to_be_the_same_is_left_to_tuples(fill: Any) -> None:
    """Correct goes before fast."""
    fill([USUAL])
    taken = [column for column in UNSURE if as_arrow(Items(select(everything.c.id, column.label("x")))) is not None]
    assert taken == []


@POSTGRESQL
def test_types_that_sqlalchemy_is_not_told_are_postgresqls(fill: Any) -> None:
    """A ``literal_column`` has none; the server knows."""
    fill([USUAL])
    sql = "1.50::numeric AS a, 'x' AS b, now()::date AS c, true AS d, null AS e, timestamptz '2026-07-01' AS f, id"
    source = select(*map(literal_column, sql.split(", "))).select_from(everything)
    assert as_arrow(Items(source)) == as_tuples(Items(source)) == reference(source)


@POSTGRESQL
def test_a_time_that_python_has_not_is_an_error_on_each_road(parts: Deployment) -> None:
    """It must not become another time, nor an empty cell."""
    for kind, value in itertools.product(
        ("date", "timestamp", "timestamptz"), ("infinity", "-infinity", "0044-03-15 BC", "10000-01-01")
    ):
        source = select(literal_column(f"{kind} '{value}'").label("x"))
        with pytest.raises(DataError, match="year"):
            as_tuples(Items(source))
        with pytest.raises(UnwritableValue, match="year"):
            as_arrow(Items(source))
    midnight = select(literal_column("time '24:00'").label("x"))
    with pytest.raises(DataError):
        as_tuples(Items(midnight))
    with pytest.raises(UnwritableValue):
        as_arrow(Items(midnight))


@POSTGRESQL
def test_an_enum_value_that_the_type_has_not_is_an_error_on_each_road(fill: Any) -> None:
    """As SQLAlchemy has it."""
    fill([USUAL])
    source = select(everything.c.id, type_coerce(literal("other"), everything.c.label.type).label("label"))
    assert as_arrow(Items(source)) is None
    with pytest.raises(LookupError):
        as_tuples(Items(source))


@pytest.mark.parametrize("empty", [False, True])
def test_both_roads_know_the_aware_times(fill: Any, empty: bool) -> None:
    """By their values or by their types, where there are none; so the headings are the same."""
    fill([] if empty else [USUAL, USUAL])
    times = chosen("id", "ours", "aware", "naive", "clock", "seconds", "day")
    with Items(times).open() as rows, Items(times).open_arrow() as arrow:
        assert arrow is None or (rows.moments == arrow.moments and rows.columns == arrow.columns)
        assert rows.moments >= {1}


# -- shapes -----------------------------------------------------------------------------------------


class Base(DeclarativeBase):
    metadata = MetaData()


class Entity(Base):
    __table__ = Table(
        "everything",
        Base.metadata,
        Column("id", Integer, primary_key=True),
        Column("name", String),
        Column("day", String),
    )


class Slim(Base):
    __tablename__ = "slim"

    id: Mapped[int] = mapped_column(primary_key=True)
    much: Mapped[str] = deferred(mapped_column(String))
    name: Mapped[str]


other = everything.alias("other")
SHAPES: dict[str, Any] = {
    "all": select(everything),
    "labels": select(everything.c.id.label("No. %"), everything.c.name.label("a b")),
    "the same twice": select(everything.c.id, everything.c.id, everything.c.name.label("id")),
    "a join": select(everything.c.id, other.c.id, other.c.name).join(other, everything.c.id == other.c.id),
    "an entity": select(Entity.id, Entity.name),
    "a whole entity": select(Slim),
    "a union": union_all(chosen("id", "flag").order_by(None), chosen("whole", "flag").order_by(None)),
    "a subquery": select(chosen("ours", "name").subquery()),
    "a common table": select(chosen("aware", "name").cte()),
    "aggregates": select(func.max(everything.c.ours).label("m"), func.count(), func.sum(everything.c.money)),
    "a text with columns": text("SELECT id, name FROM everything").columns(everything.c.id, everything.c.name),
    "a text with others": text("SELECT name AS x, id FROM everything").columns(id=Integer, x=tables.Shouted),
    "a text with fewer": text("SELECT id, name, flag FROM everything").columns(everything.c.id),
    "a text among columns": select(everything.c.ours, text("id AS number"), everything.c.name),
    "a star": select(text("*")).select_from(chosen("id", "name").subquery()),
}


#: Whose columns SQLAlchemy too finds by their names.
BY_NAME = {"a text with others", "a text with fewer", "a text among columns", "a star"}


def test_every_shape_has_sqlalchemys_values_and_names(parts: Deployment, fill: Any) -> None:
    """Also where its order is not that of the declaration, or names come twice; and all but a few are read as Arrow."""
    fill([USUAL])
    Base.metadata.create_all(parts.database.engine)
    with parts.database.writing() as session:
        session.add(Slim(id=1, much="much", name="name"))
    for shape, source in SHAPES.items():
        arrow = parts.database.engine.dialect.name == "postgresql" and shape not in BY_NAME
        for selected in (source, source.limit(5)) if isinstance(source, GenerativeSelect) else (source,):
            with database.current().streaming() as connection, connection.execute(selected) as result:
                names = tuple(result.keys())
            expected = reference(selected)
            assert as_tuples(Items(selected)) == expected, shape
            assert as_arrow(Items(selected)) == (expected if arrow else None), shape
            assert names_of(selected) == ([names, names] if arrow else [names]), shape


def names_of(source: Any) -> list[Any]:
    """The names, by each road that there is."""
    with Items(source).open() as rows, Items(source).open_arrow() as arrow:
        return [rows.columns] + ([arrow.columns] if arrow else [])
