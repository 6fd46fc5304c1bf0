"""What several tests of the stores share."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from bgtasks.stores import Store, pieces
from tests.conftest import new_sqlite
from tests.stores.scenes import FEW
from tests.support.azurite import Azurite


@pytest.fixture
def sqlite(tmp_path: Path) -> str:
    """The URL of a database: one kind is enough where only the store matters."""
    return new_sqlite(tmp_path)


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """S3 makes an object of small pieces too: where it does not matter how large they are."""
    monkeypatch.setattr(pieces, "LEAST", FEW)
    monkeypatch.setattr("moto.s3.models.S3_UPLOAD_PART_MIN_SIZE", FEW)


@pytest.fixture(scope="package")
def azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azurite]:
    """Azure's blob service, as its emulator has it."""
    service = Azurite(tmp_path_factory.mktemp("azurite"))
    yield service
    service.stop()


@pytest.fixture(params=["folder", "bucket", "container"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """A store of each kind."""
    if request.param == "folder":
        return Store("files", tmp_path)
    if request.param == "bucket":
        return Store(request.getfixturevalue("bucket").url, tmp_path)
    azurite: Azurite = request.getfixturevalue("azurite")
    return Store(azurite.container(f"test-{uuid.uuid4().hex}"), tmp_path, azurite.options)


@pytest.fixture
def key() -> str:
    """Where an object may be put."""
    return f"{uuid.uuid4()}/3"
