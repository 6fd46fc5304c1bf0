"""What a file is made of: one face for selects and for anything that can be iterated."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence, Sized
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import DateTime, GenerativeSelect, SelectBase, TypeDecorator, func, select
from sqlalchemy.types import TypeEngine

from bgtasks import database
from bgtasks.errors import TransientError, UnwritableValue

BATCH = 2000  # rows: large enough to amortise a fetch, small enough to note progress and a cancel

Row = Sequence[Any]


@dataclass(frozen=True)
class Rows:
    """Rows on their way into a file."""

    columns: tuple[str, ...] | None  #: the headings; None: these rows have no names
    batches: Iterator[Sequence[Row]]
    moments: frozenset[int] = frozenset()  #: the columns of aware times, counted from 0

    def headings(self, zone: str | None) -> tuple[str, ...] | None:
        """The headings, where those of aware times name the zone that they are shown in.

        :param zone: its name; None: not to be named.
        """
        if self.columns is None or zone is None:
            return self.columns
        return tuple(f"{name} ({zone})" if number in self.moments else name for number, name in enumerate(self.columns))

    def name(self, column: int) -> str | int:
        """What a person knows a column by: its heading, or its number from 1."""
        return self.columns[column] if self.columns and column < len(self.columns) else column + 1


class Items:
    """What ``get_items`` returned: counted, then streamed in batches, never in memory at once.

    :param source: a SQLAlchemy select (a union, a text with columns …), a Django queryset of ``values()`` or
        ``values_list()``, or an iterable of rows or mappings.
    :param source_url: the database that a select runs on (default: the record's own).
    :param columns: headings, for rows that have no names of their own.
    """

    def __init__(self, source: Any, source_url: str | None = None, columns: Sequence[str] | None = None) -> None:
        self.source = source
        self._source_url = source_url
        self._columns = tuple(map(str, columns)) if columns else None
        self._spent = False
        #: Called before each batch is handed out, with the number of rows up to and including it.
        self.watch: Callable[[int], None] = lambda _: None

    def count(self) -> int | None:
        """How many rows there are now; None where only reading them all would tell."""
        if isinstance(self.source, SelectBase):
            counting = select(func.count()).select_from(_unordered(self.source).subquery())
            with database.source(self._source_url).streaming() as connection:
                return int(connection.execute(counting).scalar_one())
        if _is_queryset(self.source):
            return int(self.source.count())
        return len(self.source) if isinstance(self.source, Sized) else None

    @contextmanager
    def open(self) -> Iterator[Rows]:
        """The rows, in one consistent snapshot where they come from a database.

        Raises: TransientError, where they can be read only once, and have been: who tries again
        must ask for the items again, or write a part of them for the whole.
        """
        opened = self._selected() if isinstance(self.source, SelectBase) else self._iterated()
        with opened as rows:
            yield replace(rows, batches=self._watched(rows.batches))

    def _watched(self, batches: Iterator[Sequence[Row]]) -> Iterator[Sequence[Row]]:
        total = 0
        for batch in batches:
            total += len(batch)
            self.watch(total)
            yield batch

    @contextmanager
    def _selected(self) -> Iterator[Rows]:
        with database.source(self._source_url).streaming() as connection:
            with connection.execution_options(yield_per=BATCH).execute(self.source) as result:
                names = tuple(result.keys())
                declared = _declared_moments(self.source, len(names), connection.dialect.name)
                yield _rows(self._columns or names, result.partitions(), declared)

    @contextmanager
    def _iterated(self) -> Iterator[Rows]:
        items = self._iterator()
        try:
            first = list(itertools.islice(items, 1))
            names = _names(first[0]) or _asked_for(self.source, first[0]) if first else None
            everything = itertools.chain(first, items)
            rows = _values(everything) if first and isinstance(first[0], Mapping) else everything
            yield _rows(self._columns or names, _batched(rows))
        finally:
            if isinstance(items, Generator):  # it tidies up now, and not when somebody happens to forget it
                items.close()

    def _iterator(self) -> Iterator[Any]:
        lazy = self.source.iterator(chunk_size=BATCH) if _is_queryset(self.source) else self.source
        items: Iterator[Any] = iter(lazy)
        if items is self.source:
            if self._spent:
                raise TransientError("These rows can be read only once.")
            self._spent = True
        return items


def _rows(
    columns: tuple[str, ...] | None, batches: Iterator[Sequence[Row]], declared: frozenset[int] = frozenset()
) -> Rows:
    """The rows, when their first batch has shown which columns are aware times.

    :param declared: those that the select's types say are; of what has values, the values decide.
    """
    first = list(itertools.islice(batches, 1))
    values = _first_values(first[0] if first else ())
    moments = {number for number, value in values.items() if isinstance(value, datetime) and value.tzinfo is not None}
    return Rows(columns, itertools.chain(first, batches), frozenset(moments | (declared - values.keys())))


def _first_values(batch: Sequence[Row]) -> dict[int, Any]:
    """A value of each column that has one in these rows."""
    found: dict[int, Any] = {}
    for row in batch:
        if not isinstance(row, Collection) or len(found) == len(row):  # the former may be used up by a look
            break
        found |= {number: value for number, value in enumerate(row) if value is not None and number not in found}
    return found


def _declared_moments(source: SelectBase, columns: int, dialect: str) -> frozenset[int]:
    """The columns of a select whose type is an aware time. SQLite has none, but a type may make them itself."""
    types = [column.type for column in source.selected_columns]
    aware = {number for number, kind in enumerate(types) if _is_aware(kind, dialect)}
    return frozenset(aware if len(types) == columns else ())  # a text among the columns is not counted


def _is_aware(kind: TypeEngine[Any], dialect: str) -> bool:
    if isinstance(kind, TypeDecorator):
        return _is_aware(kind.impl_instance, "any")
    return isinstance(kind, DateTime) and kind.timezone and dialect != "sqlite"


def _unordered(source: SelectBase) -> SelectBase:
    """The same rows in any order, which is cheaper to count."""
    return source.order_by(None) if isinstance(source, GenerativeSelect) else source


def _is_queryset(source: Any) -> bool:
    """Whether this is a Django queryset: it has a length as well, which loads it whole."""
    return callable(getattr(source, "iterator", None)) and callable(getattr(source, "count", None))


def _asked_for(source: Any, row: Any) -> tuple[str, ...] | None:
    """What a ``values_list()`` of a queryset has asked for by name, where those are all of its columns."""
    names = getattr(source, "_fields", None) if _is_queryset(source) else None
    return tuple(map(str, names)) if names and len(names) == len(row) else None


def _names(item: Any) -> tuple[str, ...] | None:
    """The column names that a row brings along. Raises: TypeError, if it is no row."""
    if isinstance(item, str | bytes) or not isinstance(item, Iterable):
        raise TypeError(f"the items of a file are rows (sequences of values, or mappings), not {type(item).__name__}")
    names = item.keys() if isinstance(item, Mapping) else getattr(item, "_fields", None)
    return None if names is None else tuple(map(str, names))


def _values(mappings: Iterable[Mapping[Any, Any]]) -> Iterator[Row]:
    """Each mapping's values in the order of the first one's keys."""
    keys: Mapping[Any, Any] | None = None
    for number, mapping in enumerate(mappings, 1):
        keys = mapping if keys is None else keys
        if mapping.keys() != keys.keys():
            raise UnwritableValue("A row has other columns than the first one", row=number, column="any")
        yield [mapping[key] for key in keys]


def _batched(rows: Iterable[Row]) -> Iterator[Sequence[Row]]:
    rows = iter(rows)
    while batch := list(itertools.islice(rows, BATCH)):
        yield batch
