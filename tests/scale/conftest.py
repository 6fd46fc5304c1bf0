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

#: What was said, and with which parameters.
Talk = list[tuple[str, Any]]


@pytest.fixture(scope="module")
def full(postgres: str) -> str:
    """The URL of a database with a full table; nothing is changed in it."""
    url = new_postgresql(postgres)
    scale_rows.fill(url, ENDED, LIVE)
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
