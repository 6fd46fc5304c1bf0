"""The tables' history (Alembic), with a version table of its own: it lives beside an application's.

An application that autogenerates its own migrations tells its ``env.py`` to leave our tables alone::

    from bgtasks import migrations

    context.configure(connection=connection, target_metadata=metadata, include_name=migrations.include_name)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, text

from bgtasks.database import Database
from bgtasks.engines import WRITES

VERSION_TABLE = "bgtasks_alembic_version"
#: A number of our own, for PostgreSQL's advisory locks.
LOCK = 7_235_419_126


def upgrade(database: Database, revision: str = "head") -> None:
    """Bring the tables of a database up to date. Two at once do it one after the other."""
    with database.engine.connect().execution_options(**{WRITES: True}) as connection, connection.begin():
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": LOCK})
        command.upgrade(_config(connection), revision)


def include_name(name: str | None, kind: str, _: Mapping[Any, Any]) -> bool:
    """Whether a name in the database is an application's own: Alembic's ``include_name``, for its ``env.py``."""
    return kind != "table" or name is None or not name.startswith("bgtasks_")


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", "bgtasks:migrations")
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config
