"""What a view raises becomes an answer: a page, or problem details (RFC 9457)."""

from __future__ import annotations

import json
import re
from email.message import Message
from typing import Any
from urllib.error import HTTPError

import pytest
from sqlalchemy.exc import OperationalError
from werkzeug.exceptions import HTTPException, ImATeapot, MethodNotAllowed, NotFound, RequestEntityTooLarge
from werkzeug.test import Client, EnvironBuilder
from werkzeug.wrappers import Request, Response

from bgtasks import errors
from bgtasks.deployment import Deployment
from bgtasks.locales import in_force
from bgtasks.wsgi import refusals
from bgtasks.wsgi.problems import problem

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

SECRET = "postgresql://user:password@db/secret"


def answer(error: Exception, accept: str = "application/json") -> Response:
    """The answer to an error, as somebody's error handler makes it."""
    return problem(Request(EnvironBuilder(headers={"Accept": accept}).get_environ()), error)


@pytest.mark.parametrize(
    ("error", "status", "headers"),
    [
        (errors.InvalidCriteria({"since": ["This is not a date."]}), 400, {}),
        (errors.InvalidForm(None, {"since": ["Please."]}), 400, {}),
        (errors.UnknownFormat(), 400, {}),
        (errors.TooManyRows(10), 400, {}),
        (errors.NotPermitted(), 403, {}),
        (errors.UnknownFileType(), 404, {}),
        (errors.RequestNotFound(), 404, {}),
        (errors.TooManyActive(3, 77), 429, {"Retry-After": "77"}),
        (errors.TransientError(SECRET), 503, {"Retry-After": "10"}),
        (errors.StoreFull(), 503, {"Retry-After": "10"}),
        (OperationalError(SECRET, {}, Exception(SECRET)), 503, {"Retry-After": "10"}),
        (errors.ImproperlyConfigured(SECRET), 500, {}),
        (LookupError(SECRET), 500, {}),
        (refusals.SuspiciousToken(), 400, {}),
        (refusals.LoginRequired(), 401, {"WWW-Authenticate": "Session"}),
        (refusals.UserIsNotRequester(), 403, {}),
        (refusals.FileIsGone(), 404, {}),
        (refusals.FileIsNotReady(), 409, {"Retry-After": "10"}),
        (refusals.SignatureHasExpired(), 410, {}),
        (MethodNotAllowed(["POST", "GET"]), 405, {"Allow": "GET, POST"}),
        (RequestEntityTooLarge(), 413, {}),
        (ImATeapot("<b>tea</b>"), 418, {}),
    ],
)
@pytest.mark.parametrize("accept", ["application/json", "text/html"])
def test_every_error_has_its_answer(
    parts: Deployment, error: Exception, status: int, headers: dict[str, str], accept: str
) -> None:
    """Each one has a status, a sentence and what a client needs to go on; nothing of the inside is told."""
    response = answer(error, accept)
    assert response.status_code == status
    assert headers.items() <= dict(response.headers).items()
    text = response.get_data(as_text=True)
    for inside in ("password", "Traceback", "<b>", "secret"):
        assert inside not in text
    if accept == "application/json":
        said = json.loads(text)
        assert response.mimetype == "application/problem+json"
        assert said["status"] == status
        assert said["title"]
        assert said["detail"].endswith(".")


@pytest.mark.parametrize(
    ("kind", "status", "code"),
    [
        (refusals.SuspiciousToken, 400, "bad_token"),
        (refusals.LoginRequired, 401, "login_required"),
        (refusals.UserIsNotRequester, 403, "not_requester"),
        (refusals.DownloadNotPermitted, 403, "not_permitted"),
        (refusals.FormIsStale, 403, "stale_form"),
        (refusals.FileIsGone, 404, "not_found"),
        (refusals.FileIsNotReady, 409, "not_ready"),
        (refusals.SignatureHasExpired, 410, "expired_token"),
    ],
)
def test_a_refusal_has_a_name(parts: Deployment, kind: type[refusals.Refusal], status: int, code: str) -> None:
    """A program can tell the refusals apart by a code that does not change with their words."""
    said = json.loads(answer(kind()).get_data())
    assert (said["status"], said["code"]) == (status, code)
    assert said["detail"] == kind.default_message() == str(kind())


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (NotFound("<b>"), "There is nothing at this address."),
        (MethodNotAllowed(), "This address can't be used like that."),
        (RequestEntityTooLarge(), "That is more than this address takes."),
        (ImATeapot(), "This request can't be understood."),
        (LookupError(SECRET), "Something went wrong here."),
        (errors.TransientError(SECRET), errors.TransientError.default_message()),
    ],
)
def test_what_others_say_is_said_in_our_words(parts: Deployment, error: Exception, sentence: str) -> None:
    """Werkzeug's sentences are for programmers, and an application's own are nobody's business."""
    assert json.loads(answer(error).get_data())["detail"].startswith(sentence)


