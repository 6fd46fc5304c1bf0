"""What a file is made of: selects and anything that can be iterated, behind one face."""

from __future__ import annotations

import io
import itertools
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest
from psycopg import capabilities
from sqlalchemy import (
    BigInteger,
    Column,
    Integer,
    MetaData,
    String,
    Table,
    event,
    func,
    insert,
    literal,
    select,
    text,
    union_all,
)
from sqlalchemy.orm import DeclarativeBase, with_loader_criteria

from bgtasks import FileType, database, patience, registry, toolbox
from bgtasks.deployment import Deployment
from bgtasks.errors import TransientError, UnwritableValue
from bgtasks.formats import resolve
from bgtasks.items import BATCH, Items
from bgtasks.states import State

metadata = MetaData()
people = Table("people", metadata, Column("id", Integer, primary_key=True), Column("name", String))

COUNT = 2 * BATCH + 500


class Base(DeclarativeBase):
    metadata = metadata


class Human(Base):
    """The same table, as an application's ORM has it."""

    __table__ = people
    id = people.c.id


class Person(NamedTuple):
    id: int
    name: str


class Lazy:
    """A text that is made when it is asked for, as a translation is."""

    def __str__(self) -> str:
        return "Nummer"


class Endless:
    """Rows without an end, which count themselves."""

    def __init__(self) -> None:
        self.given = 0

    def __iter__(self) -> Iterator[tuple[int]]:
        for number in itertools.count():
            self.given += 1
            yield (number,)


def read(items: Items) -> tuple[tuple[str, ...] | None, list[tuple[Any, ...]]]:
    """The headings and all rows."""
    with items.open() as rows:
        return rows.columns, [tuple(row) for batch in rows.batches for row in batch]


# -- what is iterated -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "columns"),
    [
        ([(1, "a"), (2, "b")], None),
        (((1, "a"), (2, "b")), None),
        ([[1, "a"], [2, "b"]], None),
        ([Person(1, "a"), Person(2, "b")], ("id", "name")),
        ([{"id": 1, "name": "a"}, {"name": "b", "id": 2}], ("id", "name")),
        ([OrderedDict(id=1, name="a"), MappingProxyType({"id": 2, "name": "b"})], ("id", "name")),
        ([{1: 1, "name": "a"}, {1: 2, "name": "b"}], ("1", "name")),
    ],
)
@pytest.mark.parametrize("wrap", [lambda source: source, iter, lambda source: (row for row in source)])
def test_rows_of_every_shape_are_read(source: Any, columns: Any, wrap: Any) -> None:
    """Sequences, named tuples, mappings in any order of keys; a list of them, an iterator, a generator."""
    assert read(Items(wrap(source))) == (columns, [(1, "a"), (2, "b")])


@pytest.mark.parametrize("source", [[], (), iter([]), (row for row in ())])
def test_an_empty_source_has_no_names_but_those_that_are_given(source: Any) -> None:
    """There is no first row to take them from."""
    assert read(Items(source, columns=("a", "b"))) == (("a", "b"), [])


@pytest.mark.parametrize("source", [[(1, 2)], [Person(1, "a")], [{"x": 1, "y": 2}]])
def test_given_headings_go_before_the_rows_own_names(source: Any) -> None:
    """And they may be texts that are made late, as translations are."""
    assert read(Items(source, columns=("No.", Lazy())))[0] == ("No.", "Nummer")


@pytest.mark.parametrize("other", [{"id": 2}, {"id": 2, "name": "b", "more": 1}, {"id": 2, "Name": "b"}])
def test_a_mapping_with_other_keys_is_refused_by_row(other: dict[str, Any]) -> None:
    """A value must not slip into another column, nor get lost."""
    with pytest.raises(UnwritableValue) as refused:
        read(Items([{"id": 1, "name": "a"}, other]))
    assert refused.value.row == 2


@pytest.mark.parametrize("source", [["text"], [b"bytes"], range(3), [None], {"a mapping": 1}])
def test_what_is_no_row_is_refused_in_words(source: Any) -> None:
    """A text would otherwise be a row of its letters."""
    with pytest.raises(TypeError, match="are rows"):
        read(Items(source))


def test_an_iterable_is_read_batch_by_batch() -> None:
    """Never more than a batch ahead of the file: a source may have no end."""
    source = Endless()
    with Items(source).open() as rows:
        assert source.given == BATCH  # for its names, and to see which columns are times
        assert len(next(rows.batches)) == BATCH
        assert source.given <= BATCH + 1
        assert next(rows.batches)[-1] == (2 * BATCH - 1,)


@pytest.mark.parametrize("shape", [lambda row: row, lambda row: {"n": row[0]}])
def test_the_watch_sees_the_running_total_before_each_batch(shape: Any) -> None:
    """It notes the progress, and what it raises stops the file."""
    items, seen = Items(map(shape, Endless())), []

    def watch(total: int) -> None:
        seen.append(total)
        if total > 2 * BATCH:
            raise RuntimeError("stop")

    items.watch = watch
    with items.open() as rows, pytest.raises(RuntimeError, match="stop"):
        for number, _ in enumerate(rows.batches, 1):
            assert seen == [BATCH * done for done in range(1, number + 1)]
    assert seen == [BATCH, 2 * BATCH, 3 * BATCH]


