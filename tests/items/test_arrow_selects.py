"""A select as Arrow: its parameters, its snapshot, its connection; and when tuples are the road instead."""

from __future__ import annotations

import uuid
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import (
    URL,
    Column,
    Integer,
    MetaData,
    Numeric,
    Select,
    SmallInteger,
    String,
    Table,
    and_,
    bindparam,
    column,
    create_engine,
    func,
    insert,
    literal,
    literal_column,
    null,
    select,
    text,
    tuple_,
    update,
)
from sqlalchemy.dialects.postgresql import CITEXT
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.pool import NullPool
from sqlalchemy.types import NullType

from bgtasks import database, extras, patience
from bgtasks.database import Database
from bgtasks.deployment import Deployment
from bgtasks.items import BATCH, FEW, Items, arrow_selects
from bgtasks.items.arrow_selects import FETCHED, FETCHED_BYTES, conninfo
from bgtasks.items.statements import compiled
from tests.conftest import new_postgresql
from tests.items.reading import as_arrow, as_tuples, connections

metadata = MetaData()
people = Table(
    "people", metadata, Column("id", Integer, primary_key=True), Column("name", String), Column("note", String)
)
COUNT = 2 * FETCHED + 500
EVIL = "'; DROP TABLE people; -- $1 %s :x \\"

#: With no text among its parameters it is a COPY, else a cursor of the server's.
WHOLE = select(people).where(people.c.id >= 0)
BOUND = select(people).where(people.c.name != "")


@pytest.fixture
def database_url(request: pytest.FixtureRequest) -> str:
    """Arrow is PostgreSQL's road."""
    return new_postgresql(request.getfixturevalue("postgres"))


@pytest.fixture
def table(parts: Deployment) -> Table:
    """More people than fit into a batch of either road."""
    metadata.create_all(parts.database.engine)
    with parts.database.writing() as session:
        rows = select(literal_column("i"), literal_column("'n' || i"), literal_column("repeat('x', 500)"))
        counting = func.generate_series(0, COUNT - 1).alias("i")
        session.execute(insert(people).from_select(["id", "name", "note"], rows.select_from(counting)))
    return people


# -- parameters ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [0, -(2**63), 2**63 - 1, 0.1, -0.0, 5e-324, float("-inf"), "", EVIL, "ü\n\t", True, None, b"\0\xff",
     date(1, 1, 1), datetime(2026, 7, 1, 12),  # noqa: DTZ001
     datetime(2026, 7, 1, 12, tzinfo=timezone(timedelta(hours=2))), Decimal("0.25"), Decimal(-7), uuid.UUID(int=7)],
)  # fmt: skip
def test_a_value_comes_back_as_it_was_bound(parts: Deployment, value: Any) -> None:
    """By each road, and as the same type."""
    source = select(literal(value).label("x"), literal(1).label("y"), literal_column("2").label("z"))
    assert as_arrow(Items(source)) == as_tuples(Items(source))


@pytest.mark.parametrize("place", [people.c.id > -(2**31), literal(-(2**15), SmallInteger) < people.c.id])
def test_a_minus_is_a_numbers_own(table: Table, place: Any) -> None:
    """And no operator on the one that is cast, which would be too large for its type."""
    source = select(func.count(people.c.id), literal_column("1")).where(place)
    assert as_arrow(Items(source)) == [((int, COUNT), (int, 1))]


@pytest.mark.parametrize("value", [5, 40_000, 3_000_000_000, Decimal("0.25"), 0.5])
def test_a_value_without_a_cast_is_of_psycopgs_type(parts: Deployment, value: Any) -> None:
    """An integer under a type that SQLAlchemy does not cast is as small as it can be: sums of it are of other types."""
    kind = func.pg_typeof(literal(value, Numeric)).cast(String)
    source = select(kind, func.sum(literal(value, Numeric)), literal_column("1"), literal_column("2"))
    assert as_arrow(Items(source)) == as_tuples(Items(source))


def test_only_texts_are_kept_out_of_the_sql(parts: Deployment) -> None:
    """PostgreSQL's COPY takes no parameters; its log has the SQL of what fails, which shall tell nobody's name."""
    dialect = parts.database.engine.dialect
    day = bindparam("day", date(2026, 7, 1))
    counted = select(people.c.id + 5, literal_column("'100 %(x)s'")).where(day > date(2026, 1, 1), day.is_not(None))
    copied = compiled(counted, dialect)
    assert copied is not None
    assert (copied.parameters, copied.sql.count("'2026-07-01'::date"), copied.sql.count("'5'::smallint")) == ((), 2, 1)
    assert "'100 %(x)s'" in copied.sql
    named = compiled(counted.where(people.c.name == EVIL, people.c.note != EVIL), dialect)
    assert named is not None
    assert {5, EVIL, date(2026, 7, 1)} < {*named.parameters}
    assert (EVIL in named.sql, "2026" in named.sql, named.sql.count("$2")) == (False, False, 2)


