"""The development site, in this process."""

from __future__ import annotations

from pathlib import Path

import pytest
from celery import Celery
from werkzeug.test import Client

from bgtasks import settings
from bgtasks.dev.site import application
from bgtasks.settings import Settings
from tests.conftest import new_sqlite


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    """The site is the same on every database."""
    return new_sqlite(tmp_path)


@pytest.fixture
def root(app: Celery, tmp_path: Path) -> Path:
    """The folder of the deployment, where its mails are."""
    values = settings.current(app).model_dump()
    settings._read[app] = Settings(**values | {"root": tmp_path})
    return tmp_path


@pytest.fixture
def client(root: Path) -> Client:
    """A browser that keeps its cookies."""
    return Client(application)
