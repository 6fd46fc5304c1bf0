"""How rows are split: each is in one part, the parts are equal, and one after the other they are the whole."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import (
    CHAR,
    BigInteger,
    Column,
    DateTime,
    Float,
    Integer,
    MetaData,
    Select,
    String,
    Table,
    Uuid,
    column,
    desc,
    func,
    insert,
    literal_column,
    nulls_first,
    nulls_last,
    select,
    text,
    union_all,
)
from sqlalchemy.dialects.postgresql import CITEXT
from sqlalchemy.orm import aliased, with_loader_criteria

from bgtasks.deployment import Deployment
from bgtasks.errors import ImproperlyConfigured
from bgtasks.items import Items
from bgtasks.models import UtcDateTime
from bgtasks.parts import planning
from bgtasks.parts.planning import cuts, plan
from tests.items import tables
from tests.items.reading import as_arrow, as_tuples
from tests.items.tables import SPECIAL, VALUES, everything
from tests.parts.keyed import City, Person, persons, pieces, planned, rows_of

FEW = settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
#: Those of which the values come back from their type as they are.
KEYS = [
    "small", "whole", "big", "double", "money", "exact", "text", "name", "padded", "flag", "day", "naive", "aware",
    "ours", "state", "label", "key", "key_text", "data", "seconds",
]  # fmt: skip
#: And what PostgreSQL's Python drivers and its own types make exact.
MORE = [*KEYS, "single"]
LATE = datetime(9000, 1, 1, tzinfo=UTC)


@st.composite
def keyed(draw: st.DrawFn, special: bool) -> tuple[str, list[dict[str, Any]]]:
    """A column, and rows with few different values in it, and none."""
    name = draw(st.sampled_from(MORE if special else KEYS))
    kind = VALUES[name] | SPECIAL[name] if special and name in SPECIAL else VALUES[name]
    pool = draw(st.lists(kind, min_size=1, max_size=8))
    keys = draw(st.lists(st.none() | st.sampled_from(pool), max_size=25))
    return name, [{name: key, "whole": number} | {name: key} for number, key in enumerate(keys)]


ORDERS = {
    "none": lambda key: [],
    "plain": lambda key: [key],
    "desc": lambda key: [key.desc()],
    "by name": lambda key: [desc(key.name)],
    "first": lambda key: [nulls_first(key)],
    "last": lambda key: [key.desc().nulls_last()],
    "desc first": lambda key: [nulls_first(desc(key))],
    "asc last": lambda key: [nulls_last(key.asc())],
}


@pytest.fixture
def fill(parts: Deployment) -> Any:
    """Puts rows, and no others, into the table of everything."""
    tables.metadata.create_all(parts.database.engine)
    return tables.refill


@FEW
@given(data=st.data())
def test_the_parts_one_after_the_other_are_the_whole(
    parts: Deployment, fill: Any, monkeypatch: pytest.MonkeyPatch, data: st.DataObject
) -> None:
    """Any rows, of any type of key, in any order, for any number of parts, whatever the sample is."""
    name, rows = data.draw(keyed(special=parts.database.is_postgresql))
    key, order = everything.c[name], data.draw(st.sampled_from(sorted(ORDERS)))
    monkeypatch.setattr(planning, "SAMPLE", data.draw(st.sampled_from([4, 10_000])))
    monkeypatch.setattr(planning, "SAMPLE_OF_PART", 1)
    fill(rows)
    source = select(everything.c.id, everything.c.big, everything.c.text, key.label(name))
    if sorting := ORDERS[order](key):
        source = source.order_by(*sorting, everything.c.id)
    made = planned(source, data.draw(st.sampled_from([key, name])), data.draw(st.integers(0, 9)))
    whole, found = as_tuples(Items(source)), list(rows_of(pieces(source, key, made)))
    assert made.rows == len(rows)
    assert len(made.ranges) <= max(0, made.wanted) + 1
    if sorting:
        assert found == whole
    else:
        assert sorted(found, key=str) == sorted(whole, key=str)


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_the_parts_take_arrows_road(fill: Any) -> None:
    """A value that it could not bind would make each of the parts slow."""
    values = {"big": int, "text": str, "exact": Decimal, "padded": str, "ours": lambda number: LATE + timedelta(number)}
    fill([{name: value(number) for name, value in values.items()} for number in range(20)])
    for name in values:
        source = select(everything.c.id, everything.c[name]).order_by(everything.c[name])
        for piece in pieces(source, name, planned(source, name, 4)):
            assert as_arrow(Items(piece)) == as_tuples(Items(piece))


# -- how the parts are cut ------------------------------------------------------------------------------


NUMBERS = Table("numbers", MetaData(), Column("id", BigInteger, primary_key=True), Column("skewed", Integer))
COUNT = 200_000


@pytest.fixture
def numbers(parts: Deployment) -> Table:
    """Many rows, of which nine in ten share one value."""
    series = (
        "generate_series(0, {0}) AS i"
        if parts.database.is_postgresql
        else "(WITH RECURSIVE s(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM s WHERE i < {0}) SELECT i FROM s)"
    )
    with parts.database.writing() as session:
        NUMBERS.create(session.connection())
        rows = "CAST(i AS BIGINT) * i, CASE WHEN i % 10 = 3 THEN i ELSE 100000 END"
        # S608: no value of anybody's
        session.execute(text(f"INSERT INTO numbers SELECT {rows} FROM {series.format(COUNT - 1)}"))
    return NUMBERS


def sizes(source: Select[Any], key: Any, made: Any) -> list[int]:
    return [Items(piece).count() or 0 for piece in pieces(source, key, made)]


def test_no_part_is_much_larger_than_its_share(numbers: Table) -> None:
    """Though the keys are not spread evenly; and where most rows share one, they are together, and it is said."""
    source = select(numbers)
    made = planned(source, numbers.c.id, 8)
    found = sizes(source, "id", made)
    assert (len(found), sum(found), made.rows, made.wanted) == (8, COUNT, COUNT, 8)
    assert max(found) <= 1.3 * COUNT / 8
    made = planned(source, numbers.c.skewed, 8)
    found = sizes(source, "skewed", made)
    assert (sum(found), made.wanted) == (COUNT, 8)
    assert len(found) == 3
    assert max(found) <= 0.91 * COUNT


@given(
    keys=st.lists(st.tuples(st.integers(), st.integers(1, 50)), min_size=1, max_size=20, unique_by=lambda key: key[0]),
    wanted=st.integers(1, 12),
)
def test_cuts_are_as_near_to_equal_shares_as_one_key_allows(keys: list[tuple[int, int]], wanted: int) -> None:
    """No range is without a key, and none is larger than its share by more than the keys at its two ends."""
    assert cuts([], wanted) == []
    keys.sort()
    chosen = cuts(keys, wanted)
    assert chosen == sorted(set(chosen))
    assert keys[0][0] not in chosen
    share = sum(count for _, count in keys) / wanted
    begins = [keys[0][0], *chosen]
    for begin, end in zip(begins, [*chosen, None], strict=True):
        inside = [count for key, count in keys if key >= begin and (end is None or key < end)]
        assert inside
        assert sum(inside) <= share + (0 if len(inside) == 1 else max(inside)) or len(inside) == 1


@pytest.mark.parametrize("wanted", [0, 1])
def test_one_writer_makes_what_needs_no_parts(parts: Deployment, wanted: int) -> None:
    """It is counted all the same, and who decides is told how many rows there are."""
    persons({"number": 1}, {"number": 2})
    asked = []
    made = plan(select(Person), Person.number, lambda rows: asked.append(rows) or wanted, parts.database)
    assert (made.ranges, made.rows, made.wanted, asked) == ((), 2, wanted, [2])


@pytest.mark.parametrize("number", [None, 7])
def test_rows_that_all_share_one_key_are_for_one_writer(parts: Deployment, number: int | None) -> None:
    """As are those of which none has a key."""
    persons(*[{"number": number}] * 3)
    made = planned(select(Person), Person.number, 4)
    assert (made.ranges, made.rows, made.wanted) == ((), 3, 4)


def test_rows_without_a_key_take_their_share_of_the_parts(parts: Deployment) -> None:
    """Few of them are one part more; where they are half of the rows, there are half as many others."""
    persons(*({"number": number} for number in range(20)), {})
    assert len(planned(select(Person), Person.number, 4).ranges) == 5
    persons(*({"number": number} for number in range(20)), *[{}] * 20)
    assert len(planned(select(Person), Person.number, 4).ranges) == 3


# -- the cut ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["none", "desc"])
def test_what_is_inserted_later_with_a_higher_key_is_in_no_part(parts: Deployment, order: str) -> None:
    """Nor is it counted."""
    persons(*({"number": number} for number in range(10)))
    source = select(Person.id, Person.number).order_by(*ORDERS[order](Person.number))
    made = planned(source, Person.number, 3)
    with parts.database.writing() as session:
        session.execute(insert(Person).values(id=99, number=10))
        session.execute(insert(Person).values(id=98, number=9))
    found = {id for (_, id), _ in rows_of(pieces(source, Person.number, made))}
    assert (made.rows, found) == (10, {*range(10), 98})


@pytest.mark.parametrize("kind", [DateTime(timezone=True), DateTime(), UtcDateTime()], ids=["aware", "naive", "ours"])
def test_a_cut_by_time_leaves_out_what_comes_later(parts: Deployment, kind: Any) -> None:
    """By the database's clock, which is then in each range; what has no time is in the file."""
    columns = Column("id", Integer, primary_key=True), Column("at", kind), Column("key", Integer)
    visits = Table("visits", MetaData(), *columns)
    with parts.database.writing() as session:
        visits.create(session.connection())
        rows = [datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC), LATE, None, LATE, None]
        usual = kind.timezone if isinstance(kind, DateTime) else True
        given = [at if usual or at is None else at.replace(tzinfo=None) for at in rows]
        session.execute(insert(visits), [{"id": id, "at": at, "key": id or None} for id, at in enumerate(given)])
    source = select(visits.c.id).order_by(visits.c.id)
    made = planned(source, visits.c.id, 2, "at")
    by_key = planned(select(visits.c.id), "key", 2, "at")
    assert sorted(id for ((_, id),) in rows_of(pieces(select(visits.c.id), "key", by_key, "at"))) == [0, 1, 3, 5]
    with parts.database.writing() as session:
        session.execute(insert(visits).values(id=20, at=given[0]))  # no key is too high
    assert [id for ((_, id),) in rows_of(pieces(source, visits.c.id, made, visits.c.at))] == [0, 1, 3, 5, 20]
    assert (made.rows, len(made.ranges)) == (4, 2)


