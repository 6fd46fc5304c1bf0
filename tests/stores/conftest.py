"""What several tests of the stores share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import new_sqlite


@pytest.fixture
def sqlite(tmp_path: Path) -> str:
    """The URL of a database: one kind is enough where only the store matters."""
    return new_sqlite(tmp_path)
