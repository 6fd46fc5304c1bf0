"""An ASGI request as Werkzeug's."""

from __future__ import annotations

import io
import sys
from typing import Any
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.types import Scope
from werkzeug import wrappers

from bgtasks import identity

#: Where the environ has the ASGI scope, for ``bgtasks_identify``: its ``session``, say.
SCOPE = "asgi.scope"
#: Who asks is what the scope's ``user`` says.
FROM_SCOPE: Any = object()

_FORM = "application/x-www-form-urlencoded"
_PLAIN = {"content-type": "CONTENT_TYPE", "content-length": "CONTENT_LENGTH"}


class CriteriaRequest(wrappers.Request):
    """A request of which no more is read than criteria may have. Bytes; more is refused unread (413)."""

    max_content_length = 1024 * 1024


async def werkzeug_request(
    request: Request,
    requester: Any = FROM_SCOPE,
    requester_email: str | None = None,
    kind: type[wrappers.Request] = CriteriaRequest,
) -> wrappers.Request:
    """The same request for our own functions. The view can read its body or form before, and after.

    :param requester: who asks; None: nobody (default: ``scope["user"]``, of authentication middleware; without
        that it is for ``bgtasks_identify`` to say).
    :param requester_email: where they are told (default: the user's ``email``).
    :param kind: a subclass of Werkzeug's Request, whose ``max_content_length`` counts.
    """
    environ = {**environ_of(request.scope), **_who(request.scope, requester, requester_email)}
    return kind({**environ, **await _body(request, kind.max_content_length)})


def environ_of(scope: Scope) -> dict[str, Any]:
    """A WSGI environ without a body (PEP 3333)."""
    root, path = scope.get("root_path", ""), scope["path"]
    server, port = scope.get("server") or ("localhost", None)
    return {
        **_headers(scope),
        SCOPE: scope,
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": _tunnelled(root),
        "PATH_INFO": _tunnelled(path.removeprefix(root) if path == root or path.startswith(f"{root}/") else path),
        "QUERY_STRING": scope["query_string"].decode("latin-1"),
        "REMOTE_ADDR": (scope.get("client") or ("",))[0],
        "SERVER_NAME": server,
        "SERVER_PORT": str(port or 0),
        "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}",
        "CONTENT_LENGTH": "0",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope.get("scheme", "http"),
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }


def _headers(scope: Scope) -> dict[str, str]:
    found: dict[str, list[str]] = {}
    for raw, value in scope["headers"]:
        name = raw.decode("latin-1").lower()
        if "_" not in name:  # which would pass for the same name with a hyphen
            found.setdefault(_PLAIN.get(name, f"HTTP_{name.upper().replace('-', '_')}"), []).append(
                value.decode("latin-1")
            )
    found.pop("HTTP_TRANSFER_ENCODING", None)  # of a body that has its length here
    return {name: ("; " if name == "HTTP_COOKIE" else ",").join(values) for name, values in found.items()}


def _who(scope: Scope, requester: Any, email: str | None) -> dict[str, Any]:
    if requester is not FROM_SCOPE:
        return {identity.REQUESTER: requester, identity.EMAIL: email}
    user = scope.get("user")
    if user is None:
        return {identity.EMAIL: email}
    if not user.is_authenticated:
        return {identity.REQUESTER: None}
    return {identity.REQUESTER: _name_of(user), identity.EMAIL: email or getattr(user, "email", None)}


def _name_of(user: Any) -> Any:
    """What tells a user from all others; a ``display_name`` does not."""
    try:
        return user.identity
    except (NotImplementedError, AttributeError):
        return getattr(user, "username", None)


async def _body(request: Request, most: int | None) -> dict[str, Any]:
    """The body's part of an environ. What is too big is left unread, and Werkzeug refuses it by its length."""
    declared = request.headers.get("content-length", "")
    if most is not None and declared.isdecimal() and int(declared) > most:
        return {"CONTENT_LENGTH": declared}
    try:
        # Starlette keeps a body that is read whole; one of unknown length is not.
        body = await request.body() if declared else await _beginning(request, most)
    except RuntimeError:  # the view has read the form, which Starlette keeps
        fields = [(name, value) for name, value in (await request.form()).multi_items() if isinstance(value, str)]
        body, kind = urlencode(fields).encode(), _FORM
    else:
        kind = request.headers.get("content-type", "")
    return {"CONTENT_LENGTH": str(len(body)), "CONTENT_TYPE": kind, "wsgi.input": io.BytesIO(body)}


async def _beginning(request: Request, most: int | None) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if most is not None and len(body) > most:
            break
    return bytes(body)


def _tunnelled(path: str) -> str:
    """A path as a WSGI environ has it: each byte a character."""
    return path.encode().decode("latin-1")
