"""What the tests of the record share."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

from bgtasks import engines
from bgtasks.deployment import Deployment

#: A real outage of the database: within the block no statement succeeds.
Outage = Callable[[], AbstractContextManager[None]]


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A statement on SQLite waits for hardly any time, so that an outage is noticed; for ``conf`` to ask for."""
    monkeypatch.setattr(engines, "BUSY_TIMEOUT", 0.05)


@pytest.fixture
def outage(parts: Deployment, request: pytest.FixtureRequest) -> Outage:
    """A way to take the test's database away for a while."""
    if parts.database.engine.dialect.name == "sqlite":
        return lambda: _locked(str(parts.database.url.database))
    return lambda: _closed(request.getfixturevalue("postgres"), str(parts.database.url.database))


@contextlib.contextmanager
def _locked(file: str) -> Iterator[None]:
    """Another writer that does not come to an end."""
    connection = sqlite3.connect(file, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        connection.execute("ROLLBACK")
        connection.close()


@contextlib.contextmanager
def _closed(server: str, name: str) -> Iterator[None]:
    """A server that drops its connections and takes no new ones."""
    engine = create_engine(make_url(server).set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT")
    with engine.connect() as operator:
        operator.execute(text(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false"))
        operator.execute(text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :n"), {"n": name})
        try:
            yield
        finally:
            operator.execute(text(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true"))
    engine.dispose()