@pytest.mark.parametrize("conf", [{"bgtasks_login_url": "/login"}], indirect=True)
def test_only_who_is_unknown_is_sent_to_the_login(parts: Deployment) -> None:
    """Whoever is logged in and may not have a thing is told so: to log in again would not help."""
    assert answer(refusals.UserIsNotRequester(), "text/html").status_code == 403


def test_a_page_is_guarded(parts: Deployment) -> None:
    """The policy of a page allows its own script and forms, and nothing else; caches know what it depends on."""
    with in_force("xx", None):
        response = answer(refusals.FileIsGone(), "text/html")
    policy = re.sub(r"'nonce-[\w-]{22}'", "'nonce'", response.headers["Content-Security-Policy"])
    assert policy == (
        "default-src 'none'; style-src 'unsafe-inline'; script-src 'nonce'; connect-src 'self'; "
        "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    )
    assert response.headers["Vary"] == "Accept, Accept-Language, Cookie"
    assert response.headers["Content-Language"] == "en"  # in which it is, whatever was asked for


def test_the_fields_are_named(parts: Deployment) -> None:
    """Problem details of invalid criteria say what is wrong with which field."""
    said = json.loads(answer(errors.InvalidCriteria({"since": ["This is not a date."]})).get_data())
    assert said["errors"] == {"since": ["This is not a date."]}
    assert said["code"] == "invalid_criteria"


def test_a_problem_speaks_the_visitors_language(parts: Deployment) -> None:
    """The sentence and the page are in the language in force."""
    with in_force("de", None):
        response = answer(refusals.SignatureHasExpired(), "text/html")
    assert '<html lang="de"' in response.get_data(as_text=True)
    assert "This link has expired" not in response.get_data(as_text=True)


def test_without_a_locale_in_force_it_is_the_browsers(parts: Deployment) -> None:
    """As in an error handler of Flask's, outside of whatever has raised the error."""
    german = Request(EnvironBuilder(headers={"Accept": "text/html", "Accept-Language": "de"}).get_environ())
    assert "This link has expired" not in problem(german, refusals.SignatureHasExpired()).get_data(as_text=True)
    with in_force("en", None):
        assert "This link has expired" in problem(german, refusals.SignatureHasExpired()).get_data(as_text=True)


def test_headers_of_somebody_elses_answer_are_not_ours(parts: Deployment) -> None:
    """A hook that asks another service may fail with that one's answer: nothing of it goes to the visitor."""
    upstream = Message()
    upstream["Set-Cookie"], upstream["Content-Length"] = "session=upstream", "7"
    for headers in (upstream, None):
        response = answer(HTTPError("https://sso.example.com/", 503, "no", headers, None))  # type: ignore[arg-type]
        assert response.status_code == 500
        assert "Set-Cookie" not in response.headers
        assert response.headers["Content-Length"] == str(len(response.get_data()))


@pytest.mark.parametrize("conf", [{"bgtasks_login_url": "/login"}], indirect=True)
def test_who_must_log_in_is_sent_there(parts: Deployment) -> None:
    """A person goes to the login page and back; a program is told."""
    assert answer(refusals.LoginRequired(), "text/html").headers["Location"] == "/login?next=%2F"
    assert answer(refusals.LoginRequired()).status_code == 401


@pytest.mark.parametrize("environ", [None, {}, "werkzeug"])
def test_a_refusal_answers_for_itself(parts: Deployment, environ: Any) -> None:
    """A host that is built on Werkzeug answers a refusal with our page, as an HTTP error of its own."""
    refusal = refusals.FileIsNotReady()
    assert isinstance(refusal, HTTPException)
    made = EnvironBuilder(headers={"Accept": "application/json"}).get_environ() if environ == "werkzeug" else environ
    response = refusal.get_response(made)
    assert (response.status_code, response.headers["Retry-After"]) == (409, "10")
    assert (response.mimetype == "application/problem+json") == (environ == "werkzeug")
    client = Client(refusal)
    assert client.get("/", headers={"Accept": "application/json"}).json["code"] == "not_ready"