def test_rows_of_many_columns_come_in_smaller_batches() -> None:
    """A batch is in memory at once, in several forms."""
    with Items([tuple(range(1000)) for _ in range(250)]).open() as rows:
        assert list(map(len, rows.batches)) == [100, 100, 50]


@pytest.mark.parametrize(("source", "expected"), [([(1,)] * 3, 3), ([], 0), (iter([(1,)]), None), (Endless(), None)])
def test_only_what_knows_its_length_is_counted(source: Any, expected: int | None) -> None:
    """Counting must read nothing that the file needs."""
    assert Items(source).count() == expected


def test_a_list_can_be_read_again_and_an_iterator_can_not() -> None:
    """A second try would write the rest of an iterator for the whole: it is refused, as worth trying afresh."""
    listed = Items([(1,), (2,)])
    assert read(listed) == read(listed)
    spent = Items(iter([(1,), (2,)]))
    with spent.open() as rows:
        next(rows.batches)
    with pytest.raises(TransientError, match="only once"):
        read(spent)


def test_an_error_of_the_source_is_its_own() -> None:
    """Nothing wraps or hides what the application's code raises."""

    def rows() -> Iterator[tuple[int]]:
        yield (1,)
        raise LookupError("from the application")

    with pytest.raises(LookupError, match="from the application"):
        read(Items(rows()))


# -- what is selected -----------------------------------------------------------------------------


@pytest.fixture
def table(parts: Deployment) -> Table:
    """A table of people in the record's database."""
    metadata.create_all(parts.database.engine)
    with parts.database.writing() as session:
        session.execute(insert(people), [{"id": number, "name": f"n{number}"} for number in range(COUNT)])
    return people


SELECTS = {
    "all": (select(people).order_by(people.c.id), COUNT),
    "some": (select(people).where(people.c.id < 7).order_by(people.c.id), 7),
    "none": (select(people).where(people.c.id < 0), 0),
    "limited": (select(people).order_by(people.c.id).limit(5).offset(2), 5),
    "distinct": (select((people.c.id % 3).label("id"), literal("x").label("name")).distinct(), 3),
    "grouped": (select(people.c.id, func.count().label("name")).where(people.c.id < 4).group_by(people.c.id), 4),
    "joined": (select(people.c.id, people.alias().c.id.label("name")).where(people.c.id < 2).limit(9), 9),
    "union": (union_all(select(people), select(people)).order_by("id"), 2 * COUNT),
    "filtered": (select(Human).options(with_loader_criteria(Human, Human.id < 6)), 6),
    "text": (text("SELECT id, name FROM people WHERE id < 3").columns(people.c.id, people.c.name), 3),
}


@pytest.mark.parametrize("name", SELECTS)
@pytest.mark.filterwarnings("ignore:SELECT statement has a cartesian product")
def test_a_select_is_counted_and_read(table: Table, name: str) -> None:
    """The count is that of the rows that come, whatever the select is made of."""
    source, expected = SELECTS[name]
    items = Items(source)
    columns, rows = read(items)
    assert (items.count(), len(rows), columns) == (expected, expected, ("id", "name"))


