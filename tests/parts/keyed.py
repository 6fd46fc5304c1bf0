"""Tables with keys of many kinds, and what plans make of them."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Iterator
from typing import Any

import zstandard
from sqlalchemy import ForeignKey, Select, String, func, insert
from sqlalchemy.orm import DeclarativeBase, Mapped, column_property, mapped_column

from bgtasks import database
from bgtasks.items import Items
from bgtasks.parts.narrowing import narrowed
from bgtasks.parts.planning import Plan, plan
from bgtasks.parts.ranges import Range
from tests.items.reading import as_tuples


class Base(DeclarativeBase):
    """Of the models of this folder's tests."""


class City(Base):
    """Where people live."""

    __tablename__ = "cities"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]


class Person(Base):
    """Somebody, with a number that need not be the only one."""

    __tablename__ = "persons"

    id: Mapped[int] = mapped_column(primary_key=True)
    number: Mapped[int | None]
    name: Mapped[str] = mapped_column(String(20), default="")
    city_id: Mapped[int | None] = mapped_column(ForeignKey(City.id))


Person.shown = column_property(func.lower(Person.name))  # type: ignore[attr-defined]


def persons(*rows: dict[str, Any]) -> None:
    """These people, and no others, are there."""
    current = database.current()
    Base.metadata.create_all(current.engine)
    with current.writing() as session:
        session.execute(Person.__table__.delete())
        session.execute(insert(Person), [{"id": number, "number": None} | row for number, row in enumerate(rows)])


def planned(source: Any, key: Any, wanted: int, until: Any = None) -> Plan:
    """A plan for so many parts, whatever there is."""
    return plan(source, key, lambda _: wanted, database.current(), until)


def pieces(source: Select[Any], key: Any, made: Plan, until: Any = None) -> list[Select[Any]]:
    """The selects of the parts, from what JSON has kept of them; one for the whole, where that is the plan."""
    ranges = [Range.from_json(json.loads(json.dumps(each.to_json()))) for each in made.ranges]
    return [narrowed(source, key, each, until) for each in ranges] or [source]


def plain(format: str, content: bytes) -> bytes:
    """What is in a file, if it is compressed, as the formats' own tools read it.

    :param format: its name or its suffix.
    """
    if format.endswith(".gz"):
        return gzip.decompress(content)
    if format.endswith(".zst"):
        return zstandard.ZstdDecompressor().stream_reader(io.BytesIO(content), read_across_frames=True).read()
    return content


def rows_of(selects: list[Select[Any]]) -> Iterator[tuple[Any, ...]]:
    """What they give, one after the other."""
    for each in selects:
        yield from as_tuples(Items(each))
