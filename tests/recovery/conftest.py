"""A deployment for each module of these tests: its services and workers are shared by the module's tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from celery import Celery

from bgtasks import database, deployment, registry
from bgtasks.stack import Stack
from tasks.flights import Flights
from tests.conftest import BASE_URL, KEY, new_postgresql, new_sqlite
from tests.recovery import celeryconfig, file_types, gates
from tests.recovery.scene import PostOffice, Scene
from tests.support import brokers, faults, flights, producers
from tests.support.brokers import Broker

ROOT = Path(celeryconfig.reference.__file__).parent
CONFIGURATION = celeryconfig.__name__


class Services(NamedTuple):
    """What a module's tests run on."""

    broker: str = "valkey"
    database: str = "sqlite"

    def __str__(self) -> str:
        return f"{self.broker}-{self.database}"


def on(*services: Services) -> pytest.MarkDecorator:
    """For a module (``pytestmark``) whose tests run on each of these."""
    return pytest.mark.parametrize("services", services, indirect=True, ids=str)


ON_EACH_BROKER = on(Services(), Services(broker="rabbitmq"))
ON_EACH_DATABASE = on(Services(), Services(database="postgresql"))
ON_EACH_OF_BOTH = on(Services(), Services(broker="rabbitmq"), Services(database="postgresql"))


@pytest.fixture(scope="module")
def services(request: pytest.FixtureRequest) -> Services:
    """What this module's mark says; all that follows is made anew for each of them."""
    return getattr(request, "param", Services())


@pytest.fixture(autouse=True, scope="module")
def _file_types() -> Iterator[None]:
    """The file types that the workers know."""
    known = dict(registry._classes)
    registry._classes.clear()
    for one in (Flights, *file_types.TYPES):
        registry.register(one)
    yield
    registry._classes.clear()
    registry._classes.update(known)


@pytest.fixture(scope="module")
def times() -> dict[str, str]:
    """Times that are short, but not so short that a busy machine passes them; a module may have others."""
    return {"BGTASKS_LEASE": "5", "BGTASKS_PATIENCE": "30"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, services: Services) -> Path:
    """Where this module's deployment keeps its files, and the tests their faults and gates."""
    made = tmp_path_factory.mktemp(str(services))
    for name in ("files", "faults", "gates", "var"):
        (made / name).mkdir()
    return made


@pytest.fixture(scope="module")
def database_url(request: pytest.FixtureRequest, services: Services, folder: Path) -> str:
    """A database of this module's own."""
    if services.database == "sqlite":
        return new_sqlite(folder)
    return new_postgresql(request.getfixturevalue("postgres"))


@pytest.fixture(scope="module")
def post() -> Iterator[PostOffice]:
    """The mail server."""
    office = PostOffice()
    yield office
    office.stop()


@pytest.fixture(scope="module")
def stack(database_url: str, folder: Path, post: PostOffice, times: dict[str, str]) -> Iterator[Stack]:
    """The processes, and what they find in their environment."""
    env = {
        "CELERY_CONFIG_MODULE": CONFIGURATION,
        "REMAP_SIGTERM": "SIGQUIT",
        "BGTASKS_DATABASE_URL": database_url,
        "BGTASKS_STORE_URL": str(folder / "files"),
        "BGTASKS_DEFAULT_KEY": KEY,
        "BGTASKS_BASE_URL": BASE_URL,
        "BGTASKS_SMTP_URL": post.url,
        faults.FOLDER: str(folder / "faults"),
        gates.FOLDER: str(folder / "gates"),
        **times,
    }
    made = Stack(ROOT, folder / "var", env)
    yield made
    for process in made.processes:
        process.kill()  # nobody is there to wait for a worker's last second


@pytest.fixture(scope="module")
def broker(request: pytest.FixtureRequest, services: Services, stack: Stack) -> Broker:
    """The broker, running."""
    if services.broker == "valkey":
        return brokers.valkey(stack)
    return brokers.rabbitmq(stack, request.getfixturevalue("rabbitmq"))


@pytest.fixture(scope="module")
def app(stack: Stack, broker: Broker, _file_types: None) -> Iterator[Celery]:
    """The producer in the test's own process, which also runs the sweeps."""
    made = producers.producer("recovery", CONFIGURATION, stack)
    made.set_current()
    yield made
    database.current().engine.dispose()
    made.close()


@pytest.fixture(scope="module")
def scene(stack: Stack, broker: Broker, app: Celery, folder: Path, post: PostOffice) -> Scene:
    """The whole of it, with flights in the table and no worker yet."""
    parts = deployment.current()
    flights.fill(parts.database)
    return Scene(stack, broker, app, parts, post, folder)
