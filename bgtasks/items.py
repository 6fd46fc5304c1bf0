"""What a file is made of: one face for selects and for anything that can be iterated."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence, Sized
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import GenerativeSelect, SelectBase, func, select

from bgtasks import database
from bgtasks.errors import TransientError, UnwritableValue

BATCH = 2000  # rows: large enough to amortise a fetch, small enough to note progress and a cancel

Row = Sequence[Any]


@dataclass(frozen=True)
class Rows:
    """Rows on their way into a file."""

    columns: tuple[str, ...] | None  #: the headings; None: these rows have no names
    batches: Iterator[Sequence[Row]]

    def name(self, column: int) -> str | int:
        """What a person knows a column by: its heading, or its number from 1."""
        return self.columns[column] if self.columns and column < len(self.columns) else column + 1


class Items:
    """What ``get_items`` returned: counted, then streamed in batches, never in memory at once.

    :param source: a SQLAlchemy select (a union, a text with columns …), or an iterable of rows or mappings.
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
        return len(self.source) if isinstance(self.source, Sized) else None

    @contextmanager
    def open(self) -> Iterator[Rows]:
        """The rows, in one consistent snapshot where they come from a database.

        Raises: TransientError, where they can be read only once, and have been: who tries again
        must ask for the items again, or write a part of them for the whole.
        """
        opened = self._selected() if isinstance(self.source, SelectBase) else self._iterated()
        with opened as rows:
            yield Rows(rows.columns, self._watched(rows.batches))

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
                yield Rows(self._columns or tuple(result.keys()), result.partitions())

    @contextmanager
    def _iterated(self) -> Iterator[Rows]:
        items = self._iterator()
        try:
            first = list(itertools.islice(items, 1))
            names = _names(first[0]) if first else None
            everything = itertools.chain(first, items)
            rows = _values(everything) if first and isinstance(first[0], Mapping) else everything
            yield Rows(self._columns or names, _batched(rows))
        finally:
            if isinstance(items, Generator):  # it tidies up now, and not when somebody happens to forget it
                items.close()

    def _iterator(self) -> Iterator[Any]:
        items: Iterator[Any] = iter(self.source)
        if items is self.source:
            if self._spent:
                raise TransientError("These rows can be read only once.")
            self._spent = True
        return items


def _unordered(source: SelectBase) -> SelectBase:
    """The same rows in any order, which is cheaper to count."""
    return source.order_by(None) if isinstance(source, GenerativeSelect) else source


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
