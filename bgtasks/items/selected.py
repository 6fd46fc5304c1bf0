"""Rows of a select, through SQLAlchemy's own connection: its parameters, its types, but no object for each row."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from sqlalchemy import CursorResult, DateTime, TypeDecorator
from sqlalchemy.types import TypeEngine

from bgtasks.database import Database
from bgtasks.items import declared
from bgtasks.items.batches import looked_at
from bgtasks.items.columns import Choice, Columns
from bgtasks.items.rows import BATCH, Row, Rows

Process = Callable[[Any], Any]
TIMESTAMPTZ = 1184  # PostgreSQL's number for it


@contextmanager
def selected(source: Any, database: Database, columns: Columns) -> Iterator[Rows]:
    """The rows of a select, in one snapshot."""
    with database.streaming() as connection:
        with connection.execution_options(yield_per=BATCH).execute(source) as result:
            names = tuple(result.keys())
            choice = columns.choose(names, len(names))
            aware = choice.of(_declared_moments(source, result, connection.dialect.name))
            moments = frozenset(number for number, is_moment in enumerate(aware) if is_moment)
            rows = looked_at(choice, _batches(result, choice), moments)
            yield replace(
                rows,
                kinds=declared.kinds(source, choice, len(names), connection.dialect.name),
                decimals=declared.decimals(source, choice, len(names)),
            )


def _batches(result: CursorResult[Any], choice: Choice) -> Iterator[Sequence[Row]]:
    processors = _processors(result)
    if processors is None:
        return ([tuple(choice.of(row)) for row in batch] for batch in result.partitions())
    chosen = choice.of(processors)
    if choice.picked is None and not any(chosen):
        return _fetched(result)
    return (_converted(batch, choice, chosen) for batch in _fetched(result))


def _processors(result: CursorResult[Any]) -> Sequence[Process | None] | None:
    """What SQLAlchemy makes its values with, column by column; None: only it itself can read this result."""
    # It has no public name. A row is made of these and of nothing else, unless a filter of columns is set.
    metadata: Any = result._metadata  # noqa: SLF001
    if getattr(metadata, "_tuplefilter", True) is not None:
        return None
    return getattr(metadata, "_processors", None)


def _fetched(result: CursorResult[Any]) -> Iterator[Sequence[Row]]:
    """The driver's own rows."""
    # By way of SQLAlchemy, which has fetched the first of them ahead, and names the driver's errors.
    while batch := result.cursor_strategy.fetchmany(result, result.cursor, BATCH):
        yield batch


def _converted(batch: Sequence[Row], choice: Choice, processors: Sequence[Process | None]) -> list[tuple[Any, ...]]:
    """The values as their types make them, a column at a time."""
    columns = zip(choice.of(tuple(zip(*batch, strict=True))), processors, strict=True)
    return list(zip(*(map(process, column) if process else column for column, process in columns), strict=True))


def _declared_moments(source: Any, result: CursorResult[Any], dialect: str) -> Sequence[bool]:
    """Which columns of a select have a type that is an aware time."""
    types: list[TypeEngine[Any] | None] = [column.type for column in source.selected_columns]
    codes = [column[1] for column in result.cursor.description] if result.cursor else []
    if len(types) != len(codes):  # a text among the columns is not counted
        types = [None] * len(codes)
    return [is_moment(kind, dialect, code) for kind, code in zip(types, codes, strict=True)]


def is_moment(kind: TypeEngine[Any] | None, dialect: str, code: Any = None) -> bool:
    """Whether a type's values are aware times. SQLite has none, but a type may make them itself.

    :param code: what the database says that it is.
    """
    if isinstance(kind, TypeDecorator):
        return is_moment(kind.impl_instance, "any")
    if dialect == "postgresql":
        return bool(code == TIMESTAMPTZ)
    return isinstance(kind, DateTime) and kind.timezone and dialect != "sqlite"
