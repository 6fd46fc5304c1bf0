"""Statements that are compiled once, and executed by the driver itself.

SQLAlchemy takes 0.5 ms of a worker's time to execute a statement that it knows, and the driver 0.1: too much for what
each step of a chain does twice. The connections are of its pool, and the statement, its types and its errors are its
own; but who listens to an engine's statements does not hear of these.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast

from sqlalchemy import Column, Engine, Executable
from sqlalchemy.engine import Dialect
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import PoolProxiedConnection
from sqlalchemy.sql.compiler import SQLCompiler

from bgtasks import engines

#: What makes a value that a driver takes, or one that Python code expects.
Processor = Callable[[Any], Any]


class Prepared:
    """One statement, compiled for one kind of database.

    :param given: the names of the parameters that have no values yet.
    :param returned: the columns that it returns.
    """

    def __init__(
        self, statement: Executable, given: Iterable[str], returned: Iterable[Column[Any]], dialect: Dialect
    ) -> None:
        compiled = cast("SQLCompiler", cast("Any", statement).compile(dialect=dialect))
        expanded = compiled.construct_expanded_state(dict.fromkeys(given), escape_names=False)
        self.text = expanded.statement
        self._order = expanded.positiontup
        processors = {**_bind_processors(compiled, dialect), **expanded.processors}
        self._bind = {name: processors.get(name, _as_it_is) for name in expanded.parameters}
        fixed = expanded.parameters.keys() - set(given)
        self._fixed = {name: self._bind.pop(name)(expanded.parameters[name]) for name in fixed}
        self.returns = [(column.name, _result_processor(column, dialect)) for column in returned]

    def values(self, given: Mapping[str, Any]) -> Mapping[str, Any] | list[Any]:
        """What the driver is to execute the statement with."""
        values = self._fixed | {name: bind(given[name]) for name, bind in self._bind.items()}
        return values if self._order is None else [values[name] for name in self._order]

    def row(self, found: Iterable[Any]) -> dict[str, Any]:
        """What the driver has returned, by the names of the columns."""
        returned = zip(self.returns, found, strict=False)  # what follows the columns is nobody's
        return {name: process(value) for (name, process), value in returned}


class Driver:
    """A connection's own cursor (DBAPI)."""

    def __init__(self, cursor: Any) -> None:
        self.cursor = cursor
        self.text = ""  #: the statement that was executed last

    def execute(self, statement: Prepared, given: Mapping[str, Any]) -> dict[str, Any] | None:
        """The row that a statement returns; None: none."""
        self.text = statement.text
        self.cursor.execute(statement.text, statement.values(given))
        if not statement.returns:
            return None
        found = self.cursor.fetchall()
        return statement.row(found[0]) if found else None

    def say(self, text: str) -> None:
        """Execute a statement that has no parameters and returns nothing."""
        self.cursor.execute(text)


@contextmanager
def driven(engine: Engine) -> Iterator[Driver]:
    """A connection of the pool: each statement commits by itself on PostgreSQL, and all of them together on SQLite."""
    with _connected(engine) as connection:
        driver = Driver(connection.cursor())
        try:
            with _committing(engine.dialect, connection, driver):
                yield driver
        except engine.dialect.loaded_dbapi.Error as error:
            if lost := engine.dialect.is_disconnect(error, _own(connection), None):
                connection.invalidate(error)
            raise _as_sqlalchemys(error, engine.dialect, driver.text, lost) from error
        except BaseException as error:
            if not isinstance(error, Exception):
                connection.invalidate(error)  # a signal may have cut a statement in two
            raise


@contextmanager
def _connected(engine: Engine) -> Iterator[PoolProxiedConnection]:
    try:
        with engines.within_a_step():
            connection = engine.raw_connection()
    except engine.dialect.loaded_dbapi.Error as error:
        raise _as_sqlalchemys(error, engine.dialect) from error
    try:
        yield connection
    finally:
        if connection.is_valid and engine.dialect.name != "sqlite":
            engine.dialect.reset_isolation_level(_own(connection))
        connection.close()  # into the pool, which rolls back what was not committed


@contextmanager
def _committing(dialect: Dialect, connection: PoolProxiedConnection, driver: Driver) -> Iterator[None]:
    if dialect.name == "sqlite":
        driver.say(engines.BEGIN_WRITING)
        yield
        driver.say("COMMIT")
    else:
        dialect.set_isolation_level(_own(connection), "AUTOCOMMIT")
        yield


def _own(connection: PoolProxiedConnection) -> Any:
    """The driver's connection."""
    return connection.dbapi_connection


def _as_sqlalchemys(error: Exception, dialect: Dialect, text: str = "", lost: bool = False) -> BaseException:
    """The error that SQLAlchemy makes of a driver's; without parameters, which are criteria and addresses."""
    kind: Any = DBAPIError.instance
    own = {"hide_parameters": True, "connection_invalidated": lost, "dialect": dialect}
    return cast("BaseException", kind(text, None, error, dialect.loaded_dbapi.Error, **own))


def _bind_processors(compiled: SQLCompiler, dialect: Dialect) -> dict[str, Processor]:
    found = {
        name: bound.type.dialect_impl(dialect).bind_processor(dialect) for bound, name in compiled.bind_names.items()
    }
    return {name: processor for name, processor in found.items() if processor is not None}


def _result_processor(column: Column[Any], dialect: Dialect) -> Processor:
    return column.type.dialect_impl(dialect).result_processor(dialect, None) or _as_it_is


def _as_it_is(value: Any) -> Any:
    return value
