"""Which columns a file has: by position or by name, in the file type's order or in a request's."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import pyarrow as pa
import pytest
from sqlalchemy import Column, Integer, MetaData, String, Table, insert, select

from bgtasks import locales
from bgtasks.deployment import Deployment
from bgtasks.errors import ImproperlyConfigured, UnwritableValue
from bgtasks.items import Items

metadata = MetaData()
birds = Table(
    "birds", metadata, Column("id", Integer, primary_key=True), Column("name", String), Column("legs", Integer)
)
KNOWN = [(1, "robin", 2), (2, "wren", 2)]


class Bird(NamedTuple):
    id: int
    name: str
    legs: int


@pytest.fixture
def table(parts: Deployment) -> None:
    """Birds in the record's database."""
    metadata.create_all(parts.database.engine)
    with parts.database.writing() as session:
        session.execute(insert(birds), [Bird(*bird)._asdict() for bird in KNOWN])


#: Rows with names, of each kind.
NAMED: dict[str, Callable[[], Any]] = {
    "select": lambda: select(birds).order_by(birds.c.id),
    "mappings": lambda: [Bird(*bird)._asdict() for bird in KNOWN],
    "named tuples": lambda: [Bird(*bird) for bird in KNOWN],
    "generator": lambda: (Bird(*bird) for bird in KNOWN),
    "arrow": lambda: pa.Table.from_pylist([Bird(*bird)._asdict() for bird in KNOWN]),
}


def read(items: Items) -> tuple[Any, Any, list[tuple[Any, ...]]]:
    """Headings, names and rows; the same by each road."""
    with items.open() as rows:
        found = rows.columns, rows.names, [tuple(row) for batch in rows.batches for row in batch]
    if not hasattr(items.source, "__next__"):
        with items.open_arrow() as arrow:
            assert arrow is None or (arrow.columns, arrow.names) == (found[0], found[1] or found[0])
            for batch in arrow.batches if arrow else ():
                assert list(zip(*(arrow.values(batch, n) for n in range(len(arrow.kinds))), strict=True)) == found[2]
    return found


def test_a_mapping_names_the_columns_their_order_and_their_headings(table: None) -> None:
    """Whatever the rows are; columns that it does not name are not in the file."""
    for make in NAMED.values():
        items = Items(make(), columns={"name": "Bird", "id": "No."})
        assert read(items) == (("Bird", "No."), ("name", "id"), [("robin", 1), ("wren", 2)])


def test_a_request_chooses_among_them_in_its_own_order(table: None) -> None:
    """``legs,id`` gives the legs first."""
    declared: list[Any] = [{"id": "No.", "name": "Bird", "legs": "Legs"}, ("No.", "Bird", "Legs")]
    for make, columns in itertools.product(NAMED.values(), declared):
        items = Items(make(), columns=columns, chosen=("legs", "id"))
        assert read(items) == (("Legs", "No."), ("legs", "id"), [(2, 1), (2, 2)])


def test_without_headings_the_names_are_the_headings(table: None) -> None:
    """And can be chosen among."""
    for make in NAMED.values():
        assert read(Items(make()))[0] == ("id", "name", "legs")
        assert read(Items(make(), chosen=["name"])) == (("name",), ("name",), [("robin",), ("wren",)])


def test_headings_by_position_leave_the_names_to_programs(table: None) -> None:
    """JSON and Parquet name a column as the rows do."""
    for make in NAMED.values():
        assert read(Items(make(), columns=("No.", "Bird", "Legs")))[:2] == (("No.", "Bird", "Legs"), Bird._fields)
        assert read(Items(make(), columns=("No.",)))[:2] == (("No.",), Bird._fields)


def test_a_column_that_the_rows_have_not_is_named(table: None) -> None:
    """An empty column would be a lie."""
    for make in NAMED.values():
        with pytest.raises(ImproperlyConfigured, match="'wings'"):
            read(Items(make(), columns={"id": "No.", "wings": "W"}))
        with pytest.raises(ImproperlyConfigured, match="'wings'"):
            read(Items(make(), chosen=("wings",)))


def test_a_chosen_column_must_be_one_of_the_file_types() -> None:
    """Also where the rows have it: a file type may keep some of them back."""
    with pytest.raises(ImproperlyConfigured, match="'legs'"):
        read(Items(NAMED["mappings"](), columns={"id": "No."}, chosen=("legs",)))


def test_rows_without_names_are_named_by_position() -> None:
    """By a mapping with as many entries as they have values, or by headings."""
    names = {"id": "No.", "name": "Bird", "legs": "Legs"}
    assert read(Items(KNOWN, columns=names)) == (("No.", "Bird", "Legs"), ("id", "name", "legs"), KNOWN)
    assert read(Items(KNOWN, columns=names, chosen=("name",)))[2] == [("robin",), ("wren",)]
    assert read(Items(KNOWN, columns=tuple(names), chosen=("name",)))[2] == [("robin",), ("wren",)]
    assert read(Items([], columns=names, chosen=("name",))) == (("Bird",), ("name",), [])
    with pytest.raises(ImproperlyConfigured, match="3 values, and columns name 2"):
        read(Items(KNOWN, columns={"id": "No.", "name": "Bird"}))
    with pytest.raises(ImproperlyConfigured, match="'id'"):
        read(Items(KNOWN, chosen=("id",)))


def test_a_row_of_another_length_is_refused_where_some_are_picked() -> None:
    """Its values might be in other places."""
    with pytest.raises(UnwritableValue) as refused:
        read(Items([*KNOWN, (3, 2)], columns=("id", "name", "legs"), chosen=("legs",)))
    assert refused.value.row == 3


def test_headings_of_a_mapping_are_in_the_language_in_force_when_they_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step runs in the requester's."""
    items = Items([Bird(1, "robin", 2)], columns={"id": "No.", "name": "Name"})
    monkeypatch.setattr(locales, "gettext", str.upper)
    monkeypatch.setattr("bgtasks.items.columns.gettext", str.upper)
    assert read(items)[0] == ("NO.", "NAME")


def test_unneeded_values_are_never_made(table: None) -> None:
    """A column that is not in the file costs no conversion, and can't fail."""

    class Broken(String):
        cache_ok = True

        def result_processor(self, dialect: Any, coltype: Any) -> Any:
            def process(value: Any) -> Any:
                raise AssertionError("made")

            return process

    source = select(birds.c.id, birds.c.name.cast(Broken).label("name"))
    assert read(Items(source, chosen=("id",)))[2] == [(1,), (2,)]
