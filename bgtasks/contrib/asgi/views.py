"""Asking and picking up, from the views of an ASGI application. Whatever blocks is done in threads."""

from __future__ import annotations

import functools
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Router
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocketClose
from werkzeug import wrappers
from werkzeug.exceptions import HTTPException as Refusal

from bgtasks import locales
from bgtasks.contrib.asgi.requests import FROM_SCOPE, environ_of, werkzeug_request
from bgtasks.contrib.asgi.responses import asgi_response
from bgtasks.contrib.errors import also
from bgtasks.contrib.instances import instance_of
from bgtasks.errors import BgtasksError
from bgtasks.file_types import FileType
from bgtasks.tokens import SignerLike
from bgtasks.wsgi import application as files
from bgtasks.wsgi import problems, views
from bgtasks.wsgi.app import SmallRequest


async def respond_to(
    file_type: FileType | type[FileType] | str,
    request: Request,
    *,
    requester: Any = FROM_SCOPE,
    requester_email: str | None = None,
    **more: Any,
) -> tuple[bool, Response]:
    """``(delayed, response)``, as ``FileType.respond_to``.

    :param file_type: a file type, its class, or its registered name.
    :param requester: who asks; None: nobody (default: ``scope["user"]``, of authentication middleware; without
        that it is for ``bgtasks_identify`` to say).
    :param requester_email: where they are told (default: the user's ``email``).
    :param more: ``session``, ``language`` and ``tz`` of ``FileType.respond_to``.
    Raises: InvalidCriteria, UnknownFormat, NotPermitted, TooManyRows, TooManyActive, for the view to show; each is an
    HTTPException of Starlette's, too. HTTP's own refusals (401, 413) are answered with our page or problem details.
    """
    http_request = await werkzeug_request(request, requester, requester_email)
    delayed, response = await run_in_threadpool(_respond, file_type, http_request, more)
    return delayed, asgi_response(response, http_request)


async def serve_file(
    request: Request,
    token: str,
    require_requester: bool = True,
    verify_requester: bool = True,
    signer: SignerLike | None = None,
    *,
    requester: Any = FROM_SCOPE,
) -> Response:
    """The file of a download link, as ``bgtasks.wsgi.views.serve_file``; a refusal is our page or problem details.

    :param requester: as in ``respond_to``.
    """
    http_request = await werkzeug_request(request, requester)
    serve = functools.partial(views.serve_file, http_request, token, require_requester, verify_requester, signer)
    return asgi_response(await run_in_threadpool(_answered, http_request, serve), http_request)


async def problem(request: Request, error: Exception) -> Response:
    """Our answer to an error, as an exception handler: ``app.add_exception_handler(BgtasksError, problem)``.

    A page, the way to ``bgtasks_login_url``, or problem details for a program (RFC 9457).
    """
    http_request = wrappers.Request(environ_of(request.scope))
    return asgi_response(await run_in_threadpool(_problem, http_request, error), http_request)


def _respond(
    file_type: FileType | type[FileType] | str, http_request: wrappers.Request, more: dict[str, Any]
) -> tuple[bool, wrappers.Response]:
    try:
        return instance_of(file_type).respond_to(http_request, **more)
    except Refusal as refusal:
        return False, _problem(http_request, refusal)
    except BgtasksError as error:
        raise _as_starlettes(http_request, error) from None


def _answered(http_request: wrappers.Request, serve: Any) -> wrappers.Response:
    try:
        response: wrappers.Response = serve()
    except Refusal as refusal:
        return _problem(http_request, refusal)
    return response


def _problem(http_request: wrappers.Request, error: Exception) -> wrappers.Response:
    with locales.in_force(locales.negotiate(http_request), http_request.cookies.get("tz")):
        return problems.problem(http_request, error)


def _as_starlettes(http_request: wrappers.Request, error: Exception) -> Exception:
    """The same error with what Starlette answers, unless the view does; but a fault of ours stays what it is."""
    status = problems.status_of(error)
    if status >= 500:
        return error
    headers = _problem(http_request, error).headers
    told = {name: headers[name] for name in ("Retry-After",) if name in headers}
    return also(error, HTTPException, status_code=int(status), detail=str(error), headers=told)


async def _files(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await WebSocketClose()(scope, receive, send)
        return
    try:
        http_request = await werkzeug_request(Request(scope, receive), kind=SmallRequest)
    except ClientDisconnect:  # while sending its form: nobody waits for an answer
        return
    response = await run_in_threadpool(files.respond, http_request)
    await asgi_response(response, http_request)(scope, receive, send)


#: The files application for an ASGI server: to mount, or ``uvicorn --no-access-log bgtasks.contrib.asgi:application``.
#: uvicorn's access log has the paths, and ours hold tokens.
application = Router(default=_files, redirect_slashes=False)