@pytest.mark.parametrize(
    "value", [2**63, Decimal("1.50"), Decimal("NaN"), Decimal("1E+3"), timedelta(1), time(1), [1], "\0"]
)
def test_a_value_that_may_be_bound_in_another_way_is_left_to_tuples(parts: Deployment, value: Any) -> None:
    """The zeros at a Decimal's end, say, are PostgreSQL's to show."""
    assert as_arrow(Items(select(literal(value).label("x"), literal_column("1").label("y")))) is None


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        (people.c.name == "n7", [7]),
        (people.c.name == EVIL, []),
        (people.c.name.in_(["n1", EVIL, "n2"]), [1, 2]),
        (people.c.id.in_([]), []),
        (people.c.id.not_in([]) & (people.c.id < 2), [0, 1]),
        (people.c.name.like("n1049_"), list(range(10490, 10500))),
        (people.c.name.contains("1%", autoescape=True), []),
        (and_(people.c.id % 5000 == 0, people.c.id > 0), [5000, 10000]),
        (people.c.name == null(), []),
        (people.c.name == bindparam("of: $1", "n9"), [9]),
        (people.c.id.in_(select(people.c.id).where(people.c.name == "n8")), [8]),
    ],
)
def test_every_kind_of_condition_is_bound(table: Table, condition: Any, expected: list[int]) -> None:
    """Each parameter at its place, and none of them as SQL."""
    source: Select[Any] = select(people.c.id).where(condition).order_by(people.c.id)
    found = as_arrow(Items(source))
    assert found == as_tuples(Items(source)) == [((int, number),) for number in expected]
    with database.current().reading() as session:
        assert session.scalar(select(func.count()).select_from(people)) == COUNT


def test_limits_are_parameters_and_text_to_be_executed_as_it_is_is_refused(table: Table) -> None:
    """The latter is quoted by what the server says of itself, and only SQLAlchemy's connection has asked."""
    source = select(people.c.id).order_by(people.c.id).limit(2).offset(3)
    assert as_arrow(Items(source)) == [((int, 3),), ((int, 4),)]
    literally = select(people.c.id).where(people.c.name == bindparam("x", "n1", literal_execute=True))
    assert as_arrow(Items(literally)) is None
    assert len(as_tuples(Items(literally))) == 1


@pytest.mark.parametrize(
    "condition",
    [
        text("code = :code").bindparams(bindparam("code", "ab ", NullType())),
        column("code", CITEXT) == "ab ",
        tuple_(column("code"), literal_column("1")).in_([("ab ", 1)]),
    ],
)
def test_a_text_whose_type_postgresql_decides_is_left_to_tuples(parts: Deployment, condition: Any) -> None:
    """It is a ``char`` beside a ``char``, whose blanks do not count; from Arrow's driver it is ``text``."""
    with parts.database.writing() as session:
        session.execute(text("CREATE TABLE codes AS SELECT 7 AS id, CAST('ab' AS char(5)) AS code"))
    source = select(column("id", Integer)).select_from(text("codes")).where(condition)
    assert as_arrow(Items(source)) is None
    assert as_tuples(Items(source)) == [((int, 7),)]


def test_schemas_that_the_select_renames_are_left_to_tuples(parts: Deployment) -> None:
    """One for each customer: by the other road it would be another's rows. They are counted there too."""
    things = Table("things", MetaData(), Column("id", Integer))
    with parts.database.writing() as session:
        session.execute(text("CREATE TABLE things AS SELECT 1 AS id"))
        session.execute(text("CREATE SCHEMA theirs"))
        session.execute(text("CREATE TABLE theirs.things AS SELECT * FROM generate_series(2, 4) AS id"))
    source = select(things).execution_options(schema_translate_map={None: "theirs"})
    assert as_arrow(Items(source)) is None
    assert as_tuples(Items(source)) == [((int, number),) for number in (2, 3, 4)]
    assert Items(source).count() == 3
    assert Items(select(things)).count() == 1


# -- the rows -------------------------------------------------------------------------------------------