def test_a_select_brings_its_labels_as_headings(table: Table) -> None:
    """Also where it selects nothing; given headings go before them."""
    source = select(people.c.id.label("No."), people.c.name.label("a b")).where(people.c.id < 0)
    assert read(Items(source)) == (("No.", "a b"), [])
    assert read(Items(source, columns=("x", "y"))) == (("x", "y"), [])


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_sqlite_makes_rows_as_they_are_read(parts: Deployment, table: Table) -> None:
    """Not all at once, when the select begins."""
    made = 0

    def tick(number: int) -> int:
        nonlocal made
        made += 1
        return number

    event.listen(parts.database.engine, "connect", lambda raw, _: raw.create_function("tick", 1, tick))
    parts.database.engine.dispose()
    with Items(select(func.tick(people.c.id).label("id"))).open() as rows:
        assert len(next(rows.batches)) == BATCH
        assert BATCH <= made <= BATCH + 1


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_postgresql_hands_rows_out_while_it_makes_them(parts: Deployment) -> None:
    """The client never has them all, nor the server: what nobody reads is not made, and ends with its reader."""
    endless = select(func.generate_series(1, literal(10**10, BigInteger)).label("number"))
    at_work = "SELECT state FROM pg_stat_activity WHERE query LIKE '%generate_series%' AND pid <> pg_backend_pid()"
    with Items(endless).open() as rows:
        assert list(next(rows.batches)) == [(number,) for number in range(1, BATCH + 1)]
        with parts.database.reading() as session:
            assert session.scalars(text(at_work)).all() == ["active"]
    with parts.database.reading() as session:
        assert "active" not in session.scalars(text(at_work)).all()


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_few_rows_take_one_round_trip(parts: Deployment, table: Table) -> None:
    """No cursor is declared, fetched from and closed; an empty result has its columns all the same."""
    said: list[str] = []
    event.listen(parts.database.engine, "before_cursor_execute", lambda *about: said.append(about[2]))
    assert len(read(Items(select(people).where(people.c.id < 3)))[1]) == 3
    assert len(said) == 1
    assert read(Items(select(people).where(people.c.id < 0))) == (("id", "name"), [])


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_libpq_before_17_reads_from_a_cursor_of_the_server(
    parts: Deployment, table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which takes longer, and gives the same rows."""
    streamed = read(Items(select(people).order_by(people.c.id)))
    monkeypatch.setattr(capabilities, "has_stream_chunked", lambda: False)
    parts.database.engine.dispose()
    others = "SELECT query FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    with Items(select(people).order_by(people.c.id)).open() as rows:
        batches = [next(rows.batches)]
        with parts.database.reading() as session:
            assert [query[:13] for query in session.scalars(text(others))] == ["FETCH FORWARD"]
        batches.extend(rows.batches)
    assert [tuple(row) for batch in batches for row in batch] == streamed[1]


def test_a_select_reads_one_snapshot(parts: Deployment, table: Table) -> None:
    """Rows that are written while the file is made are not in it."""
    with Items(select(people)).open() as rows:
        read_now = len(next(rows.batches))
        with parts.database.writing() as session:
            session.execute(insert(people), [{"id": COUNT + number, "name": "late"} for number in range(BATCH)])
        assert read_now + sum(map(len, rows.batches)) == COUNT


def test_the_watch_sees_the_total_before_each_batch_of_a_select(table: Table) -> None:
    """As with everything else that is read."""
    items, seen = Items(select(people)), []
    items.watch = seen.append
    read(items)
    assert seen == [BATCH, 2 * BATCH, COUNT]


def test_a_select_can_be_read_again(table: Table) -> None:
    """Each time from the database."""
    items = Items(select(people).where(people.c.id < 3).order_by(people.c.id))
    assert read(items) == read(items) == (("id", "name"), [(0, "n0"), (1, "n1"), (2, "n2")])


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_select_may_run_on_another_database(parts: Deployment, tmp_path: Path) -> None:
    """The file type's ``source_url``; a relative path starts where the settings are."""
    url = f"sqlite:///{tmp_path / 'other.db'}"
    other = database.source(url)
    metadata.create_all(other.engine)
    with other.writing() as session:
        session.execute(insert(people), {"id": 1, "name": "elsewhere"})
    items = Items(select(people), source_url=url)
    assert (items.count(), read(items)[1]) == (1, [(1, "elsewhere")])
    other.engine.dispose()


@pytest.mark.parametrize("name", ["csv", "xlsx"])
def test_every_format_writes_a_select(table: Table, name: str) -> None:
    """Rows of a database are rows like any others."""
    selected, listed = io.BytesIO(), io.BytesIO()
    source = select(people).where(people.c.id < 3).order_by(people.c.id)
    resolve(name).write(Items(source), selected)
    resolve(name).write(Items([Person(0, "n0"), Person(1, "n1"), Person(2, "n2")]), listed)
    assert len(selected.getvalue()) == len(listed.getvalue()) > 0


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_rows_that_break_off_never_become_a_file(parts: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service that is away in the middle of a generator costs time, and no rows."""
    monkeypatch.setattr(patience, "IN_SLOT", 0.2)
    tries = itertools.count(1)

    @registry.register
    class Interrupted(FileType):
        file_type = "interrupted"
        steps = ("fetch_criteria", "write_bytes", "attach")

        def get_items(self, criteria: Any) -> Iterator[tuple[int]]:
            first = next(tries) == 1
            return (self.given(number, first) for number in range(COUNT))

        def given(self, number: int, interrupted: bool) -> tuple[int]:
            if interrupted and number > BATCH:
                raise TransientError
            return (number,)

    row = toolbox.add_request(file_type="interrupted")
    for _ in range(2):  # the second time as the sweep would
        Interrupted.handle(row)
        row = parts.requests.get(row.id) or row
    assert (row.state, row.rows_written) == (State.READY, COUNT)


def test_a_generator_tidies_up_when_the_writing_ends() -> None:
    """Its own ``finally`` runs at once, also where the writing breaks off, and not when it happens to be forgotten."""
    tidied: list[str] = []

    def given() -> Iterator[tuple[int]]:
        try:
            yield from ((number,) for number in range(COUNT))
        finally:
            tidied.append("closed")

    items = Items(given())
    with pytest.raises(TransientError), items.open() as rows:
        next(rows.batches)
        raise TransientError
    assert tidied == ["closed"]
