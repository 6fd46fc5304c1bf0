"""Which revision a database's tables have, and which ones this release knows."""

from __future__ import annotations

from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from bgtasks.database import Database
from bgtasks.migrations import VERSION_TABLE


def head() -> str:
    """The newest that this release knows."""
    return str(_scripts().get_current_head())


def known() -> frozenset[str]:
    """Every one that this release knows."""
    return frozenset(script.revision for script in _scripts().walk_revisions())


def of(database: Database) -> str | None:
    """The one that a database's tables have; None: there are no tables."""
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
        return context.get_current_revision()


def _scripts() -> ScriptDirectory:
    config = Config()
    config.set_main_option("script_location", "bgtasks:migrations")
    config.set_main_option("path_separator", "os")
    return ScriptDirectory.from_config(config)
