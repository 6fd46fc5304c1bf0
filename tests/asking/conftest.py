"""What the tests of asking share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from bgtasks import publishing
from bgtasks.database import Database
from bgtasks.deployment import Deployment
from bgtasks.models import FileRequest


@pytest.fixture
def published(parts: Deployment, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ids of the requests whose chain is published, each time; no broker is asked."""
    ids: list[str] = []

    def record(file_request: FileRequest) -> bool:
        ids.append(file_request.id)
        return True

    monkeypatch.setattr(publishing, "publish", record)
    return ids


@pytest.fixture
def engine(parts: Deployment) -> Iterator[Engine]:
    """An application's own connections to the database that the record lives in."""
    made = Database(parts.database.url, Path()).engine
    yield made
    made.dispose()
