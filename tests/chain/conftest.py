"""The reference deployment, with a real broker and a real worker, on a database of the test's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from pytest_celery import (
    CeleryBackendCluster,
    CeleryBrokerCluster,
    CeleryTestBackend,
    CeleryTestBroker,
    CeleryTestWorker,
    CeleryWorkerCluster,
)

import celeryconfig
from bgtasks import database, deployment, registry
from bgtasks.deployment import Deployment
from bgtasks.stack import Mailbox, Stack
from tasks.flights import Flights
from tests.conftest import BASE_URL, KEY
from tests.support import brokers
from tests.support.brokers import Broker
from tests.support.nodes import BrokerContainer, ProcessContainer, Setup
from tests.support.producers import settings_of

ROOT = Path(celeryconfig.__file__).parent


@pytest.fixture
def stack(database_url: str, mailbox: Mailbox, tmp_path: Path) -> Iterator[Stack]:
    """The processes of this test, and what they find in their environment."""
    env = {
        "BGTASKS_DATABASE_URL": database_url,
        "BGTASKS_STORE_URL": str(tmp_path / "files"),
        "BGTASKS_DEFAULT_KEY": KEY,
        "BGTASKS_BASE_URL": BASE_URL,
        "BGTASKS_SMTP_URL": mailbox.url,
    }
    made = Stack(ROOT, tmp_path / "var", env)
    (tmp_path / "var").mkdir()
    yield made
    made.stop()


@pytest.fixture
def worker_arguments() -> tuple[str, ...]:
    """More arguments for ``celery worker``; override this fixture to have some."""
    return ()


@pytest.fixture
def broker(request: pytest.FixtureRequest, stack: Stack) -> Broker:
    """A Valkey server; or what ``on_every_broker`` says."""
    return brokers.start(request, stack)


@pytest.fixture
def celery_broker_cluster(broker: Broker) -> CeleryBrokerCluster:
    """The broker."""
    return CeleryBrokerCluster(CeleryTestBroker(BrokerContainer(broker)))


@pytest.fixture
def celery_backend_cluster(celery_broker_cluster: CeleryBrokerCluster, stack: Stack) -> CeleryBackendCluster:
    """A Valkey server's second database."""
    url = stack.env["CELERY_RESULT_BACKEND"]
    (valkey,) = (process for process in stack.processes if process.name == "valkey")
    return CeleryBackendCluster(CeleryTestBackend(ProcessContainer(valkey, {"url": url, "host_url": url})))


@pytest.fixture
def celery_worker_cluster(
    stack: Stack, celery_broker_cluster: CeleryBrokerCluster, worker_arguments: tuple[str, ...]
) -> CeleryWorkerCluster:
    """One worker of the reference deployment."""
    worker = stack.start_worker(*worker_arguments)
    return CeleryWorkerCluster(CeleryTestWorker(ProcessContainer(worker, {}), app=None))


@pytest.fixture
def celery_setup_cls() -> type[Setup]:
    """Processes instead of containers."""
    return Setup


@pytest.fixture
def celery_setup_config(stack: Stack, celery_broker_cluster: CeleryBrokerCluster) -> dict[str, Any]:
    """The configuration of the producer in the test's own process: the deployment's, with this test's services."""
    return {name: value for name, value in vars(celeryconfig).items() if name[0] != "_"} | settings_of(stack)


@pytest.fixture
def parts(celery_setup: Setup) -> Iterator[Deployment]:
    """The running deployment, as a producer and a web process see it."""
    app: Celery = celery_setup.app
    app.set_current()
    registry.register(Flights)
    yield deployment.current()
    database.current().engine.dispose()
    app.close()