def test_fewer_large_rows_are_fetched_at_once(table: Table) -> None:
    """The first batch shows how large they are; 5,000 of 1 MB would be more memory than there is."""
    source = select(func.repeat(people.c.note, 20).label("x")).where(people.c.name != "")
    with Items(source).open_arrow() as rows:
        assert rows is not None
        first, *others = [(batch.num_rows, batch.nbytes) for batch in rows.batches]
    assert first[0] == BATCH
    assert max(size for _, size in others) < 1.1 * FETCHED_BYTES
    assert first[0] + sum(count for count, _ in others) == COUNT


@pytest.mark.parametrize("source", [WHOLE, BOUND])
@pytest.mark.parametrize("road", [Items.open, Items.open_arrow])
def test_rows_that_come_while_it_is_read_are_not_in_it(parts: Deployment, table: Table, source: Any, road: Any) -> None:
    """Each road has one snapshot."""
    with road(Items(source)) as rows:
        seen = len(next(rows.batches))
        with parts.database.writing() as session:
            session.execute(update(people).values(name="late"))
            session.execute(insert(people), [{"id": COUNT + number} for number in range(5)])
        late = 0
        for batch in rows.batches:
            seen += len(batch)
            values = [row[1] for row in batch] if road is Items.open else rows.values(batch, 1)
            late += values.count("late")
    assert (seen, late) == (COUNT, 0)


@pytest.mark.parametrize("source", [WHOLE, BOUND])
def test_batches_are_small_and_the_watch_sees_the_total_before_each(table: Table, source: Any) -> None:
    """Both for flat memory and for the progress."""
    items, seen = Items(source), []
    items.watch = seen.append
    with items.open_arrow() as rows:
        assert rows is not None
        for number, batch in enumerate(rows.batches, 1):
            assert len(seen) == number
            assert batch.nbytes < 2 * FETCHED * 520
    assert len(seen) >= 3
    assert seen[-1] == COUNT


@pytest.mark.parametrize("source", [WHOLE, BOUND])
def test_who_stops_in_the_middle_leaves_no_connection(parts: Deployment, table: Table, source: Any) -> None:
    """The server hands nothing out to nobody."""
    with pytest.raises(RuntimeError, match="stop"), Items(source).open_arrow() as rows:
        assert rows is not None
        next(rows.batches)
        assert connections(parts) == 1
        raise RuntimeError("stop")
    assert connections(parts) == 0


@pytest.mark.parametrize("source", [WHOLE, BOUND])
@pytest.mark.parametrize("road", [Items.open, Items.open_arrow])
def test_a_database_that_goes_away_in_the_middle_is_an_outage(
    parts: Deployment, table: Table, source: Any, road: Any
) -> None:
    """It is worth another try, whichever road it was."""
    with parts.database.writing() as session:  # more than fits between here and there
        session.execute(update(people).values(note=func.repeat("y", 5_000)))
    others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
    with pytest.raises(OperationalError) as lost, road(Items(source)) as rows:
        next(rows.batches)
        with parts.database.reading() as session:
            session.execute(text(f"{others} AND datname = current_database()")).all()
        list(rows.batches)
    assert patience.is_transient(lost.value)


def test_an_error_in_the_middle_is_no_outage_and_tells_no_parameters(parts: Deployment, table: Table) -> None:
    """Trying again would not help."""
    for last in (literal_column("10499"), literal(10499)):
        source = select((literal_column("1") / (last - people.c.id)).label("x"), people.c.note)
        with pytest.raises(DBAPIError, match="division by zero") as failed:
            as_arrow(Items(source))
        assert not patience.is_transient(failed.value)
        assert "10499" not in str(failed.value)


def test_one_that_is_cancelled_is_tried_again(parts: Deployment, table: Table) -> None:
    """As SQLAlchemy has it: a server that is too busy cancels what it can't serve."""
    with parts.database.writing() as session:
        session.execute(update(people).values(note=func.repeat("y", 5_000)))
    cancel = text("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query LIKE 'COPY%'")
    with pytest.raises(OperationalError, match="cancel") as cancelled, Items(WHOLE).open_arrow() as rows:
        assert rows is not None
        next(rows.batches)
        with parts.database.reading() as session:
            assert session.scalars(cancel).all() == [True]
        list(rows.batches)
    assert patience.is_transient(cancelled.value)


def test_what_writes_is_refused_on_each_road(parts: Deployment, table: Table) -> None:
    """An export reads."""
    with parts.database.writing() as session:
        session.execute(text("CREATE SEQUENCE counter"))
    source = select(func.nextval("counter").label("x"))
    assert as_arrow(Items(source)) is None
    with pytest.raises(DBAPIError, match="read-only"):
        as_tuples(Items(source))


