"""The development site: ask for files, follow them, and read the mails. ``gunicorn bgtasks.dev.site:application``.

It shows how a host application uses the library, behind a login that takes any name. Not for a public address.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any

from werkzeug.exceptions import HTTPException
from werkzeug.routing import Map, Rule
from werkzeug.wrappers import Request, Response

from bgtasks import identity, locales
from bgtasks.dev import apps, asking, letters, navigation, people
from bgtasks.errors import BgtasksError
from bgtasks.forms import ZONE
from bgtasks.wsgi import application as files_application
from bgtasks.wsgi.app import SmallRequest
from bgtasks.wsgi.problems import problem

#: What the library's own application answers.
FILES = ("/files/", "/requests")
ROUTES = Map(
    [
        Rule("/", endpoint=asking.home, methods=["GET"]),
        Rule("/ask/<name>", endpoint=asking.ask, methods=["GET", "POST"]),
        Rule("/mails", endpoint=letters.listed, methods=["GET"]),
        Rule("/mails/<int:number>", endpoint=letters.read, methods=["GET"]),
        Rule("/mails/<int:number>/html", endpoint=letters.html, methods=["GET"]),
        Rule("/login", endpoint=people.login, methods=["GET", "POST"]),
        Rule("/logout", endpoint=people.logout, methods=["POST"]),
    ],
    merge_slashes=False,
)

logger = logging.getLogger(__name__)


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """The site, with the files application in it."""
    http_request = SmallRequest({**environ, identity.REQUESTER: people.visitor(Request(environ))})
    with locales.in_force(locales.negotiate(http_request), http_request.cookies.get(ZONE)):
        is_ours = not http_request.path.startswith(FILES)
        answer = respond(http_request) if is_ours else files_application.respond(http_request)
        return navigation.added(http_request, answer)(http_request.environ, start_response)


def of(place: str) -> Callable[..., Iterable[bytes]]:
    """The site of a Celery app that is imported from a place such as ``package.module:name``."""
    apps.take(place)
    return application


def respond(http_request: Request) -> Response:
    """The answer of one of the site's own pages; never an exception."""
    try:
        people.require_own_form(http_request)
        # The Host header plays no part in it.
        view, arguments = ROUTES.bind("", default_method=http_request.method).match(http_request.path)
        answer: Response = view(http_request, **arguments)
    except (BgtasksError, HTTPException) as error:
        answer = problem(http_request, error)
    except Exception as error:
        logger.exception("a request to the development site failed")
        answer = problem(http_request, error)
    return answer
