"""The files application: everybody else is told why not, in a form that they understand."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import pytest
from celery import Celery
from werkzeug.test import Client, TestResponse

from bgtasks import toolbox
from bgtasks.deployment import Deployment
from bgtasks.models import FileRequest
from bgtasks.states import State
from bgtasks.tokens import Signer
from tests.conftest import KEY
from tests.support.handmade import REQUESTER, Clock, alter, finished, in_seconds

STRANGER = "eve@example.com"
JSON = {"Accept": "application/json"}
#: What every refusal of ours has, page or problem details.
GUARDED = {
    "Cache-Control": "private, no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def get(client: Client, token: str, user: str | None = REQUESTER, **more: Any) -> TestResponse:
    """Follow a link, as somebody who is logged in."""
    environ = {"REMOTE_USER": user} if user else {}
    return client.get(f"/files/{token}", environ_overrides=environ, **more)


def removed(parts: Deployment, ready: FileRequest) -> None:
    """The object goes, and the row stays."""
    parts.store.delete(str(ready.object_key))


def deleted(parts: Deployment, ready: FileRequest) -> None:
    """All of it goes."""
    assert toolbox.delete(ready)


def in_state(state: State) -> Callable[[Deployment, FileRequest], None]:
    """The row gets another state."""

    def change(parts: Deployment, ready: FileRequest) -> None:
        alter(parts, ready, state=state)

    return change


def expired(parts: Deployment, ready: FileRequest) -> None:
    """The file's time is over, and nobody has removed it yet."""
    alter(parts, ready, expires_at=in_seconds(-1))


def revoked(parts: Deployment, ready: FileRequest) -> None:
    """The link is withdrawn."""
    assert toolbox.revoke(ready)


@pytest.mark.parametrize(
    ("happens", "status"),
    [
        pytest.param(removed, 404, id="the object is removed"),
        pytest.param(deleted, 404, id="the request is unknown"),
        pytest.param(in_state(State.FAILED), 404, id="failed"),
        pytest.param(in_state(State.CANCELLED), 404, id="cancelled"),
        pytest.param(in_state(State.PENDING), 409, id="pending"),
        pytest.param(in_state(State.RUNNING), 409, id="running"),
        pytest.param(in_state(State.EXPIRED), 410, id="expired"),
        pytest.param(expired, 410, id="past its time"),
        pytest.param(revoked, 410, id="revoked"),
    ],
)
def test_there_is_no_file_to_hand_out(
    client: Client, parts: Deployment, happens: Callable[[Deployment, FileRequest], None], status: int
) -> None:
    """Each state of a request has its own answer."""
    ready = finished()
    token = toolbox.create_token(ready)
    happens(parts, ready)
    response = get(client, token)
    assert response.status_code == status
    assert response.headers.get("Retry-After") == ("10" if status == 409 else None)