def test_a_cut_by_time_needs_times(parts: Deployment) -> None:
    """A day would let in all that comes until midnight."""
    persons({"number": 1}, {"number": 2})
    with pytest.raises(ImproperlyConfigured, match="part_until is a column of times"):
        planned(select(Person), Person.id, 2, Person.number)


# -- keys of every form -----------------------------------------------------------------------------------


other = aliased(Person)
bare = literal_column("id", Integer)
lower = func.lower(Person.name).label("small")
deep = select(Person.id.label("n"), Person.name).limit(8).subquery()
ranked = select(Person.id, func.row_number().over(order_by=Person.id).label("rank")).subquery()
FORMS = {
    "entity": (select(Person).order_by(Person.id), Person.id, 10),
    "entity by name": (select(Person).order_by(Person.id.desc()), "id", 10),
    "entity by column": (select(Person.__table__).order_by("id"), Person.id, 10),
    "column property": (select(Person).order_by(Person.shown, Person.id), Person.shown, 10),  # type: ignore[attr-defined]
    "alias": (select(other.id, other.name).order_by(other.id), other.id, 10),
    "label": (select(Person.id, lower).order_by(lower.desc(), Person.id), lower, 10),
    "label by name": (select(Person.id, lower).order_by("small", Person.id), "small", 10),
    "label's expression": (select(Person.id, lower).order_by(lower, Person.id), func.lower(Person.name), 10),
    "not selected": (select(Person.name).order_by(Person.id), "id", 10),
    "expression": (select(Person.id).order_by(-Person.id), -Person.id, 10),
    "joined": (
        select(Person.id, City.name).join(City, Person.city_id == City.id).order_by(City.name, Person.id), City.name, 6
    ),
    "joined by name": (
        select(Person.id).join(City, Person.city_id == City.id).order_by(Person.number, Person.id), "number", 6
    ),
    "outer": (
        select(Person.id).outerjoin(City, Person.city_id == City.id).order_by(City.id, Person.id), City.id, 10
    ),
    "subquery": (select(deep).order_by(deep.c.n), "n", 8),
    "ranks in a subquery": (select(ranked).order_by(ranked.c.rank), ranked.c.rank, 10),
    "criteria": (
        select(Person).options(with_loader_criteria(Person, Person.id < 7)).order_by(Person.id), Person.id, 7
    ),
    "where": (select(Person.id).where(Person.name == "B").order_by(Person.id), Person.id, 5),
    "text": (
        select(text("id"), text("name")).select_from(text("persons")).order_by(bare),
        bare, 10
    ),
}  # fmt: skip


