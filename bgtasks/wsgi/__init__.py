"""Downloads over HTTP. ``application`` is a WSGI application: ``gunicorn bgtasks.wsgi:application``."""

from __future__ import annotations

from bgtasks.wsgi.app import Application

__all__ = ["Application", "application"]

#: Serves the deployment of the current Celery app.
application = Application()
