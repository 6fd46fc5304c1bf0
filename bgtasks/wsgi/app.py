"""A small WSGI application: finished files, how requests stand, and what their requesters do about them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any

from werkzeug.routing import Map, Rule
from werkzeug.wrappers import Request, Response

from bgtasks import locales, pages
from bgtasks.wsgi import metrics_view, status_views, views
from bgtasks.wsgi.problems import problem

#: A form of ours has a token and little else. Bytes; more is refused unread (413).
MOST_BODY = 16_384

ROUTES = (
    Rule("/files/<token>", endpoint=views.serve_file, methods=["GET"]),
    Rule("/requests", endpoint=status_views.my_files, methods=["GET"]),
    Rule("/requests/<token>", endpoint=status_views.status, methods=["GET"]),
    Rule("/requests/<token>/cancel", endpoint=status_views.cancel, methods=["POST"]),
    Rule("/requests/<token>/delete", endpoint=status_views.delete, methods=["POST"]),
    Rule("/metrics", endpoint=metrics_view.show, methods=["GET"]),
)

logger = logging.getLogger(__name__)


class SmallRequest(Request):
    """A request of which no more is read than our forms have."""

    max_content_length = MOST_BODY
    max_form_memory_size = MOST_BODY
    max_form_parts = 20


class Application:
    """The WSGI application of the current Celery app's deployment."""

    def __init__(self) -> None:
        # merge_slashes would answer with a redirect to what the Host header says.
        self._routes = Map([rule.empty() for rule in ROUTES], merge_slashes=False)

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        return self.respond(SmallRequest(environ))(environ, start_response)

    def respond(self, http_request: Request) -> Response:
        """The answer to one request; never an exception."""
        try:
            with locales.in_force(locales.negotiate(http_request), http_request.cookies.get("tz")):
                return self._answer(http_request)
        except Exception:
            # As when there are no settings: even the page can't be made.
            logger.exception("the files application can't answer")
            return Response("Internal Server Error", 500, pages.HEADERS, content_type="text/plain; charset=utf-8")

    def _answer(self, http_request: Request) -> Response:
        try:
            view, arguments = self._match(http_request)
            response: Response = view(http_request, **arguments)
        except Exception as error:
            response = problem(http_request, error)
            if response.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
                # The path holds the token: what is logged is the traceback, and never the address. A server
                # that got the exception would log both.
                logger.exception("a request to the files application failed")
        return response

    def _match(self, http_request: Request) -> tuple[Callable[..., Response], dict[str, Any]]:
        """The view of a path. The Host header plays no part in it. Raises: NotFound, MethodNotAllowed."""
        adapter = self._routes.bind("", http_request.root_path or "/", default_method=http_request.method)
        view, arguments = adapter.match(http_request.path)
        return view, dict(arguments)
