"""A worker that is told to stop while its broker is away ends soon."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from bgtasks import publishing, stopping, toolbox
from bgtasks.install import PATIENTLY
from tests.conftest import new_sqlite
from tests.support.brokers import Broker

#: Far less than a worker's patience.
SOON = 5.0


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    """Requests are stored here."""
    return new_sqlite(tmp_path)


@pytest.fixture
def conf(broker: Broker) -> dict[str, Any]:
    """A worker."""
    return {"broker_url": broker.url, "task_publish_retry_policy": PATIENTLY}


def test_who_is_told_to_stop_publishes_hastily(app: Celery, broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it hands over is dispatched by a sweep; a platform kills what takes long to end."""
    row = toolbox.add_request({}, "numbers", schedule=True)
    broker.kill()
    monkeypatch.setattr(stopping._watch, "asked_at", time.monotonic())
    began = time.monotonic()
    assert publishing.publish(row) is False
    assert time.monotonic() - began < SOON
