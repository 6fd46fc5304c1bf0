"""Werkzeug's response as Django's."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from werkzeug.datastructures import Headers
from werkzeug.wrappers import Request, Response

from bgtasks.contrib.chunks import Chunks
from bgtasks.contrib.django.requests import DJANGO_REQUEST, werkzeug_request
from bgtasks.wsgi import problems


def django_response(response: Response, http_request: Request) -> HttpResponseBase:
    """The same response, streamed where ours is, under WSGI and ASGI alike.

    :param http_request: what ``werkzeug_request`` has made.
    """
    body, status, headers = response.get_wsgi_response(http_request.environ)
    code = int(status.partition(" ")[0])
    made: HttpResponseBase
    if response.is_sequence:
        made = HttpResponse(b"".join(body), status=code)
    else:
        chunks = _chunks(body, http_request.environ[DJANGO_REQUEST])
        made = StreamingHttpResponse(chunks, status=code)
    del made["Content-Type"]  # Django's default, which a 304 has not
    for name in Headers(headers).keys():  # noqa: SIM118 - a Headers yields pairs
        made[name] = ", ".join(Headers(headers).getlist(name))
    return made


def _chunks(body: Iterable[bytes], request: HttpRequest) -> Any:
    """Django reads a plain iterator whole, before it sends any of it by ASGI."""
    return Chunks(body, asyncio.to_thread) if isinstance(request, ASGIRequest) else body


def problem(request: HttpRequest, error: Exception) -> HttpResponseBase:
    """Our answer to an error: a page, the way to ``bgtasks_login_url``, or problem details for a program (RFC 9457)."""
    http_request = werkzeug_request(request)
    return django_response(problems.problem(http_request, error), http_request)
