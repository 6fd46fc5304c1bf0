"""A table like one of a deployment in use, and what the database is told, with its parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import psycopg
import pytest
from celery import Celery

from bgtasks import database, deployment, registry
from bgtasks.deployment import Deployment
from tests.bench import scale_rows
from tests.conftest import KEY, new_postgresql
from tests.support.file_types import Numbers
from tests.support.listening import listening

ENDED, LIVE = 45_000, 2_000

#: Requests whose parts are out, parts of each, and those that have a few parts left over from before they ended.
DIVIDED, PARTS, LEFT_OVER = 40, 100, 3
#: Of each such request 60 parts are done, ten are being written, five wait, and the others are kept back until their
#: turn comes. Of half of the requests one part was lost by its worker, and one waits for too long.
_DIVIDED = f"""
WITH divided AS (
    UPDATE bgtasks_file_requests SET state = 'running', step = 'build_items', fence = 3, dispatch_at = NULL,
        parts_total = {PARTS}, parts_done = 60
    WHERE id IN (
        SELECT id FROM (
            SELECT id, row_number() OVER (ORDER BY requested_at) AS place FROM bgtasks_file_requests
            WHERE state = 'pending' AND dispatch_at > now() + interval '1 hour'
        ) waiting WHERE place % {DIVIDED} = 0 ORDER BY place LIMIT {DIVIDED}
    ) RETURNING id
), numbered AS (SELECT id, row_number() OVER (ORDER BY id) <= {DIVIDED} / 2 AS is_late FROM divided)
INSERT INTO bgtasks_parts (request_id, number, range, fence, leased_by, leased_until, dispatch_at, published_at, rows,
    object_key, size, dispatches, attempts)
SELECT id, number, '{{}}', 1, CASE WHEN number BETWEEN 60 AND 69 THEN 'worker' END,
    CASE WHEN number = 60 AND is_late THEN now() - interval '1 min'
        WHEN number BETWEEN 60 AND 69 THEN now() + interval '9 hours' END,
    CASE WHEN number = 70 AND is_late THEN now() - interval '1 min'
        WHEN number BETWEEN 70 AND 74 THEN now() + interval '9 hours' END,
    CASE WHEN number BETWEEN 70 AND 74 THEN now() END,
    3, CASE WHEN number < 60 THEN id || '/3.' || number || '.1' END, CASE WHEN number < 60 THEN 1000 END, 0, 0
FROM numbered CROSS JOIN generate_series(0, {PARTS} - 1) number
"""
_LEFT_OVER = f"""
INSERT INTO bgtasks_parts (request_id, number, range, fence, rows, dispatches, attempts)
SELECT id, number, '{{}}', 1, 3, 0, 0 FROM generate_series(0, 9) number CROSS JOIN (
    SELECT id FROM bgtasks_file_requests WHERE state = 'failed' ORDER BY requested_at DESC LIMIT {LEFT_OVER}
) ended
"""

#: What was said, and with which parameters.
Talk = list[tuple[str, Any]]


@pytest.fixture(scope="module")
def full(postgres: str) -> str:
    """The URL of a database with a full table, in which each test changes a few rows at most."""
    url = new_postgresql(postgres)
    scale_rows.fill(url, ENDED, LIVE)
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in (_DIVIDED, _LEFT_OVER, "ANALYZE bgtasks_file_requests", "VACUUM (ANALYZE) bgtasks_parts"):
            connection.execute(statement)
    return url


@pytest.fixture
def parts(full: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """The deployment of that database."""
    app = Celery("scale", set_as_current=True)
    app.conf.update(
        broker_url="memory://", bgtasks_default_key=KEY, bgtasks_database_url=full,
        bgtasks_store_url=str(tmp_path_factory.mktemp("files")),
    )  # fmt: skip
    registry.register(Numbers)
    yield deployment.current()
    database.current().engine.dispose()


@contextmanager
def _overheard(parts: Deployment) -> Iterator[Talk]:
    said: Talk = []

    class Telling(psycopg.Cursor[Any]):
        def execute(self, query: Any, params: Any = None, **options: Any) -> Any:
            said.append((str(query), params))
            return super().execute(query, params, **options)

    def overhear(connection: Any, *_: Any) -> None:
        connection.cursor_factory = Telling

    def leave_alone(connection: Any, *_: Any) -> None:
        connection.cursor_factory = psycopg.Cursor

    with listening(parts.database.engine, checkout=overhear, checkin=leave_alone):
        yield said


@pytest.fixture
def overheard(parts: Deployment) -> Callable[[], AbstractContextManager[Talk]]:
    """All that the database is told in a block, as the driver hears it."""
    return lambda: _overheard(parts)
