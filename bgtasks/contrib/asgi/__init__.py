"""bgtasks inside an ASGI application: Starlette, FastAPI, and whatever can mount one.

``app.mount("/exports", bgtasks.contrib.asgi.application)`` mounts the downloads, the status pages and "my files".
"""

from __future__ import annotations

from bgtasks.extras import imported_with

with imported_with("asgi"):
    from bgtasks.contrib.asgi.requests import SCOPE, werkzeug_request
    from bgtasks.contrib.asgi.responses import asgi_response
    from bgtasks.contrib.asgi.views import application, problem, respond_to, serve_file

__all__ = [
    "SCOPE",
    "application",
    "asgi_response",
    "problem",
    "respond_to",
    "serve_file",
    "werkzeug_request",
]
