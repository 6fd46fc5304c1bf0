"""A small WSGI application: it serves finished files to their requesters."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import urlencode

from werkzeug.exceptions import HTTPException, InternalServerError, MethodNotAllowed, NotFound
from werkzeug.routing import Map, Rule
from werkzeug.utils import redirect
from werkzeug.wrappers import Request, Response

from bgtasks import settings, templates
from bgtasks.wsgi import views

PROBLEM = "application/problem+json"

#: Instead of Werkzeug's own, which speak of URLs and spelling.
SENTENCES: dict[type[HTTPException], str] = {
    NotFound: "There is nothing at this address. Please check that the link was copied whole.",
    MethodNotAllowed: "A file can be downloaded from here, and nothing else.",
}

logger = logging.getLogger(__name__)


class Application:
    """The WSGI application of the current Celery app's deployment."""

    def __init__(self) -> None:
        # merge_slashes would answer with a redirect to what the Host header says.
        self._routes = Map([Rule("/files/<token>", endpoint=views.serve_file, methods=["GET"])], merge_slashes=False)

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        http_request = Request(environ)
        return self.respond(http_request)(environ, start_response)

    def respond(self, http_request: Request) -> Response:
        """The answer to one request; never an exception."""
        try:
            return self._answer(http_request)
        except Exception:
            # The path holds the token: what is logged is the traceback, and never the address. A server
            # that got the exception would log both.
            logger.exception("a request to the files application failed")
            return _broken(http_request)

    def _answer(self, http_request: Request) -> Response:
        try:
            view, arguments = self._routes.bind_to_environ(http_request.environ).match()
            response: Response = view(http_request, **arguments)
        except views.LoginRequired as refusal:
            response = _login(http_request) or problem(http_request, refusal)
        except HTTPException as refusal:
            response = problem(http_request, refusal)
        return response


def _login(http_request: Request) -> Response | None:
    """To the login page, and back to here: the way back is a local path, whatever the Host header says."""
    url = settings.current().login_url
    if not url or _prefers_json(http_request):
        return None
    back = "/" + (http_request.script_root + http_request.path).lstrip("/\\")
    response = redirect(f"{url}{'&' if '?' in url else '?'}{urlencode({'next': back})}", 302, Response)
    response.headers.update(templates.HEADERS)
    return response


def _prefers_json(http_request: Request) -> bool:
    best = http_request.accept_mimetypes.best_match(["text/html", PROBLEM, "application/json"], "text/html")
    return best != "text/html"


def _broken(http_request: Request) -> Response:
    """500; in plain text where even the page can't be made, as without settings."""
    try:
        return problem(http_request, InternalServerError("Something went wrong here. Please try again later."))
    except Exception:
        return Response("Internal Server Error", 500, templates.HEADERS, content_type="text/plain; charset=utf-8")


def problem(http_request: Request, refusal: HTTPException) -> Response:
    """A refusal: a page for people, problem details for programs (RFC 9457)."""
    status, title = refusal.code or 500, refusal.name
    detail = SENTENCES.get(type(refusal), refusal.description or title)
    if _prefers_json(http_request):
        body, kind = json.dumps({"title": title, "status": status, "detail": detail}), PROBLEM
    else:
        body = templates.render("problem.html", {"title": title, "status": status, "detail": detail})
        kind = "text/html; charset=utf-8"
    response = Response(body, status, templates.HEADERS, content_type=kind)
    if isinstance(refusal, views.FileIsNotReady):
        response.headers["Retry-After"] = str(views.RETRY_AFTER)
    if isinstance(refusal, views.LoginRequired):
        response.headers["WWW-Authenticate"] = "Session"  # RFC 9110, 11.6.1: a 401 names a way to log in
    for name, value in refusal.get_headers(http_request.environ):
        if name == "Allow":
            response.headers[name] = value
    return response
