"""Apps with bgtasks installed, on real brokers; no worker runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bgtasks.stack import Stack
from tests.support import brokers
from tests.support.brokers import Broker


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    """The processes of this test."""
    made = Stack(tmp_path, tmp_path / "var")
    (tmp_path / "var").mkdir()
    yield made
    made.stop()


@pytest.fixture
def broker(request: pytest.FixtureRequest, stack: Stack) -> Broker:
    """A Valkey server; or what ``on_every_broker`` says."""
    return brokers.start(request, stack)


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    """What is tested here needs no table."""
    return f"sqlite:///{tmp_path / 'none.db'}"


@pytest.fixture
def conf(broker: Broker) -> dict[str, Any]:
    """The test's app is on the broker."""
    return {"broker_url": broker.url}
