"""Real workers, each with its own queues: ``celery worker -Q …``."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from celery.result import AsyncResult
from sqlalchemy import select

from bgtasks import deployment, queues, request_file
from bgtasks.canvas import STEPS
from bgtasks.deployment import Deployment
from bgtasks.floods import AT_ONCE, PER_SECOND
from bgtasks.models import Event, FileRequest
from bgtasks.stack import Stack, wait_for
from bgtasks.states import EventKind
from tests.conftest import BASE_URL, KEY, new_sqlite
from tests.scaling import celeryconfig
from tests.scaling.file_types import BIG, LARGE
from tests.support import producers

ROOT = Path(celeryconfig.reference.__file__).parent
FLOOD = 40  # requests
WAIT = 60.0  # seconds

#: Which queues each worker consumes, and with how many processes. The one of our queue is started by a test.
WORKERS = {"many": ("files.many", 2), "few": ("files.few", 1), "big": (BIG, 1)}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Workers for the queues of the types, and none yet for ``bgtasks``."""
    folder = tmp_path_factory.mktemp("scaling")
    env = {
        "CELERY_CONFIG_MODULE": celeryconfig.__name__,
        "BGTASKS_DATABASE_URL": new_sqlite(folder),
        "BGTASKS_STORE_URL": str(folder / "files"),
        "BGTASKS_DEFAULT_KEY": KEY,
        "BGTASKS_BASE_URL": BASE_URL,
    }
    made = Stack(ROOT, folder / "var", env)
    (folder / "var").mkdir()
    made.start_broker()
    start(made, WORKERS)
    yield made
    for process in made.processes:
        process.kill()  # nobody needs what they would finish


def start(stack: Stack, workers: dict[str, tuple[str, int]]) -> None:
    """Start these workers, all at once, and wait until they are ready."""
    started = {}
    for name, (queue, processes) in workers.items():
        options = ["-n", f"{name}@%h", "-l", "INFO", "-Q", queue, "-c", str(processes)]
        started[name] = stack.celery(name, "worker", *options, "--without-mingle", "--without-gossip")
    for name, worker in started.items():
        ready = f"{name}@{socket.gethostname()} ready."
        worker.wait_until(lambda worker=worker, ready=ready: ready in worker.output())


@pytest.fixture(scope="module")
def parts(stack: Stack) -> Iterator[Deployment]:
    """The deployment, as a producer sees it."""
    app = producers.producer("producer", celeryconfig.__name__, stack)
    app.set_current()
    yield deployment.current()
    deployment.current().database.engine.dispose()
    app.close()


def stored_before(parts: Deployment, row: FileRequest) -> int:
    """How many requests have come into the record before this one."""
    with parts.database.reading() as session:
        stored = select(Event.id).where(Event.kind == EventKind.REQUESTED)
        its_own = stored.where(Event.request_id == row.id).scalar_subquery()
        return len(session.scalars(stored.where(Event.id < its_own)).all())


def ready(parts: Deployment, asked: AsyncResult[Any]) -> FileRequest:
    """The row of a request, once its file is ready."""
    assert asked.get(timeout=WAIT)["state"] == "ready"
    row = parts.requests.get(str(asked.id))
    assert row is not None
    return row


def written_in(parts: Deployment, row: FileRequest) -> str:
    """The queue in which a file was written, as it says itself."""
    return b"".join(parts.store.read(str(row.object_key))).decode().split("\r\n")[1]


def test_a_flood_of_one_type_does_not_keep_another_waiting(parts: Deployment, stack: Stack) -> None:
    """The other one is stored, and on its way, before most of the flood is; and then all of that is made."""
    began = time.monotonic()
    flood = [request_file.delay("many", {}, requester="ada") for _ in range(FLOOD)]
    allowed = AT_ONCE + PER_SECOND * (time.monotonic() - began)
    other = request_file.delay("few", {}, requester="grace")
    start(stack, {"bgtasks": ("bgtasks", 1)})
    row = ready(parts, other)
    assert written_in(parts, row) == "files.few"
    assert AT_ONCE <= stored_before(parts, row) <= allowed
    for one in flood:
        ready(parts, one)
    assert queues.length(parts.app, "bgtasks") == 0


def test_a_file_is_made_where_its_rows_say(parts: Deployment) -> None:
    """Counted in the type's own queue, and written in that for large files, by its worker."""
    small, large = (request_file.delay("many", {"count": count}, requester="ada") for count in (LARGE, LARGE + 1))
    assert written_in(parts, ready(parts, small)) == "files.many"
    row = ready(parts, large)
    assert (written_in(parts, row), row.queue, row.rows_total, row.attempts) == (BIG, BIG, LARGE + 1, 0)
    wait_for(lambda: steps_done(parts, row)[-1] == STEPS[-1], "the last step", WAIT)
    assert steps_done(parts, row) == list(STEPS)


def steps_done(parts: Deployment, row: FileRequest) -> list[str]:
    """The steps that have ended, as the history has them."""
    return [entry.step for entry in parts.requests.history(row.id) if entry.kind == EventKind.STEP]


def test_what_runs_out_of_memory_is_made_in_the_heavy_queue(parts: Deployment) -> None:
    """Its child is killed with SIGKILL, or it raises MemoryError: at once, by no sweep; one attempt is counted."""
    asked = [request_file.delay("hungry", {"end": end}, requester="ada") for end in ("killed", "raised")]
    for row in [ready(parts, one) for one in asked]:
        assert (written_in(parts, row), row.queue, row.attempts) == (BIG, BIG, 1)
        recovered = [entry.detail for entry in parts.requests.history(row.id) if entry.kind == EventKind.RECOVERED]
        assert [str(detail).partition(": ")[2] for detail in recovered] == [f"out of memory, goes on in {BIG}"]