def test_a_key_of_any_form_splits_any_select(parts: Deployment) -> None:
    """Aliases, joins, labels, criteria and parameters hold for what is planned, and for the parts."""
    persons(*({"number": number % 4, "name": "Ba"[number % 2]} for number in range(10)))
    with parts.database.writing() as session:
        session.execute(insert(City), [{"id": 1, "name": "Basel"}, {"id": 2, "name": "Aarau"}])
        session.execute(Person.__table__.update().where(Person.id < 6).values(city_id=Person.id % 2 + 1))
    for form, (source, key, count) in FORMS.items():
        made = planned(source, key, 3)
        found = list(rows_of(pieces(source, key, made)))
        assert len(made.ranges) > 1, form
        assert (made.rows, len(found)) == (count, count), form
        assert found == as_tuples(Items(source)), form


def test_schemas_of_other_names_hold_for_the_planning(parts: Deployment) -> None:
    """Often there is one for each customer."""
    persons(*({"number": number} for number in range(5)))
    name = "public" if parts.database.is_postgresql else "main"
    theirs = Table("persons", MetaData(), Column("id", Integer), schema="customer")
    source = select(theirs).order_by(theirs.c.id).execution_options(schema_translate_map={"customer": name})
    made = planned(source, theirs.c.id, 2)
    assert len(made.ranges) == 2
    assert list(rows_of(pieces(source, theirs.c.id, made))) == as_tuples(Items(source))


