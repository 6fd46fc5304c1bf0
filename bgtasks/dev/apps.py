"""The deployment's own Celery app, where it has one (``celery -A …``), for the processes of the stack."""

from __future__ import annotations

import sys

from celery import Celery
from celery.app.utils import find_app


def place_of(app: Celery) -> str | None:
    """Where an app can be imported from, as ``package.module:name``; None for Celery's own, of ``celeryconfig.py``."""
    for module, contents in list(sys.modules.items()):
        if module.partition(".")[0] not in ("celery", "bgtasks"):
            for name, value in list(getattr(contents, "__dict__", {}).items()):
                if value is app:
                    return f"{module}:{name}"
    return None


def take(place: str) -> None:
    """Make an app this process's own."""
    app: Celery = find_app(place)
    app.set_default()
