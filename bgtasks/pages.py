"""Answers for people and for programs: a page, or the same as JSON."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from typing import Any

from werkzeug.wrappers import Request, Response

from bgtasks import locales, templates

HTML, JSON, PROBLEM = "text/html", "application/json", "application/problem+json"

#: A page of ours loads nothing from anywhere, runs the one script that it came with, and is framed by nobody.
POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'nonce-{nonce}'; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
NOTHING = "default-src 'none'; frame-ancestors 'none'"
HEADERS = {
    "Cache-Control": "private, no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Vary": "Accept, Accept-Language, Cookie",
}


def prefers_json(http_request: Request) -> bool:
    """Whether a client would rather have JSON than a page; whoever takes both gets the page."""
    return http_request.accept_mimetypes.best_match([HTML, PROBLEM, JSON], HTML) != HTML


def page(template_name: str, context: Mapping[str, Any], status: int = 200) -> Response:
    """A page, in the locale in force. Its template has a ``nonce`` for its script."""
    nonce = secrets.token_urlsafe(16)
    html = templates.render(template_name, {"nonce": nonce, **context})
    policy = {"Content-Security-Policy": POLICY.format(nonce=nonce), "Content-Language": locales.current().spoken}
    return Response(html, status, HEADERS | policy, content_type=f"{HTML}; charset=utf-8")


def as_json(data: Any, status: int = 200, content_type: str = JSON) -> Response:
    """Data for a program."""
    return Response(json.dumps(data), status, HEADERS | {"Content-Security-Policy": NOTHING}, content_type=content_type)
