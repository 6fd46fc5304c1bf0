"""Whatever is wrong with a request, as a page for people or as problem details for programs (RFC 9457)."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any
from urllib.parse import quote, urlencode

from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound, RequestEntityTooLarge
from werkzeug.utils import redirect
from werkzeug.wrappers import Request, Response

from bgtasks import database, locales, pages, settings
from bgtasks.errors import (
    BgtasksError,
    InvalidCriteria,
    NotPermitted,
    RequestNotFound,
    Sentence,
    TooManyActive,
    TooManyRows,
    TransientError,
    UnknownFileType,
    UnknownFormat,
)
from bgtasks.locales import told

#: What is said for an HTTP error of Werkzeug's, whose own sentences speak of URLs and spelling.
SENTENCES: dict[type[HTTPException], Sentence] = {
    NotFound: Sentence("There is nothing at this address. Please check that the link was copied whole."),
    MethodNotAllowed: Sentence("This address can't be used like that."),
    RequestEntityTooLarge: Sentence("That is more than this address takes."),
}
UNREADABLE = Sentence("This request can't be understood.")
BROKEN = Sentence("Something went wrong here. Please try again later.")

#: What an error is over HTTP that is no HTTP error itself; the first that fits.
STATUSES: tuple[tuple[type[BgtasksError], HTTPStatus], ...] = (
    (InvalidCriteria, HTTPStatus.BAD_REQUEST),
    (UnknownFormat, HTTPStatus.BAD_REQUEST),
    (TooManyRows, HTTPStatus.BAD_REQUEST),
    (NotPermitted, HTTPStatus.FORBIDDEN),
    (UnknownFileType, HTTPStatus.NOT_FOUND),
    (RequestNotFound, HTTPStatus.NOT_FOUND),
    (TooManyActive, HTTPStatus.TOO_MANY_REQUESTS),
    (TransientError, HTTPStatus.SERVICE_UNAVAILABLE),
)
#: Seconds after which a service that is away, or an unfinished file, is worth another try.
RETRY_AFTER = 10


def problem(http_request: Request, error: Exception) -> Response:
    """The answer to whoever has caused an error: one of ours, of Werkzeug's, or any other (500).

    It is a page for people, and problem details (RFC 9457) for programs; in the locale in force, or else the visitor's.

    A person who must log in is sent to ``bgtasks_login_url``, where there is one. Problem details of InvalidCriteria
    have ``errors``, by field.
    """
    with locales.in_visitors(http_request):
        return _answer(http_request, TransientError() if database.is_unreachable(error) else error)


def _answer(http_request: Request, error: Exception) -> Response:
    status = status_of(error)
    if status == HTTPStatus.UNAUTHORIZED and (login := _to_login(http_request)) is not None:
        return login
    shown = {"title": status.phrase, "status": int(status), "detail": _detail(error, status)}
    if pages.prefers_json(http_request):
        response = pages.as_json({**shown, **_extension(error)}, status, pages.PROBLEM)
    else:
        response = pages.page("problem.html", shown, status)
    response.headers.update(_headers(error))
    return response


def status_of(error: Exception) -> HTTPStatus:
    """What an error is over HTTP: 500 for one that is not known here."""
    if isinstance(error, HTTPException):
        return HTTPStatus(error.code or HTTPStatus.INTERNAL_SERVER_ERROR)
    found = (status for kind, status in STATUSES if isinstance(error, kind))
    return next(found, HTTPStatus.INTERNAL_SERVER_ERROR)


def _detail(error: Exception, status: HTTPStatus) -> str:
    """A sentence that reveals nothing of the inside."""
    if isinstance(error, BgtasksError) and status < HTTPStatus.INTERNAL_SERVER_ERROR:
        return told(error)
    if isinstance(error, TransientError):
        return told(TransientError())
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return told(BROKEN)
    return told(next((said for kind, said in SENTENCES.items() if isinstance(error, kind)), UNREADABLE))


def _extension(error: Exception) -> dict[str, Any]:
    """What problem details say more than the standard's members."""
    code = {"code": error.error_code} if isinstance(error, BgtasksError) else {}
    return {**code, "errors": error.fields} if isinstance(error, InvalidCriteria) else code


def _headers(error: Exception) -> dict[str, str]:
    if isinstance(error, TooManyActive):
        return {"Retry-After": str(error.retry_after)}
    if isinstance(error, TransientError):
        return {"Retry-After": str(RETRY_AFTER)}
    if isinstance(error, MethodNotAllowed):
        return {"Allow": ", ".join(sorted(error.valid_methods or ()))}
    # Ours have some; those of an application's own error, such as urllib's HTTPError, are of somebody else's answer.
    return dict(getattr(error, "headers", {})) if isinstance(error, BgtasksError) else {}


def _to_login(http_request: Request) -> Response | None:
    """To the login page, and back to here: the way back is a local path, whatever the Host header says."""
    url = settings.current().login_url
    if not url or pages.prefers_json(http_request):
        return None
    # Quoted: browsers drop a tab or a line break in an address, and would find two slashes beside each other.
    back = "/" + quote((http_request.script_root + http_request.path).lstrip("/\\"))
    response = redirect(f"{url}{'&' if '?' in url else '?'}{urlencode({'next': back})}", 302, Response)
    response.headers.update(pages.HEADERS | {"Content-Security-Policy": pages.NOTHING})
    return response
