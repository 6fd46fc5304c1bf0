"""Real servers for the tests, from wheels; each is started on a free port and ended by the test that started it."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest


def missing(what: str) -> NoReturn:
    """A service can't be had: skipped on a developer's machine, and a failure in continuous integration."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{what} is missing, and nothing is skipped in CI")
    pytest.skip(f"{what} is missing")
