"""The tables' history (Alembic), with a version table of its own: it lives beside an application's.

An application that autogenerates its own migrations tells its ``env.py`` to leave our tables alone::

    from bgtasks import migrations

    context.configure(connection=connection, target_metadata=metadata, include_name=migrations.include_name)
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, text

from bgtasks.database import Database
from bgtasks.engines import WRITES

VERSION_TABLE = "bgtasks_alembic_version"
#: A number of our own, for PostgreSQL's advisory locks.
LOCK = 7_235_419_126
#: Seconds until it is tried again.
RETRY = 0.1


def upgrade(database: Database, revision: str = "head") -> None:
    """Bring the tables of a database up to date. Two at once do it one after the other."""
    with _in_turn(database) as connection:
        command.upgrade(_config(connection), revision)


def downgrade(database: Database, revision: str) -> None:
    """Go back to an older revision, such as ``0004`` or ``-1``: before an older version of bgtasks is installed."""
    with _in_turn(database) as connection:
        command.downgrade(_config(connection), revision)


@contextmanager
def _in_turn(database: Database) -> Iterator[Connection]:
    """A connection for a change of the tables, while nobody else makes one."""
    with database.engine.connect().execution_options(**{WRITES: True}) as connection:
        if not database.is_postgresql:
            with connection.begin():
                yield connection
            return
        # Alembic's own transactions, one for each revision: an index is built beside those of others in none at all.
        with _alone(database):
            yield connection


@contextmanager
def _alone(database: Database) -> Iterator[None]:
    """Hold the lock in a transaction of its own. It is tried rather than waited for within a statement.

    Such a statement would be one that an index waits for, before it is finished by whoever has the lock.
    """
    with database.engine.connect() as connection:
        while not connection.scalar(text("SELECT pg_try_advisory_xact_lock(:number)"), {"number": LOCK}):
            connection.rollback()
            time.sleep(RETRY)
        # However long it takes. And a query's snapshot is held until the next statement: an index would wait for it.
        connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
        yield


def include_name(name: str | None, kind: str, _: Mapping[Any, Any]) -> bool:
    """Whether a name in the database is an application's own: Alembic's ``include_name``, for its ``env.py``."""
    return kind != "table" or name is None or not name.startswith("bgtasks_")


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", "bgtasks:migrations")
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config
