"""SQLite looks up as little as PostgreSQL does, though it has no statistics, and plans by rules of its own."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sized
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from celery import Celery
from sqlalchemy import JSON, Column, Uuid
from sqlalchemy.engine import make_url

from bgtasks import deployment, registry
from bgtasks.deployment import Deployment
from bgtasks.models import FileRequest, UtcDateTime
from bgtasks.states import State
from tests.conftest import KEY, new_sqlite
from tests.scale.test_plans import CALLS, TABLES, one
from tests.support.file_types import Numbers
from tests.support.listening import listening

NEWEST, OLDEST = 17_000, 3_000
#: Instructions of SQLite's machine that a statement may take. Two for each row are 40,000; whoever walks through the
#: ended requests takes over 80,000. A look into a live request's history takes about a hundred.
MOST, MOST_WITH_HISTORIES = 60_000, 250_000
OF_HISTORIES = ("what was missed",)
#: The oldest first, of all types that the process knows: it is looked for along all requests of these types.
WALKING = ("what a process may handle",)
UNIT = 1_000
SOME = """
CREATE TEMPORARY TABLE wanted AS
(SELECT id FROM bgtasks_file_requests ORDER BY requested_at DESC LIMIT %(newest)s)
UNION ALL (SELECT id FROM bgtasks_file_requests ORDER BY requested_at LIMIT %(oldest)s)
"""


@pytest.fixture(scope="module")
def less_full(full: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The URL of a SQLite database with 20,000 requests of the other table, all live ones among them."""
    url = new_sqlite(tmp_path_factory.mktemp("sqlite"))
    with psycopg.connect(full) as source, closing(sqlite3.connect(str(make_url(url).database))) as target, target:
        source.execute(SOME, {"newest": NEWEST, "oldest": OLDEST})
        for table in TABLES:
            key = "id" if table == FileRequest.__tablename__ else "request_id"
            columns = FileRequest.metadata.tables[table].columns
            texts = ", ".join(_as_sqlite_has_it(column) for column in columns)
            rows = source.execute(f"SELECT {texts} FROM {table} WHERE {key} IN (SELECT id FROM wanted)")
            target.executemany(f"INSERT INTO {table} ({', '.join(columns.keys())}) VALUES ({marks(columns)})", rows)
    return url


def _as_sqlite_has_it(column: Column[Any]) -> str:
    if isinstance(column.type, Uuid):
        return f"replace({column.name}::text, '-', '')"
    if isinstance(column.type, UtcDateTime):
        return f"to_char({column.name} AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US')"
    return f"{column.name}::text" if isinstance(column.type, JSON) else column.name


def marks(columns: Sized) -> str:
    """A parameter for each."""
    return ", ".join("?" * len(columns))


@pytest.fixture
def parts(less_full: str, tmp_path: Path) -> Iterator[Deployment]:
    """The deployment of that database."""
    app = Celery("scale", set_as_current=True)
    app.conf.update(
        broker_url="memory://", bgtasks_default_key=KEY, bgtasks_database_url=less_full,
        bgtasks_store_url=str(tmp_path),
    )  # fmt: skip
    registry.register(Numbers)
    made = deployment.current()
    yield made
    made.database.engine.dispose()


@contextmanager
def watched(parts: Deployment) -> Iterator[list[tuple[str, list[None]]]]:
    """Each statement as SQLite has it, with an entry for each ``UNIT`` instructions that it has taken."""
    said: list[tuple[str, list[None]]] = []

    def watch(connection: sqlite3.Connection, *_: Any) -> None:
        connection.set_trace_callback(lambda text: said.append((text, [])))
        connection.set_progress_handler(lambda: said[-1][1].append(None), UNIT)

    def leave_alone(connection: sqlite3.Connection, *_: Any) -> None:
        connection.set_trace_callback(None)
        connection.set_progress_handler(None, 0)

    with listening(parts.database.engine, checkout=watch, checkin=leave_alone):
        yield said


@pytest.mark.parametrize("name", [name for name in CALLS if name not in WALKING])
def test_it_is_found_by_an_index(parts: Deployment, less_full: str, name: str) -> None:
    """No table is read whole, and no statement takes as many instructions as a walk through the ended requests."""
    row = one(parts, FileRequest.state == State.PENDING, FileRequest.dispatch_at.is_not(None))
    with watched(parts) as said:
        CALLS[name](parts, row)
    assert said, "nothing was asked"
    most = MOST_WITH_HISTORIES if name in OF_HISTORIES else MOST
    for text, units in said:
        assert len(units) * UNIT <= most, f"{text}\n{plan(less_full, text)}"
        assert not any(step in {f"SCAN {table}" for table in TABLES} for step in plan(less_full, text)), text


def plan(url: str, text: str) -> list[str]:
    """What SQLite would do."""
    if not text.lstrip().startswith(("SELECT", "WITH", "UPDATE", "DELETE", "INSERT")):
        return []
    connection = sqlite3.connect(str(make_url(url).database))
    try:
        return [step for *_, step in connection.execute(f"EXPLAIN QUERY PLAN {text}")]
    finally:
        connection.close()
