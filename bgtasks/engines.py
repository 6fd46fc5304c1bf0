"""How connections are made, and what each has to be told before it is used."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL
from sqlalchemy.exc import InvalidatePoolError

from bgtasks.extras import needs

#: An execution option: this transaction writes (SQLite must know before it reads).
WRITES = "bgtasks_writes"
#: Seconds after which a connection that nobody has used is tried before it is given out again.
IDLE = 1.0
#: How a transaction of SQLite begins that will write: one that reads before it writes fails at once when another one
#: has written in between, whatever the busy timeout.
BEGIN_WRITING = "BEGIN IMMEDIATE"
BUSY_TIMEOUT = 5.0  # seconds that a SQLite statement waits for another writer

_within_a_step: ContextVar[bool] = ContextVar("within_a_step", default=False)


def resolve(url: URL, root: Path) -> URL:
    """The URL that SQLAlchemy is given: psycopg 3 for PostgreSQL; a relative SQLite file starts at the root."""
    if url.drivername in ("postgresql", "postgres"):
        return url.set(drivername="postgresql+psycopg")
    if url.get_backend_name() == "sqlite" and url.database and url.database != ":memory:":
        return url.set(database=str((root / url.database).resolve()))
    return url


def shown(url: URL) -> str:
    """The URL without its password, wherever in it that is: drivers take one from the query, too."""
    stars = dict.fromkeys((name for name in url.query if is_secret(name)), "***")
    return url.update_query_dict(stars).render_as_string(hide_password=True).replace("%2A%2A%2A", "***")


def is_secret(name: str) -> bool:
    """Whether what a URL's query has by this name is shown nowhere."""
    return any(word in name.lower() for word in ("password", "passwd", "secret", "token"))


def create(url: URL) -> Engine:
    """The engine of a database: made once in a process, since it keeps connections."""
    # hide_parameters: an error's text goes to the log, and the parameters are criteria and addresses.
    if url.get_backend_name() != "sqlite":
        engine = create_engine(url, hide_parameters=True)
        _try_connections(engine)
        if url.drivername == "postgresql+psycopg":
            event.listen(
                engine, "connect", lambda connection, _: needs("postgresql", "bgtasks.cursors").stream(connection)
            )
        return engine
    if url.database and url.database != ":memory:":
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(url, connect_args={"timeout": BUSY_TIMEOUT}, hide_parameters=True)
    event.listen(engine, "connect", _configure_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _try_connections(engine: Engine) -> None:
    """Try a connection before it is used, as ``pool_pre_ping`` does; within a step, only one that lay idle.

    A step has its statements one right after the other. What a ping a moment ago would not have shown, such as a
    database that restarts in between, is met by whoever repeats the statement (``patience.persistently``).
    """

    def returned(_: Any, record: Any) -> None:
        record.info["returned"] = time.monotonic()

    def taken(connection: Any, record: Any, _: Any) -> None:
        lay_idle = time.monotonic() - record.info.get("returned", time.monotonic())
        if _within_a_step.get() and lay_idle < IDLE:
            return
        try:
            engine.dialect.do_ping(connection)
        except engine.dialect.loaded_dbapi.Error as error:
            raise InvalidatePoolError from error  # the pool connects anew

    event.listen(engine, "checkin", returned)
    event.listen(engine, "checkout", taken)


@contextmanager
def within_a_step() -> Iterator[None]:
    """What is connected in this block is used right after the last time, as a rule."""
    before = _within_a_step.set(True)
    try:
        yield
    finally:
        _within_a_step.reset(before)


def _configure_sqlite(connection: Any, _: object) -> None:
    connection.isolation_level = None  # we begin transactions ourselves, below
    _keep_write_ahead_log(connection)
    for pragma in ("synchronous = NORMAL", "foreign_keys = ON"):
        connection.execute(f"PRAGMA {pragma}")


def _keep_write_ahead_log(connection: Any) -> None:
    # The busy timeout does not hold for this: of several that open a new file at once, some are told "locked" at once.
    deadline = time.monotonic() + BUSY_TIMEOUT
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def _begin_sqlite(connection: Connection) -> None:
    if connection.get_execution_options().get("isolation_level") == "AUTOCOMMIT":
        return  # SQLAlchemy begins all the same, and would commit nothing
    writes = connection.get_execution_options().get(WRITES)
    connection.exec_driver_sql(BEGIN_WRITING if writes else "BEGIN")
