"""Why something is not handed out.

Each refusal is an ``HTTPException`` of Werkzeug's too: Flask and Werkzeug answer it with our page, or with problem
details for a program.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Request

from bgtasks.errors import BgtasksError, NotPermitted
from bgtasks.wsgi.problems import RETRY_AFTER, problem


class Refusal(BgtasksError, HTTPException):
    """The file is not handed out."""

    #: What its answer has in addition.
    headers: Mapping[str, str] = {}

    def __str__(self) -> str:
        return str(self.description)

    def get_response(self, environ: Any = None, scope: Any = None) -> Any:
        """The answer that Flask and Werkzeug send."""
        http_request = environ if isinstance(environ, Request) else Request(environ or {})
        return problem(http_request, self)


class SuspiciousToken(Refusal):
    """This link is not valid. Please check that it was copied whole."""

    error_code = "bad_token"
    code = 400


class SignatureHasExpired(Refusal):
    """This link has expired. Please ask for the file again."""

    error_code = "expired_token"
    code = 410


class UserIsNotRequester(Refusal):
    """This file was made for somebody else. Please log in as the person who asked for it."""

    error_code = "not_requester"
    code = 403


class DownloadNotPermitted(Refusal, NotPermitted):
    """You may not have this file any more."""

    error_code = "not_permitted"
    code = 403


class FormIsStale(Refusal):
    """This page was too old, or not meant for you. Please go back, load it again, and try once more."""

    error_code = "stale_form"
    code = 403


class PartIsNotThere(Refusal):
    """The file has no such part."""

    code = 416

    def __init__(self, size: int) -> None:
        super().__init__()
        self.headers = {"Content-Range": f"bytes */{size}"}  # RFC 9110, 15.5.17


class FileIsAnother(Refusal):
    """The file is not the one that was asked for."""

    code = 412


class LoginRequired(Refusal):
    """Please log in to download this file."""

    error_code = "login_required"
    code = 401
    headers = {"WWW-Authenticate": "Session"}  # RFC 9110, 11.6.1: a 401 names a way to log in


class FileIsGone(Refusal):
    """This file does not exist, or not any more."""

    error_code = "not_found"
    code = 404


class FileIsNotReady(Refusal):
    """This file is still being made. Please try again a little later."""

    error_code = "not_ready"
    code = 409
    headers = {"Retry-After": str(RETRY_AFTER)}