KNOWN = ["a", "A", "b", "B", "é", "E", "e", "z", "Z", "aa", "Ab", "", " ", "ä", "_"]
COLLATED = {
    "postgresql": [
        String(),
        String(collation="C"),
        String(collation="pg_c_utf8"),
        CITEXT(),
        String(collation="C.utf8"),
    ],
    "sqlite": [String(), String(collation="NOCASE"), String(collation="RTRIM")],
}


def test_texts_are_sorted_and_compared_as_the_database_does(parts: Deployment) -> None:
    """By the column's collation, whether or not it is declared; also where A and a are the same."""
    dialect = parts.database.engine.dialect.name
    metadata = MetaData()
    if parts.database.is_postgresql:
        with parts.database.writing() as session:
            session.execute(text("CREATE EXTENSION citext"))
    for number, kind in enumerate(COLLATED[dialect]):
        words = Table(f"words{number}", metadata, Column("id", Integer, primary_key=True), Column("word", kind))
        with parts.database.writing() as session:
            words.create(session.connection())
            session.execute(insert(words), [{"id": id, "word": word} for id, word in enumerate(KNOWN * 2)])
        known = [words]
        if not isinstance(kind, CITEXT):
            known.append(Table(words.name, MetaData(), Column("id", Integer), Column("word", String)))
        for table in known:
            source = select(table).order_by(table.c.word.desc(), table.c.id)
            made = planned(source, table.c.word, 6)
            assert len(made.ranges) == 6
            assert list(rows_of(pieces(source, "word", made))) == as_tuples(Items(source))


INDEXED = {
    "i": Integer(),
    "md5(i::text)::uuid": Uuid(),
    "now() + i * interval '1 second'": DateTime(timezone=True),
    "i::varchar(9)": String(9),
    "(i / 7.0)::real": Float(24),
    "i::text::char(9)": CHAR(9),
    "i::text::citext": CITEXT(),
}


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_an_index_on_the_key_finds_a_part(parts: Deployment) -> None:
    """Without one each part would read the whole table."""
    with parts.database.writing() as session:
        session.execute(text("CREATE EXTENSION citext"))
    for number, (made, kind) in enumerate(INDEXED.items()):
        keys = Table(f"keys{number}", MetaData(), Column("key", kind))
        with parts.database.writing() as session:
            session.execute(text(f"CREATE TABLE {keys} AS SELECT {made} AS key FROM generate_series(1, 5000) AS i"))
            session.execute(text(f"CREATE INDEX ON {keys} (key)"))
            session.execute(text(f"ANALYZE {keys}"))
        for piece in pieces(select(keys), "key", planned(select(keys), "key", 50))[:3]:
            with parts.database.streaming() as connection:
                compiled = piece.compile(connection, compile_kwargs={"literal_binds": True})
                said = "\n".join(connection.exec_driver_sql(f"EXPLAIN {compiled}").scalars().all())
            assert "Index Cond" in said, made


