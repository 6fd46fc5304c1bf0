"""bgtasks inside Django: its requests, its responses, its user, its transactions, its forms.

``include("bgtasks.contrib.django.urls")`` mounts the downloads, the status pages and "my files".
"""

from __future__ import annotations

from bgtasks.extras import imported_with

with imported_with("django"):
    from bgtasks.contrib.django.file_types import DjangoFileType
    from bgtasks.contrib.django.requests import DJANGO_REQUEST, werkzeug_request
    from bgtasks.contrib.django.responses import django_response, problem
    from bgtasks.contrib.django.views import respond_to, serve_file

__all__ = [
    "DJANGO_REQUEST",
    "DjangoFileType",
    "django_response",
    "problem",
    "respond_to",
    "serve_file",
    "werkzeug_request",
]
