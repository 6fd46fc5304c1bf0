"""A web process whose broker is away knows within about a second; the reference deployment's settings see to that."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from kombu.exceptions import OperationalError

import celeryconfig
from bgtasks import request_file, toolbox
from bgtasks.stack import Stack, free_port
from tests.conftest import new_sqlite
from tests.support.brokers import Broker, on_every_broker, silent_port

#: What it may take, on a machine that may be busy. Seconds.
SOON = 2.0
SETTINGS = (
    "broker_transport_options",
    "task_publish_retry_policy",
    "broker_pool_acquire_timeout",
    "redis_socket_connect_timeout",
    "redis_socket_timeout",
)


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    """Requests are stored here."""
    return new_sqlite(tmp_path)


@pytest.fixture
def conf(broker: Broker, stack: Stack) -> dict[str, Any]:
    """A web process of the reference deployment; on Valkey, where the broker goes, the results go too."""
    settings = {name: getattr(celeryconfig, name) for name in SETTINGS}
    return {"broker_url": broker.url, "result_backend": stack.env["CELERY_RESULT_BACKEND"], **settings}


@contextmanager
def _soon() -> Iterator[None]:
    before = time.monotonic()
    yield
    assert time.monotonic() - before < SOON


def killed(app: Celery, broker: Broker) -> Any:
    """It was there, and is not any more."""
    request_file.delay("numbers")
    broker.kill()
    return nullcontext()


def move(app: Celery, broker: Broker, port: int) -> None:
    """Take something else for the broker."""
    app.conf.broker_url = broker.at(port)
    if broker.name == "valkey":
        app.conf.result_backend = broker.at(port)


def never_there(app: Celery, broker: Broker) -> Any:
    """Nobody listens."""
    move(app, broker, free_port())
    return nullcontext()


@contextmanager
def silent(app: Celery, broker: Broker) -> Iterator[None]:
    """Somebody listens, and never answers."""
    with silent_port() as port:
        move(app, broker, port)
        yield


def falls_silent(app: Celery, broker: Broker) -> Any:
    """This process is connected already."""
    request_file.delay("numbers")
    return broker.asleep()


@on_every_broker
@pytest.mark.parametrize("away", [killed, never_there, silent, falls_silent])
def test_who_asks_knows_soon(app: Celery, broker: Broker, away: Callable[[Celery, Broker], Any]) -> None:
    """``request_file.delay`` says that nothing was sent; ``add_request`` leaves the sending to the sweep."""
    with away(app, broker):
        for _ in range(2):
            with _soon(), pytest.raises(OperationalError):
                request_file.delay("numbers")
            with _soon():
                row = toolbox.add_request({}, "numbers", schedule=True)
            assert row.dispatch_at is not None


@on_every_broker
def test_a_process_that_was_connected_goes_on_after_a_restart(app: Celery, broker: Broker) -> None:
    """Its connections are stale, and it need not know."""
    request_file.delay("numbers")
    broker.kill()
    broker.start_empty()
    request_file.delay("numbers")
    toolbox.add_request({}, "numbers", schedule=True)


@on_every_broker
def test_no_result_store_is_needed_to_ask(app: Celery, broker: Broker) -> None:
    """It is first asked by who waits for the result."""
    app.conf.result_backend = "redis://127.0.0.1:1/0"
    with _soon():
        asked = request_file.delay("numbers")
    assert not asked.ignored


def test_a_result_store_that_is_silent_keeps_nobody(app: Celery) -> None:
    """Who ends a request by hand, in a web process for example, would store its result; the row has the truth."""
    asked = toolbox.add_request({}, "numbers")
    with silent_port() as port:
        app.conf.result_backend = f"redis://127.0.0.1:{port}/0"
        with _soon():
            toolbox.cancel(asked)
