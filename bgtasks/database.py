"""Connections to the database that holds the record, and to those that exports read from."""

from __future__ import annotations

import functools
import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from celery.signals import worker_process_init
from sqlalchemy import BindParameter, ColumnElement, Connection, Engine, literal
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, ProgrammingError, TimeoutError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import Session
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import DateTime

from bgtasks import engines, settings
from bgtasks.engines import WRITES
from bgtasks.errors import OutdatedTables
from bgtasks.prepared import Driver, driven

#: Every engine of this process, for the children that it forks.
_engines: list[Engine] = []

#: What SQLite and PostgreSQL say of a column that is not there.
_NO_COLUMN = re.compile(r"no such column|has no column named|column .* does not exist")

#: What a statement raises while the database is away, restarting or busy: trying again may work.
UNREACHABLE = (OperationalError, InterfaceError, TimeoutError)
SQLITE_AWAY = (
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_FULL,
)


class later(FunctionElement[Any]):  # noqa: N801 - an SQL function
    """The database's own clock, so many seconds from now: leases must not depend on a worker's clock."""

    type = DateTime(timezone=True)
    inherit_cache = True

    def __init__(self, seconds: float | BindParameter[float] = 0) -> None:
        self.seconds = seconds
        super().__init__(seconds if isinstance(seconds, BindParameter) else literal(float(seconds)))


@compiles(later, "postgresql")
def _postgresql_later(element: later, compiler: SQLCompiler, **kwargs: Any) -> str:
    # now() stands still within a transaction.
    return f"(clock_timestamp() + make_interval(secs => {compiler.process(element.clauses, **kwargs)}))"


@compiles(later, "sqlite")
def _sqlite_later(element: later, compiler: SQLCompiler, **kwargs: Any) -> str:
    # CURRENT_TIMESTAMP has whole seconds; %f has three digits, where SQLAlchemy's storage format has six.
    seconds = compiler.process(element.clauses, **kwargs)
    return f"(strftime('%Y-%m-%d %H:%M:%f', 'now', {seconds} || ' seconds') || '000')"


class steady_later(later):  # noqa: N801 - an SQL function
    """The same for what a query looks for: it stands still while the statement runs, so that an index can be used."""

    inherit_cache = True


@compiles(steady_later, "postgresql")
def _postgresql_steady(element: steady_later, compiler: SQLCompiler, **kwargs: Any) -> str:
    return f"(statement_timestamp() + make_interval(secs => {compiler.process(element.clauses, **kwargs)}))"


class likely(FunctionElement[bool]):  # noqa: N801 - an SQL function
    """A condition that holds for most rows: SQLite has no statistics, and would walk through all of these."""

    # It has no type: SQLAlchemy would compare what SQLite calls a Boolean with 1, which no index is for.
    inherit_cache = True

    def __init__(self, condition: ColumnElement[bool]) -> None:
        super().__init__(condition)


@compiles(likely, "postgresql")
def _postgresql_likely(element: likely, compiler: SQLCompiler, **kwargs: Any) -> str:
    return f"({compiler.process(element.clauses, **kwargs)})"


@compiles(likely, "sqlite")
def _sqlite_likely(element: likely, compiler: SQLCompiler, **kwargs: Any) -> str:
    return f"likely({compiler.process(element.clauses, **kwargs)})"


class Database:
    """One database: sessions that read, sessions that write, and streams for exports."""

    def __init__(self, url: str | URL, root: Path) -> None:
        self.url = engines.resolve(make_url(url), root)
        self.engine = engines.create(self.url)
        self.is_postgresql = self.engine.dialect.name == "postgresql"
        self._writes = self.engine.execution_options(**{WRITES: True})
        self._commits = self.engine.execution_options(isolation_level="AUTOCOMMIT")
        # Each statement of PostgreSQL's usual transactions has a snapshot of its own: queries need none around them,
        # which would take two more round trips.
        self._reads = self._commits if self.is_postgresql else self.engine
        _engines.append(self.engine)

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A session for queries; what it returns stays usable afterwards."""
        with Session(self._reads, expire_on_commit=False) as session, _clear_errors():
            yield session

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """A session in one transaction, committed at the end of the block."""
        with _clear_errors(), self._writes.connect() as connection:
            with Session(connection, expire_on_commit=False) as session, session.begin():
                yield session

    @contextmanager
    def one_transaction(self) -> Iterator[Connection]:
        """A connection in one transaction, committed at the end of the block."""
        with _clear_errors(), self._writes.begin() as connection:
            yield connection

    @contextmanager
    def one_statement(self) -> Iterator[Connection]:
        """A connection for a statement that commits by itself, which spares PostgreSQL three round trips."""
        with _clear_errors():
            with engines.within_a_step():
                connection = self._commits.connect()
            with connection:
                yield connection

    @contextmanager
    def prepared(self) -> Iterator[Driver]:
        """For prepared statements: each commits by itself on PostgreSQL, and all of the block together on SQLite."""
        with _clear_errors(), driven(self.engine) as driver:
            yield driver

    @contextmanager
    def streaming(self) -> Iterator[Connection]:
        """A connection in a read-only transaction with one snapshot, for a server-side cursor."""
        options: dict[str, Any] = {"stream_results": True}
        if self.engine.dialect.name == "postgresql":
            options |= {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        # It ends with a COMMIT: after a ROLLBACK, psycopg has a connection forget all its prepared statements.
        with self.engine.connect().execution_options(**options) as connection, connection.begin():
            yield connection


@contextmanager
def _clear_errors() -> Iterator[None]:
    try:
        yield
    except (ProgrammingError, OperationalError) as error:
        if is_missing_column(error):
            raise OutdatedTables("the tables of bgtasks are outdated: run celery bgtasks migrate") from error
        if is_missing_table(error):
            raise OutdatedTables("the tables of bgtasks are missing: run celery bgtasks migrate") from error
        raise


def is_missing_table(error: DBAPIError) -> bool:
    """Whether a statement failed because our tables are not there."""
    text = str(error.orig)
    return "no such table: bgtasks_" in text or 'relation "bgtasks_' in text


def is_missing_column(error: DBAPIError) -> bool:
    """Whether a statement failed because a migration has not added a column of ours yet."""
    return "bgtasks_" in (error.statement or "") and bool(_NO_COLUMN.search(str(error.orig)))


def is_unreachable(error: BaseException) -> bool:
    """Whether the database is away, restarting or busy; False for what is wrong with a statement."""
    if not isinstance(error, UNREACHABLE):
        return False
    # SQLite calls everything an operational error, a missing table too; the primary code tells (sqlite.org/rescode).
    code = getattr(getattr(error, "orig", None), "sqlite_errorcode", None)
    return code is None or code & 0xFF in SQLITE_AWAY


@functools.cache
def connect(url: str, root: Path) -> Database:
    """The process's one Database for a URL."""
    return Database(url, root)


def current() -> Database:
    """The record's database, as the current app's settings say."""
    configured = settings.current()
    return connect(configured.database_url, configured.root)


def source(url: str | None) -> Database:
    """The database that an export reads from: by default the record's own."""
    return connect(url, settings.current().root) if url else current()


@worker_process_init.connect(weak=False)
def forget_inherited_connections(**_: object) -> None:
    """A forked child must not use its parent's sockets, nor close them."""
    for engine in _engines:
        engine.dispose(close=False)
