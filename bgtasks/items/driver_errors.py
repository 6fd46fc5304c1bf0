"""What ADBC's driver raises, as what SQLAlchemy raises of psycopg: one outage must not have two names."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import adbc_driver_manager
import psycopg
import pyarrow as pa
from sqlalchemy.exc import DBAPIError

#: In the midst of a COPY the driver's errors come out of Arrow's own, without PostgreSQL's code.
RAISED = (adbc_driver_manager.Error, pa.ArrowException, OSError)


@contextmanager
def translated(is_alive: Callable[[], bool]) -> Iterator[None]:
    """Within this block.

    :param is_alive: whether the connection is, asked when something has been raised.
    Raises: DBAPIError, a subclass of it.
    """
    try:
        yield
    except RAISED as error:
        original = _named(error, is_alive)
        raise DBAPIError.instance(None, None, original, psycopg.Error, hide_parameters=True) from error


def _named(error: Exception, is_alive: Callable[[], bool]) -> psycopg.Error:
    text, code = _said(error), getattr(error, "sqlstate", None)
    if code:
        try:
            return psycopg.errors.lookup(code)(text)
        except KeyError:
            return psycopg.DatabaseError(text)
    if not is_alive():
        return psycopg.OperationalError(text)
    # A server that is set to another language says so in other words: then it is no outage.
    return psycopg.errors.QueryCanceled(text) if "canceling statement" in text else psycopg.DatabaseError(text)


def _said(error: Exception) -> str:
    """The server's words. The driver adds the whole statement."""
    return str(error).partition("\n\nQuery was:")[0]
