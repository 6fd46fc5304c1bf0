"""The application's web server: it serves files behind a login that takes any name."""

from __future__ import annotations

import shop.celery  # noqa: F401 - the app that bgtasks is installed in
from bgtasks.dev.site import application

__all__ = ["application"]
