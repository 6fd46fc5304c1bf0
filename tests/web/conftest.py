"""A browser for the files application."""

from __future__ import annotations

from typing import Any

import pytest
from werkzeug.test import Client

from bgtasks.deployment import Deployment
from bgtasks.wsgi import application


@pytest.fixture
def conf(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The settings that a test is parametrised with."""
    return dict(getattr(request, "param", {}))


@pytest.fixture
def client(parts: Deployment) -> Client:
    """Speaks WSGI to the application of the test's deployment."""
    return Client(application)
