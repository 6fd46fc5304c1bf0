"""A select as Arrow record batches, which ADBC's driver makes of PostgreSQL's own binary rows.

Not SQLite's: ADBC's driver for it has a SQLite of its own, and of two in one process each drops the other's
locks when it closes the file (sqlite.org/howtocorrupt.html, 2.2.1): rows that another process writes would be lost.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import pyarrow as pa
from adbc_driver_postgresql import StatementOptions, dbapi
from psycopg import ProgrammingError
from psycopg.conninfo import make_conninfo
from sqlalchemy import Dialect, SelectBase, TypeDecorator
from sqlalchemy.exc import SQLAlchemyError

from bgtasks.database import Database
from bgtasks.items import declared, postgresql
from bgtasks.items.arrow_rows import arrow_rows
from bgtasks.items.columns import Columns
from bgtasks.items.driver_errors import RAISED, translated
from bgtasks.items.rows import BATCH, ArrowRows, Kind
from bgtasks.items.selected import is_moment
from bgtasks.items.statements import Statement, compiled
from bgtasks.items.vectors import Vector

#: Bytes of a batch: the driver's own 16 MiB would be the most of the memory.
COPIED = FETCHED_BYTES = 2_000_000
FETCHED = 5_000  # rows of a batch that is fetched, at most
#: As ``Database.streaming``.
SNAPSHOT = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"
#: What says, before a row has been handed out, that tuples are the road: there it fails as it should, or works.
REFUSED = (*RAISED, SQLAlchemyError, ValueError, TypeError, OverflowError, LookupError)


@contextmanager
def arrow_selected(source: SelectBase, database: Database, columns: Columns) -> Iterator[ArrowRows | None]:
    """The rows of a select, in one snapshot; None, where it is not known that they would be the same."""
    with ExitStack() as opened:
        try:
            rows = _begun(source, database, columns, opened)
        except REFUSED:
            rows = None
        if rows is None:
            opened.close()
        yield rows


def conninfo(database: Database) -> str | None:
    """What libpq connects with; None, where the URL says what only psycopg understands."""
    if database.url.drivername != "postgresql+psycopg":
        return None
    options = database.engine.dialect.create_connect_args(database.url)[1]
    options.pop("context", None)  # SQLAlchemy's own, for psycopg
    try:
        # Arrow's texts are UTF-8, whatever the database has.
        return make_conninfo(**{**options, "client_encoding": "UTF8"})
    except ProgrammingError:
        return None


def _begun(source: SelectBase, database: Database, columns: Columns, opened: ExitStack) -> ArrowRows | None:
    """The rows, when the first of them are there."""
    to, dialect = conninfo(database), database.engine.dialect
    statement = to and compiled(source, dialect)
    if not to or not statement:
        return None
    connection = opened.enter_context(dbapi.connect(to))
    cursor = opened.enter_context(connection.cursor())
    cursor.execute(SNAPSHOT)
    schema = _declare(cursor, statement) if statement.parameters else _described(cursor, statement)
    if len(schema) != len(statement.types) or not _is_unicode(connection):
        return None
    choice = columns.choose(schema.names, len(schema))
    vectors = _vectors(choice.of(schema), choice.of(statement.types), dialect)
    if vectors is None:
        return None
    batches = _fetched(cursor) if statement.parameters else _copied(cursor, statement)
    aware = [isinstance(kind, TypeDecorator) and is_moment(kind, "any") for kind in choice.of(statement.types)]
    rows = arrow_rows(choice, tuple(schema.names), vectors, _guarded(batches, connection), aware)
    return replace(rows, decimals=declared.decimals(source, choice, len(schema.names)))


def _is_unicode(connection: Any) -> bool:
    """Whether all texts are: a database of encoding SQL_ASCII keeps any bytes."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('server_encoding')")
        return bool(cursor.fetchone() != ("SQL_ASCII",))


# -- two ways to read it ----------------------------------------------------------------------------


def _described(cursor: Any, statement: Statement) -> pa.Schema:
    return cursor.adbc_execute_schema(statement.sql)


def _copied(cursor: Any, statement: Statement) -> Iterator[pa.RecordBatch]:
    """By COPY, the fastest, which takes no parameters."""
    cursor.adbc_statement.set_options(**{StatementOptions.BATCH_SIZE_HINT_BYTES.value: str(COPIED)})
    cursor.execute(statement.sql)
    with cursor.fetch_record_batch() as reader:
        yield from reader


def _declare(cursor: Any, statement: Statement) -> pa.Schema:
    """A cursor of the server's: with parameters the driver would keep the whole result in memory."""
    cursor.execute("SET LOCAL cursor_tuple_fraction = 1")  # all of its rows will be read
    cursor.execute(f"DECLARE bgtasks NO SCROLL CURSOR FOR {statement.sql}", statement.parameters)
    cursor.adbc_statement.set_options(**{StatementOptions.USE_COPY.value: "false"})
    cursor.execute("FETCH 0 FROM bgtasks")
    return cursor.fetch_arrow_table().schema


def _fetched(cursor: Any) -> Iterator[pa.RecordBatch]:
    """As many rows at a time as the ones before let expect to be of the right size."""
    rows = BATCH
    while True:
        cursor.execute(f"FETCH {rows} FROM bgtasks")
        table = cursor.fetch_arrow_table()
        if not table.num_rows:
            return
        yield from table.to_batches()
        rows = max(1, min(FETCHED, FETCHED_BYTES * table.num_rows // max(1, table.nbytes)))


def _guarded(batches: Iterator[pa.RecordBatch], connection: Any) -> Iterator[pa.RecordBatch]:
    def is_alive() -> bool:
        try:
            connection.rollback()
            connection.execute("SELECT 1").close()
        except RAISED:
            return False
        return True

    while True:
        with translated(is_alive):
            batch = next(batches, None)
        if batch is None:
            return
        yield batch


# -- what the columns are ------------------------------------------------------------------------------


def _vectors(fields: list[pa.Field], types: list[Any], dialect: Dialect) -> list[Vector] | None:
    """How each column is read; None, if one is not known, or if most of them are Python's work in any case."""
    found = [postgresql.vector(field, kind, dialect) for field, kind in zip(fields, types, strict=True)]
    vectors = [vector for vector in found if vector is not None]
    others = sum(vector.kind is Kind.OTHER for vector in vectors)
    return None if len(vectors) < len(found) or 2 * others > len(found) else vectors