# -- refusals ---------------------------------------------------------------------------------------------


WINDOW = func.row_number().over(order_by=Person.id)
REFUSED = {
    "TextualSelect": text("SELECT id FROM persons").columns(column("id", Integer)),
    "CompoundSelect": union_all(select(Person.id), select(Person.id)),
    "list": [(1,)],
    "LIMIT": select(Person).limit(1),
    "OFFSET": select(Person).offset(1),
    "FETCH": select(Person).fetch(1),
    "DISTINCT": select(Person.id).distinct(),
    "GROUP BY": select(Person.id).group_by(Person.id),
    "HAVING": select(func.count()).having(func.count() > 1),
    "window functions": select(Person.id, (WINDOW + 1).label("rank")),
    "FOR UPDATE": select(Person.id).with_for_update(),
}


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("what", REFUSED)
def test_a_select_that_can_not_be_split_is_refused_in_words(parts: Deployment, what: str) -> None:
    """Its parts would not be the whole: a limit would hold for each of them."""
    with pytest.raises(ImproperlyConfigured, match=what):
        planned(REFUSED[what], "id", 2)


def test_an_aggregate_is_one_row_and_one_writers(parts: Deployment) -> None:
    """It is not asked for a key, which it does not have."""
    persons({"number": 1}, {"number": 2})
    made = planned(select(func.max(Person.id)), Person.id, 2)
    assert (made.ranges, made.rows) == ((), 1)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    "order",
    [(Person.name,), (func.lower(Person.name), Person.id), (text("id"),), (Person.id + 1,), (WINDOW,), ("name",)],
)
def test_another_order_is_refused(parts: Deployment, order: Any) -> None:
    """The parts, one after the other, would not be sorted by it."""
    with pytest.raises(ImproperlyConfigured, match=r"must sort by part_key first|window functions"):
        planned(select(Person.id, Person.name).order_by(*order), Person.id, 2)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("key", "fault"),
    [
        (City.id, "a table that get_items does not select from"),
        (other.id, "a table that get_items does not select from"),
        ("age", "no column of the name 'age'"),
        (7, "part_key is a column or the name of one, and not int"),
    ],
)
def test_a_key_that_the_select_does_not_have_is_refused(parts: Deployment, key: Any, fault: str) -> None:
    """A table more in it would be joined with each row."""
    with pytest.raises(ImproperlyConfigured, match=fault):
        planned(select(Person.number), key, 2)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_name_that_two_tables_have_is_refused(parts: Deployment) -> None:
    """Unless the select has chosen between them."""
    both = select(Person.number).join(City, Person.city_id == City.id)
    with pytest.raises(ImproperlyConfigured, match="several columns of the name 'name'"):
        planned(both, "name", 2)
    with pytest.raises(ImproperlyConfigured, match="several columns of the name 'id'"):
        planned(select(Person.id, City.id).join(City, Person.city_id == City.id), "id", 2)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_database_of_another_kind_is_refused(parts: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody has tried what it does."""
    monkeypatch.setattr(parts.database.engine.dialect, "name", "mysql")
    with pytest.raises(ImproperlyConfigured, match="one of postgresql, sqlite, and not mysql"):
        planned(select(Person.id), "id", 2)


@pytest.mark.parametrize(("name", "value"), [("decimal", Decimal(1) / 3), ("shouted", "quiet")])
def test_a_type_that_gives_other_values_than_there_are_is_refused(fill: Any, name: str, value: Any) -> None:
    """The last of them would be above the last key, and missing."""
    fill([{name: value}, {name: None}, {name: value}])
    with pytest.raises(ImproperlyConfigured, match="does not give its values as the database has them"):
        planned(select(everything.c.id), everything.c[name], 2)