def test_an_expired_token(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """A link that is too old is gone, also for its requester."""
    clock = Clock(monkeypatch)
    token = toolbox.create_token(finished())
    assert get(client, token).status_code == 200
    clock.forward(86_401)
    assert get(client, token).status_code == 410


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_forged_token(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    """A link that we have not signed is a bad request, and says nothing of what it names; the log is not filled."""
    ready = finished()
    token = toolbox.create_token(ready)
    other_key = toolbox.create_token(ready, signer=Signer("a key that is nobody's", "bgtasks.download"))
    other_salt = toolbox.create_token(ready, signer=Signer(KEY, "bgtasks"))
    swapped = token[:-1] + ("A" if token[-1] != "A" else "B")
    for forged in (swapped, token[1:], token + "A", token + "=", other_key, other_salt, "a", "%00", "%ff"):
        assert get(client, forged).status_code == 400
    assert "a request to the files application failed" not in caplog.text


def test_another_visitor(client: Client) -> None:
    """A link works for its requester only: names are compared as they are."""
    token = toolbox.create_token(finished())
    for visitor in (STRANGER, REQUESTER.upper(), f"{REQUESTER} ", REQUESTER[:-1]):
        assert get(client, token, visitor).status_code == 403


@pytest.mark.parametrize("user", [None, ""])
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_an_anonymous_visitor(client: Client, user: str | None) -> None:
    """Nobody gets a file: they are asked to log in (RFC 9110, 15.5.2)."""
    token = toolbox.create_token(finished())
    response = client.get(f"/files/{token}", environ_overrides={} if user is None else {"REMOTE_USER": user})
    assert response.status_code == 401
    assert "WWW-Authenticate" in response.headers


@pytest.mark.parametrize(
    "header", ["X-Remote-User", "Remote-User", "REMOTE_USER", "X-Forwarded-User", "X-Auth-Request-Email", "From"]
)
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_no_header_is_an_identity(client: Client, header: str) -> None:
    """Who somebody is comes from the server; what a client sends is only what it says."""
    token = toolbox.create_token(finished())
    assert get(client, token, None, headers={header: REQUESTER}).status_code == 401
    assert get(client, token, STRANGER, headers={header: REQUESTER}).status_code == 403


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_who_is_asked_before_what_there_is(client: Client, parts: Deployment) -> None:
    """A stranger is not told whether a file is ready, failed or expired."""
    ready = finished()
    token = toolbox.create_token(ready)
    for state in State:
        alter(parts, ready, state=state)
        assert get(client, token, STRANGER).status_code == 403
        assert get(client, token, None).status_code == 401


# -- logging in --------------------------------------------------------------------------------------


LOGIN = pytest.mark.parametrize("conf", [{"bgtasks_login_url": "/login"}], indirect=True)


@pytest.mark.parametrize(
    ("conf", "begins"),
    [
        ({"bgtasks_login_url": "https://login.example.com/in"}, "https://login.example.com/in?next="),
        ({"bgtasks_login_url": "/login?lang=de"}, "/login?lang=de&next="),
    ],
    indirect=["conf"],
)
@pytest.mark.parametrize("mounted", ["", "/exports"])
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_an_anonymous_visitor_is_sent_to_the_login(client: Client, begins: str, mounted: str) -> None:
    """With ``bgtasks_login_url`` they come back afterwards: to a local path, whatever the Host header said."""
    token = toolbox.create_token(finished())
    for host in ("files.example.com", "evil.example.com"):
        response = get(client, token, None, base_url=f"https://{host}{mounted}/")
        assert response.status_code == 302
        assert response.headers["Location"] == begins + f"{mounted}/files/{token}".replace("/", "%2F")
        assert GUARDED.items() <= dict(response.headers).items()


@pytest.mark.parametrize(
    ("script_name", "before", "way"),
    [
        ("//evil.example.com", "", "evil.example.com"),
        ("/\\evil.example.com", "", "evil.example.com"),
        ("/\t/evil.example.com", "", "%2509%2Fevil.example.com"),
        ("/\n/evil.example.com", "", "%250A%2Fevil.example.com"),
        ("", "/", "files"),
    ],
)
@LOGIN
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_the_way_back_stays_here(client: Client, script_name: str, before: str, way: str) -> None:
    """The path to come back to can't become another host, by a strange mount point or a doubled slash.

    Browsers drop tabs and line breaks in an address: what follows is quoted twice, once for the query.
    """
    path = f"{before}/files/{toolbox.create_token(finished())}"
    response = client.get("/", environ_overrides={"SCRIPT_NAME": script_name, "PATH_INFO": path})
    assert response.headers["Location"].startswith(f"/login?next=%2F{way}")


@LOGIN
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_program_is_not_redirected_to_a_login(client: Client) -> None:
    """Whoever wants JSON can't fill in a login page, and gets the 401."""
    assert get(client, toolbox.create_token(finished()), None, headers=JSON).status_code == 401


# -- other addresses ---------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/files", "/files/", "/files/a/", "/files/a/b", "/static/x.css", "/FILES/a"])
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_any_other_path_is_not_found(client: Client, path: str) -> None:
    """There is nothing else here."""
    assert client.get(path).status_code == 404


@pytest.mark.parametrize("path", ["//evil.example.com/..", "//files/a", "/files//a", "/.//files/a"])
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_no_path_is_tidied_up_by_a_redirect(client: Client, path: str) -> None:
    """A redirect would go to wherever the Host header points."""
    response = client.get("/", environ_overrides={"PATH_INFO": path, "HTTP_HOST": "evil.example.com"})
    assert response.status_code in (400, 404)
    assert "Location" not in response.headers


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_other_methods_are_refused(client: Client, method: str) -> None:
    """A file can be fetched and nothing else; the answer says so (RFC 9110, 15.5.6)."""
    response = client.open("/files/a", method=method)
    assert response.status_code == 405
    assert {allowed.strip() for allowed in response.headers["Allow"].split(",")} == {"GET", "HEAD"}


# -- in which form -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "accept",
    ["application/json", "application/problem+json", "application/*", "text/html;q=0.5, application/json"],
)
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_programs_get_problem_details(client: Client, accept: str) -> None:
    """A client that prefers JSON gets the refusal as problem details (RFC 9457)."""
    response = get(client, "forged", headers={"Accept": accept})
    assert response.content_type == "application/problem+json"
    assert json.loads(response.get_data()) == {
        "title": "Bad Request",
        "status": 400,
        "detail": "This link is not valid. Please check that it was copied whole.",
        "code": "bad_token",
    }
    assert GUARDED.items() <= dict(response.headers).items()


class Text(HTMLParser):
    """The text of a page, as a browser shows it."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.tags: set[str] = set()
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.add(tag)

    def handle_data(self, data: str) -> None:
        self.words.append(data.strip())


@pytest.mark.parametrize("accept", [None, "*/*", "text/html, */*;q=0.8", "image/png", "text/html, application/json"])
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_people_get_a_page(client: Client, accept: str | None) -> None:
    """Everybody else gets a page, which loads nothing and can't be framed."""
    response = get(client, "forged", headers={"Accept": accept} if accept else {})
    assert response.content_type == "text/html; charset=utf-8"
    page = Text(response.text)
    assert "This link is not valid." in page.words  # the heading; what to do about it stands below
    assert "Please check that it was copied whole." in page.words
    assert not page.tags & {"script", "img", "link", "iframe"}
    assert GUARDED.items() <= dict(response.headers).items()
    assert "frame-ancestors 'none'" in response.headers["Content-Security-Policy"]


HOSTILE = "%3Cscript%3Ealert(1)%3C/script%3E%22'{{7*7}}"


@pytest.mark.parametrize("path", [f"/files/{HOSTILE}", f"/{HOSTILE}", f"/files/a?{HOSTILE}"])
@pytest.mark.parametrize("headers", [{}, JSON])
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_nothing_of_the_input_comes_back(client: Client, path: str, headers: dict[str, str]) -> None:
    """No refusal repeats what was asked for."""
    for response in (client.get(path, headers=headers), client.post(path, headers=headers)):
        assert response.status_code in (400, 404, 405)
        for piece in ("<script>", "alert", "7*7", "49", "%3C"):
            assert piece not in response.text


# -- when something is wrong here --------------------------------------------------------------------


def failing(environ: dict[str, Any]) -> str:
    """An identity that can't be told."""
    raise LookupError("the directory of users is away")


@pytest.mark.parametrize("conf", [{"bgtasks_identify": f"{__name__}:failing"}], indirect=True)
@pytest.mark.parametrize(("headers", "kind"), [({}, "text/html"), (JSON, "application/problem+json")])
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_an_error_inside_is_logged_without_the_address(
    client: Client, caplog: pytest.LogCaptureFixture, headers: dict[str, str], kind: str
) -> None:
    """The log has the traceback and never the path, which holds the token; the visitor learns nothing of it."""
    token = toolbox.create_token(finished())
    with caplog.at_level(logging.DEBUG):
        response = get(client, token, headers=headers)
    assert response.status_code == 500
    assert response.mimetype == kind
    assert "directory of users" in caplog.text
    assert "directory of users" not in response.text
    assert token not in caplog.text
    assert "/files/" not in caplog.text


@pytest.mark.parametrize("headers", [{}, JSON])
def test_an_application_without_settings_answers_too(caplog: pytest.LogCaptureFixture, headers: dict[str, str]) -> None:
    """Even a deployment that is not configured answers, so that its server does not log the address."""
    from bgtasks.wsgi import application

    Celery("nothing configured", broker="memory://").set_current()
    response = Client(application).get("/files/a-token", headers=headers)
    assert response.status_code == 500
    assert "bgtasks_default_key is not set" in caplog.text
    assert "a-token" not in caplog.text
    assert "default_key" not in response.text
