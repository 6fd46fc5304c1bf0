"""Django's request as Werkzeug's."""

from __future__ import annotations

import io
import sys
from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.http import HttpRequest
from django.utils import timezone, translation
from werkzeug.wrappers import Request

from bgtasks import identity

#: Where the environ has Django's own request, for hooks: ``http_request.environ[DJANGO_REQUEST].user``.
DJANGO_REQUEST = "bgtasks.django_request"

_FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")
#: What Django's request knows of a WSGI environ, under ASGI too.
_SERVER = ("QUERY_STRING", "REMOTE_ADDR", "REMOTE_USER", "SERVER_NAME", "SERVER_PORT", "SERVER_PROTOCOL")


def werkzeug_request(
    request: HttpRequest, mount: str = "", kind: type[Request] = Request, *, with_body: bool = True
) -> Request:
    """The same request for our own functions, whatever of its body Django has read.

    Who asks is ``request.user``; without Django's authentication it is for ``bgtasks_identify`` to say. The language
    is the one that Django speaks to this visitor.

    :param mount: the first part of the path, below which an application is mounted; without a slash at its end.
    :param kind: a subclass of Werkzeug's Request.
    :param with_body: False: leave the body unread, as one that can't be.
    Raises: Django's RequestDataTooBig and its other errors of reading a body.
    """
    given = {name: value for name, value in request.META.items() if name.startswith("HTTP_") or name in _SERVER}
    given.pop("HTTP_TRANSFER_ENCODING", None)  # of a body that has its length here
    return kind(
        {
            **given,
            **_who(request),
            "REQUEST_METHOD": request.method,
            "SCRIPT_NAME": _tunnelled(request.META.get("SCRIPT_NAME", "") + mount),
            "PATH_INFO": _tunnelled(request.path_info.removeprefix(mount)),
            **(_body(request, kind.max_content_length) if with_body else {"wsgi.input": io.BytesIO()}),
            "HTTP_ACCEPT_LANGUAGE": translation.get_language() or given.get("HTTP_ACCEPT_LANGUAGE", ""),
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": request.scheme,
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": True,
            "wsgi.multiprocess": True,
            "wsgi.run_once": False,
            DJANGO_REQUEST: request,
        }
    )


def locale() -> tuple[str | None, str | None]:
    """The language and the time zone that Django uses just now: those that the view or a middleware has activated."""
    zone = timezone.get_current_timezone() if settings.USE_TZ else None
    return translation.get_language(), getattr(zone, "key", None)


def _body(request: HttpRequest, most: int | None) -> dict[str, Any]:
    """The body's part of an environ; a body that declares to be too big is left unread, to be refused."""
    declared = request.META.get("CONTENT_LENGTH") or ""
    if most is not None and declared.isdecimal() and int(declared) > most:
        body, length, content_type = b"", declared, request.META.get("CONTENT_TYPE", "")
    else:
        body, content_type = _content(request)
        length = str(len(body))
    return {"CONTENT_LENGTH": length, "CONTENT_TYPE": content_type, "wsgi.input": io.BytesIO(body)}


def _content(request: HttpRequest) -> tuple[bytes, str]:
    """The body and its type. Of a form, the fields: Django (its CSRF check, say) may have read them already."""
    if request.method == "POST" and request.content_type in _FORMS:
        return urlencode(list(request.POST.lists()), doseq=True).encode(), _FORMS[0]
    return request.body, request.META.get("CONTENT_TYPE", "")


def _who(request: HttpRequest) -> dict[str, Any]:
    user = getattr(request, "user", None)
    if user is None:
        return {}
    if not user.is_authenticated:
        return {identity.REQUESTER: None}
    field = user.get_email_field_name() if hasattr(user, "get_email_field_name") else "email"
    return {identity.REQUESTER: _name_of(user), identity.EMAIL: getattr(user, field, None) or None}


def _name_of(user: Any) -> str:
    """What tells a user from all others; a model's own ``__str__``, such as a full name, may not."""
    return str(user.get_username() if hasattr(user, "get_username") else user)


def _tunnelled(path: str) -> str:
    """A path as a WSGI environ has it: each byte a character (PEP 3333)."""
    return path.encode().decode("latin-1")
