"""Asking and picking up, from Django's views."""

from __future__ import annotations

import copy
import functools
import threading
from collections.abc import Callable
from typing import Any

from django.core import exceptions
from django.db import connections
from django.http import Http404, HttpRequest, UnreadablePostError
from django.http.multipartparser import MultiPartParserError
from django.http.response import HttpResponseBase
from django.views.decorators.csrf import csrf_exempt
from werkzeug.exceptions import BadRequest, HTTPException
from werkzeug.wrappers import Request, Response

from bgtasks import locales
from bgtasks.contrib.django import transactions
from bgtasks.contrib.django.requests import locale, werkzeug_request
from bgtasks.contrib.django.responses import django_response
from bgtasks.contrib.errors import also
from bgtasks.contrib.instances import instance_of
from bgtasks.errors import BgtasksError
from bgtasks.file_types import FileType
from bgtasks.models import FileRequest
from bgtasks.tokens import SignerLike
from bgtasks.wsgi import application, views
from bgtasks.wsgi.app import SmallRequest
from bgtasks.wsgi.problems import problem, status_of
from bgtasks.wsgi.refusals import SuspiciousToken

#: What Django says of a body that it can't, or won't, read.
UNREADABLE = (exceptions.SuspiciousOperation, exceptions.BadRequest, MultiPartParserError, UnreadablePostError)
#: What Django answers by itself, with the site's own pages.
_DJANGOS: dict[int, type[Exception]] = {
    400: exceptions.BadRequest,
    403: exceptions.PermissionDenied,
    404: Http404,
}


def respond_to(
    file_type: FileType | type[FileType] | str, request: HttpRequest, *, using: str | None = None, **more: Any
) -> tuple[bool, HttpResponseBase]:
    """``(delayed, response)``, as ``FileType.respond_to``; within ``atomic``, it is published after the commit.

    A file that is made at once is written by a thread of its own: it sees what was committed, and nothing that this
    request has not committed yet.

    :param file_type: a file type, its class, or its registered name.
    :param using: Django's name of the database whose commit to wait for (default: ``default``).
    :param more: ``session``, ``language`` and ``tz`` of ``FileType.respond_to`` (default: those that Django uses now).
    Raises: InvalidCriteria, UnknownFormat, TooManyRows, for the view to show (else Django answers 400); NotPermitted,
    which is a PermissionDenied. TooManyActive is answered (429).
    """
    http_request = werkzeug_request(request)
    asked = copy.copy(instance_of(file_type))
    vars(asked).update(_hooks(asked, using, within_session="session" in more))
    language, zone = locale()
    try:
        delayed, response = asked.respond_to(http_request, **{"language": language, "tz": zone, **more})
    except (BgtasksError, HTTPException) as error:
        delayed, response = False, _answer(http_request, error)
    return delayed, django_response(response, http_request)


def serve_file(
    request: HttpRequest,
    token: str,
    require_requester: bool = True,
    verify_requester: bool = True,
    signer: SignerLike | None = None,
) -> HttpResponseBase:
    """The file of a download link, as ``bgtasks.wsgi.views.serve_file``.

    What Django has an exception for is raised, and is both: a SuspiciousToken that is a SuspiciousOperation, a
    UserIsNotRequester (or DownloadNotPermitted) that is a PermissionDenied, a FileIsGone that is an Http404. The
    rest is answered with our page or problem details: 401, or the way to ``bgtasks_login_url``; 409, 410, 416.
    """
    http_request = werkzeug_request(request)
    try:
        response = views.serve_file(http_request, token, require_requester, verify_requester, signer)
    except (BgtasksError, HTTPException) as error:
        response = _answer(http_request, error)
    return django_response(response, http_request)


def _mounted(request: HttpRequest, path: str) -> HttpResponseBase:
    """The files application, below whatever comes before ``path``."""
    mount = request.path_info.removesuffix(path).rstrip("/")
    try:
        http_request = werkzeug_request(request, mount, SmallRequest)
        answer = application.respond(http_request)
    except UNREADABLE:
        http_request = werkzeug_request(request, mount, SmallRequest, with_body=False)
        with locales.in_force(*locale()):
            answer = problem(http_request, BadRequest())
    response = django_response(answer, http_request)
    vars(response)["_has_been_logged"] = True  # Django logs the path of what is refused, and ours holds the token
    return response


#: Our forms have tokens of their own.
mounted = csrf_exempt(_mounted)


def _hooks(asked: FileType, using: str | None, *, within_session: bool) -> dict[str, Any]:
    """What is done otherwise here, for this request alone."""
    hooks: dict[str, Any] = {"write_bytes": _with_connections_closed(asked.write_bytes)}
    if not within_session:
        hooks["schedule"] = functools.partial(_schedule, asked.schedule, using)
    return hooks


def _schedule(schedule: Callable[..., Any], using: str | None, file_request: FileRequest, *rest: Any) -> Any:
    return transactions.once_committed(file_request, lambda: schedule(file_request, *rest), using)


def _with_connections_closed(write: Callable[..., None]) -> Callable[..., None]:
    """The same, which closes the connections of the thread that it runs in, unless that is this one."""
    asker = threading.get_ident()

    def write_and_close(*args: Any) -> None:
        try:
            write(*args)
        finally:
            if threading.get_ident() != asker:
                connections.close_all()

    return write_and_close


def _answer(http_request: Request, error: Exception) -> Response:
    """Our answer. Raises: the error, where Django answers it by itself: one of Django's too, if there is one for it."""
    status = status_of(error)
    known = exceptions.SuspiciousOperation if isinstance(error, SuspiciousToken) else _DJANGOS.get(status)
    if known is not None:
        raise also(error, known) from None
    if status >= 500:
        raise error
    with locales.in_force(*locale()):
        return problem(http_request, error)