def test_a_statement_that_is_wrong_fails_as_it_does_on_the_other_road(parts: Deployment) -> None:
    """Before anything is handed out: so there is one error for it."""
    source = select(people.c.id)
    assert as_arrow(Items(source)) is None
    with pytest.raises(DBAPIError, match="does not exist"):
        as_tuples(Items(source))


def test_few_rows_are_not_worth_a_connection_of_their_own(parts: Deployment, table: Table) -> None:
    """Where somebody knows that they are few: they have been counted, by these items or by an earlier step."""
    few = Items(WHOLE.limit(10))
    assert len(as_arrow(few) or ()) == few.count() == 10
    assert as_arrow(few) is None
    many = Items(WHOLE)
    many.expected = FEW
    assert len(as_arrow(many) or ()) == COUNT


def test_a_column_that_is_not_in_the_file_need_not_be_known(parts: Deployment, table: Table) -> None:
    """It is left where it is."""
    source = select(people.c.id, literal_column("interval '1 day'").label("for")).where(people.c.id < 2)
    assert as_arrow(Items(source)) is None
    assert as_arrow(Items(source, chosen=("id",))) == [((int, 0),), ((int, 1),)]


def test_without_the_driver_tuples_are_the_road(
    parts: Deployment, table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The extra ``arrow`` is nobody's duty."""
    monkeypatch.setattr("bgtasks.items.has", lambda *packages: extras.has(*packages, "no_such_package"))
    assert as_arrow(Items(WHOLE)) is None


# -- the connection ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("password", ["plain", "a b", "it's", "back\\slash", "p@ss:w/rd?&#%41+", "ü", "'\\' '"])
def test_a_password_of_any_characters_reaches_the_server(parts: Deployment, tmp_path: Any, password: str) -> None:
    """As it is in the URL, whatever libpq's own quoting."""
    url = URL.create("postgresql", "me", password=password, host="h", port=5433, database="d b")
    to = conninfo(Database(url.render_as_string(hide_password=False), tmp_path))
    parts_of_it = {"user": "me", "password": password, "host": "h", "port": "5433", "dbname": "d b"}
    assert to is not None
    assert conninfo_to_dict(to) == parts_of_it | {"client_encoding": "UTF8"}


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql://h/d?sslmode=require&connect_timeout=3", {"sslmode": "require", "connect_timeout": "3"}),
        ("postgresql://u@/d?host=a:1&host=b:2", {"host": "a,b", "port": "1,2"}),
        ("postgresql://h/d?client_encoding=latin1", {"client_encoding": "UTF8"}),
        ("postgresql://h/d?prepare_threshold=5", None),
        ("sqlite:///d", None),
    ],
)
def test_only_what_libpq_knows_is_handed_to_it(url: str, expected: Any, tmp_path: Any) -> None:
    """What only psycopg understands would be lost."""
    to = conninfo(Database(url, tmp_path))
    assert (to is None) == (expected is None)
    assert (expected or {}).items() <= conninfo_to_dict(to or "").items()


def test_texts_are_unicode_whatever_the_database_keeps(postgres: str, parts: Deployment) -> None:
    """One of LATIN1 is converted by the server; one of SQL_ASCII has just bytes, and is left to tuples."""
    admin = create_engine(parts.database.url, isolation_level="AUTOCOMMIT", poolclass=NullPool)
    for encoding, expected in {"LATIN1": [((str, "ü"),)], "SQL_ASCII": None}.items():
        name = f"in_{encoding.lower()}_{uuid.uuid4().hex[:8]}"
        with admin.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING '{encoding}' LOCALE 'C'"))
        url = parts.database.url.set(database=name).render_as_string(hide_password=False)
        assert (
            as_arrow(
                Items(select(func.chr(252).label("x")) if expected else select(literal_column("'x'").label("x")), url)
            )
            == expected
        )
        database.source(url).engine.dispose()


def test_the_password_is_in_no_error(parts: Deployment, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """A server that does not answer is the other road's to tell of."""
    monkeypatch.setattr(arrow_selects, "REFUSED", ())
    unreachable = Database("postgresql://me:secret@127.0.0.1:1/d", tmp_path)
    monkeypatch.setattr(database, "source", lambda url: unreachable)
    with pytest.raises(Exception, match="refused") as failed, Items(WHOLE).open_arrow():
        pass
    assert "secret" not in str(failed.value)
