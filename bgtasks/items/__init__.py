"""What a file is made of: one face for selects, for Arrow and for anything that can be iterated."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import Any, TypeVar

from sqlalchemy import SelectBase

from bgtasks import database
from bgtasks.errors import TransientError
from bgtasks.extras import has, needs
from bgtasks.items.columns import Columns, Declared
from bgtasks.items.counting import counting
from bgtasks.items.iterated import is_queryset, iterated
from bgtasks.items.rows import ARROW_BATCH, BATCH, ArrowRows, Kind, Row, Rows
from bgtasks.items.selected import selected

Batch = TypeVar("Batch")

#: Rows, below which a connection for Arrow takes longer than it saves.
FEW = 15_000

__all__ = ["BATCH", "ArrowRows", "Items", "Kind", "Member", "Row", "Rows", "is_arrow"]


@dataclass(frozen=True)
class Member:
    """One of the files in a ZIP archive."""

    name: str  #: such as ``2026/flights.csv``; its suffix names the format of rows
    contents: Any  #: what ``get_items`` may return; or bytes, a binary file, an iterable of bytes
    columns: Sequence[str] | Mapping[str, str] | None = None  #: as a file type's


class Items:
    """What ``get_items`` returned: counted, then streamed in batches, never in memory at once.

    :param source: a SQLAlchemy select (a union, a text with columns …), a Django queryset of ``values()`` or
        ``values_list()``, Arrow data (a reader, a table, a polars frame …), or an iterable of rows or mappings.
    :param source_url: the database that a select runs on (default: the record's own).
    :param columns: headings, by position; or a mapping of the columns that the file has, in its order, from
        their names to their headings. (Rows without names have the mapping's, by position.)
    :param chosen: the names of those that it shall have, in its order; none: all.
    """

    def __init__(
        self,
        source: Any,
        source_url: str | None = None,
        columns: Declared = None,
        chosen: Sequence[str] = (),
    ) -> None:
        self.source = source
        self._source_url = source_url
        self._columns = Columns(columns, tuple(chosen))
        self._spent = False
        self._members_rows = 0
        #: How many rows there will be, as far as anybody knows: for a few, another connection is not worth it.
        self.expected: int | None = None
        #: Called before each batch is handed out, with the number of rows up to and including it.
        self.watch: Callable[[int], None] = lambda _: None

    def count(self) -> int | None:
        """How many rows there are now; None where only reading them all would tell."""
        self.expected = self._counted()
        return self.expected

    def _counted(self) -> int | None:
        if isinstance(self.source, SelectBase):
            with self.database.one_statement() as connection:
                return int(connection.execute(counting(self.source)).scalar_one())
        if is_queryset(self.source):
            return int(self.source.count())
        return len(self.source) if isinstance(self.source, Sized) and not _has_members(self.source) else None

    @contextmanager
    def open(self) -> Iterator[Rows]:
        """The rows, in one consistent snapshot where they come from a database.

        Raises: TransientError, where they can be read only once, and have been: who tries again
        must ask for the items again, or write a part of them for the whole.
        """
        with self._rows() as rows:
            yield replace(rows, batches=self._watched(rows.batches, len))

    @contextmanager
    def open_arrow(self) -> Iterator[ArrowRows | None]:
        """The same rows as Arrow record batches; None, and nothing is used up, where ``open`` is the faster road."""
        with self._arrow_rows() as rows:
            yield rows and replace(rows, batches=self._watched(rows.batches, attrgetter("num_rows")))

    def inner(self, contents: Any, columns: Declared = None) -> Items:
        """The items of one of the files in this one, whose rows go on in this one's ``watch``.

        To be made when those of the file before have been read.
        """
        made, before = Items(contents, self._source_url, columns), self._members_rows

        def watch(rows: int) -> None:
            self._members_rows = before + rows
            self.watch(self._members_rows)

        made.watch = watch
        return made

    @property
    def chosen(self) -> tuple[str, ...]:
        """The names of the columns that a request has chosen; none: all."""
        return self._columns.chosen

    @property
    def database(self) -> database.Database:
        """Where a select runs."""
        return database.source(self._source_url)

    @contextmanager
    def _rows(self) -> Iterator[Rows]:
        if is_arrow(self.source):
            with self._streamed(BATCH) as streamed:
                yield needs("arrow", "bgtasks.items.arrow_rows").as_tuples(streamed)
            return
        is_select = isinstance(self.source, SelectBase)
        with self._selected() if is_select else iterated(self.source, self._columns, self._begun) as rows:
            yield rows

    def _selected(self) -> AbstractContextManager[Rows]:
        return selected(self.source, self.database, self._columns)

    def _streamed(self, size: int) -> AbstractContextManager[ArrowRows]:
        """Arrow's own rows, in batches of so many."""
        streams = needs("arrow", "bgtasks.items.arrow_streams")
        if hasattr(self.source, "read_next_batch"):
            self._begun(self.source)
        return streams.arrow_streamed(self.source, self._columns, size)  # type: ignore[no-any-return]

    def _arrow_rows(self) -> AbstractContextManager[ArrowRows | None]:
        if is_arrow(self.source):
            return self._streamed(ARROW_BATCH)
        few = self.expected is not None and self.expected < FEW
        if isinstance(self.source, SelectBase) and not few and has("pyarrow", "adbc_driver_postgresql", "psycopg"):
            arrow_selected = needs("arrow", "bgtasks.items.arrow_selects").arrow_selected
            return arrow_selected(self.source, self.database, self._columns)  # type: ignore[no-any-return]
        return nullcontext()

    def _begun(self, source: Iterable[Any]) -> Iterator[Any]:
        """Raises: TransientError, for an iterator at its second time."""
        items = iter(source)
        if items is self.source:
            if self._spent:
                raise TransientError("These rows can be read only once.")
            self._spent = True
        return items

    def _watched(self, batches: Iterator[Batch], size: Callable[[Batch], int]) -> Iterator[Batch]:
        total = 0
        for batch in batches:
            total += size(batch)
            self.watch(total)
            yield batch


def is_arrow(source: Any) -> bool:
    """Whether this speaks Arrow's PyCapsule interface: pyarrow, polars, DuckDB, pandas."""
    return hasattr(source, "__arrow_c_stream__") or hasattr(source, "__arrow_c_array__")


def _has_members(source: Any) -> bool:
    """Whether these are the files of an archive."""
    return isinstance(source, Sequence) and len(source) > 0 and isinstance(source[0], Member)
