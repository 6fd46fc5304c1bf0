"""How requests stand, for those who made them: the status page, "my files", and the forms on both."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from http import HTTPStatus

from werkzeug.utils import redirect
from werkzeug.wrappers import Request, Response

from bgtasks import deployment, identity, links, locales, pages, status_links, toolbox
from bgtasks.claims import request_id
from bgtasks.errors import BadToken, InvalidRequestId, RequestNotFound, Sentence
from bgtasks.models import FileRequest
from bgtasks.tokens import CANCEL, DELETE
from bgtasks.wsgi.refusals import FileIsGone, FormIsStale, LoginRequired, SuspiciousToken
from bgtasks.wsgi.status import Status
from bgtasks.wsgi.views import verify

#: How many requests a page of "my files" has.
PAGE = 25
#: What a form says that shall lead back to "my files".
LIST = "list"


def status(http_request: Request, token: str) -> Response:
    """How a request stands: a page that keeps itself up to date, or JSON with ``Retry-After``.

    Raises: SuspiciousToken, LoginRequired, UserIsNotRequester, FileIsGone.
    """
    shown = _status(http_request, _request_of(http_request, token))
    row = shown.file_request
    with locales.in_force(row.language or locales.current().language, row.timezone or locales.current().zone_name):
        if pages.prefers_json(http_request):
            response = pages.as_json(shown.as_json())
        else:
            response = pages.page("status.html", {"status": shown, "list_url": _list_url(http_request)})
    if shown.retry_after is not None:
        response.headers["Retry-After"] = str(shown.retry_after)
    return response


def my_files(http_request: Request) -> Response:
    """A visitor's own requests, the newest first, a page at a time. Raises: LoginRequired."""
    visitor = identity.requester(http_request.environ)
    if not visitor:
        raise LoginRequired(Sentence("Please log in to see your files."))
    found = deployment.current().requests.of(visitor, PAGE + 1, _uuid(http_request.args.get("after")))
    older = f"{_list_url(http_request)}?after={found[PAGE - 1].id}" if len(found) > PAGE else None
    with _in_zone_of(found):
        shown = [_status(http_request, row, with_outlook=False) for row in found[:PAGE]]
        if pages.prefers_json(http_request):
            return pages.as_json({"requests": [each.as_json() for each in shown], "next": older})
        return pages.page("files.html", {"statuses": shown, "older": older, "visitor": visitor})


def _in_zone_of(found: list[FileRequest]) -> AbstractContextManager[object]:
    """The locale of the page, with the zone that its visitor has asked in, where the browser does not say one."""
    here = locales.current()
    return locales.in_force(
        here.language, here.zone_name or next((row.timezone for row in found if row.timezone), None)
    )


def cancel(http_request: Request, token: str) -> Response:
    """Give a live request up. Raises: FormIsStale, and what ``status`` raises."""
    return _act(http_request, token, CANCEL, toolbox.cancel)


def delete(http_request: Request, token: str) -> Response:
    """Remove an ended request with its file. Raises: FormIsStale, and what ``status`` raises."""
    return _act(http_request, token, DELETE, lambda row, _: toolbox.delete(row))


def _act(http_request: Request, token: str, action: str, do: Callable[[FileRequest, str | None], bool]) -> Response:
    row = _request_of(http_request, token)
    visitor = identity.requester(http_request.environ)
    if not Status.may_change(row, visitor):
        raise FormIsStale
    try:
        said = http_request.form.get("csrf_token") or http_request.headers.get("X-CSRF-Token", "")
        status_links.check_form(action, said, row, visitor)
    except BadToken:
        raise FormIsStale from None
    done = do(row, visitor)
    is_gone = done and action == DELETE
    if pages.prefers_json(http_request):
        return pages.as_json({"id": row.id, action: done}, HTTPStatus.OK if done else HTTPStatus.CONFLICT)
    to_list = visitor and (is_gone or http_request.form.get("back") == LIST)
    where = _list_url(http_request) if to_list else status_links.path_of(row, _root(http_request))
    return _see(where)


def _see(where: str) -> Response:
    """After a form, so that loading the page again does not send it again (RFC 9110, 15.4.4)."""
    response = redirect(where, HTTPStatus.SEE_OTHER, Response)
    response.headers.update(pages.HEADERS)
    return response


def _request_of(http_request: Request, token: str) -> FileRequest:
    """The request of a status page, if this visitor may know of it."""
    try:
        row = status_links.read(token)
    except BadToken:
        raise SuspiciousToken from None
    except RequestNotFound:
        raise FileIsGone from None
    if links.is_requester_only(row):
        verify(http_request, row)
    return row


def _status(http_request: Request, row: FileRequest, *, with_outlook: bool = True) -> Status:
    return Status.of(row, identity.requester(http_request.environ), _root(http_request), with_outlook=with_outlook)


def _root(http_request: Request) -> str:
    """Where this application is mounted; a local path, whatever the server says."""
    root = http_request.root_path.strip("/\\")
    return f"/{root}" if root else ""


def _list_url(http_request: Request) -> str:
    return f"{_root(http_request)}/requests"


def _uuid(text: str | None) -> str | None:
    try:
        return request_id(text) if text else None
    except InvalidRequestId:
        return None
