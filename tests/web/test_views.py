"""The download as functions, for a view of one's own."""

from __future__ import annotations

from typing import Any

import pytest
from werkzeug.exceptions import HTTPException
from werkzeug.test import Client, EnvironBuilder
from werkzeug.wrappers import Request, Response

from bgtasks import identity, registry, toolbox
from bgtasks.deployment import Deployment
from bgtasks.errors import BgtasksError
from bgtasks.tokens import Signer
from bgtasks.wsgi import views
from bgtasks.wsgi.views import (
    FileIsGone,
    FileIsNotReady,
    LoginRequired,
    SignatureHasExpired,
    SuspiciousToken,
    UserIsNotRequester,
    evaluate_request,
    serve_file,
)
from tests.conftest import KEY
from tests.support.file_types import Numbers
from tests.support.handmade import CONTENTS, REQUESTER, finished

STRANGER = "eve@example.com"

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def by(user: str | None, **environ: Any) -> Request:
    """A request by somebody."""
    return Request(EnvironBuilder(environ_overrides={"REMOTE_USER": user} if user else {}).get_environ() | environ)


@pytest.fixture(params=[evaluate_request, serve_file])
def view(request: pytest.FixtureRequest, parts: Deployment) -> Any:
    """Both functions check in the same way."""
    return request.param


def test_evaluating_brings_the_request_and_the_data(parts: Deployment) -> None:
    """A preview page learns what the link is about, before there is any file."""
    asked = toolbox.add_request(file_type="numbers", requester=REQUESTER)
    file_request, data = evaluate_request(by(REQUESTER), toolbox.create_token(asked, {"page": 3}))
    assert (file_request.id, file_request.state, data) == (asked.id, "pending", {"page": 3})


def test_serving_brings_the_file(parts: Deployment) -> None:
    """The response is the file's."""
    response = serve_file(by(REQUESTER), toolbox.create_token(finished()))
    assert b"".join(response.iter_encoded()) == CONTENTS


@pytest.mark.parametrize(
    ("user", "refusal"), [(REQUESTER, None), (STRANGER, UserIsNotRequester), (None, LoginRequired)]
)
def test_the_requester_is_verified(view: Any, user: str | None, refusal: type[Exception] | None) -> None:
    """Nobody but the requester passes."""
    token = toolbox.create_token(finished())
    if refusal is None:
        view(by(user), token)
        return
    with pytest.raises(refusal):
        view(by(user), token)


def test_the_host_application_may_have_verified(view: Any) -> None:
    """``verify_requester=False`` leaves the check to the caller; the token must be a requester's all the same."""
    ready = finished()
    view(by(None), toolbox.create_token(ready), verify_requester=False)
    with pytest.raises(SuspiciousToken):
        view(by(None), toolbox.create_general_token(ready), verify_requester=False)


def test_a_general_token_may_be_enough(view: Any) -> None:
    """``require_requester=False`` takes a general token, and still asks who the visitor is."""
    token = toolbox.create_general_token(finished())
    view(by(REQUESTER), token, require_requester=False)
    with pytest.raises(UserIsNotRequester):
        view(by(STRANGER), token, require_requester=False)
    with pytest.raises(LoginRequired):
        view(by(None), token, require_requester=False)
    view(by(STRANGER), token, require_requester=False, verify_requester=False)


@pytest.mark.parametrize("requester", [None, ""])
@pytest.mark.parametrize(
    ("user", "refusal"), [(None, LoginRequired), ("", LoginRequired), (STRANGER, UserIsNotRequester)]
)
def test_nobody_never_matches_nobody(
    view: Any, requester: str | None, user: str | None, refusal: type[Exception]
) -> None:
    """A request without a requester is not an anonymous visitor's, nor anybody's."""
    token = toolbox.create_general_token(finished(requester=requester))
    with pytest.raises(refusal):
        view(by(user), token, require_requester=False)
    with pytest.raises(SuspiciousToken):
        view(by(user), token)


@pytest.mark.parametrize("said", [None, False, ""])
def test_what_a_hook_says_of_nobody(parts: Deployment, said: Any) -> None:
    """``False`` is no name: else all whom a hook says it of would share their files."""
    assert identity.requester({identity.REQUESTER: said}) is None
    assert identity.requester({identity.REQUESTER: 0}) == "0"


def test_an_open_file_type_asks_for_nothing(view: Any) -> None:
    """Where the type is not for its requester only, both switches are without effect."""

    class Anyones(Numbers):
        file_type = "anyones"
        requester_only = False

    registry.register(Anyones)
    token = toolbox.create_general_token(finished(file_type="anyones"))
    view(by(None), token, require_requester=True, verify_requester=True)


def test_a_signer_for_one_view(view: Any) -> None:
    """``signer`` stands in for the file type's."""
    signer = Signer(KEY, "this view's")
    token = toolbox.create_token(finished(), signer=signer)
    view(by(REQUESTER), token, signer=signer)
    with pytest.raises(SuspiciousToken):
        view(by(REQUESTER), token)


def test_a_file_that_is_not_ready(parts: Deployment) -> None:
    """There is nothing to serve yet, and a preview is fine."""
    token = toolbox.create_token(toolbox.add_request(file_type="numbers", requester=REQUESTER))
    evaluate_request(by(REQUESTER), token)
    with pytest.raises(FileIsNotReady):
        serve_file(by(REQUESTER), token)


@pytest.mark.parametrize(
    ("refusal", "code"),
    [
        (SuspiciousToken, 400),
        (LoginRequired, 401),
        (UserIsNotRequester, 403),
        (FileIsGone, 404),
        (FileIsNotReady, 409),
        (SignatureHasExpired, 410),
    ],
)
@pytest.mark.usefixtures("app")
def test_refusals_are_http_exceptions(refusal: type[views.Refusal], code: int) -> None:
    """Werkzeug and Flask answer a refusal as it is: its code, and its sentence, escaped."""

    @Request.application
    def application(http_request: Request) -> Response:
        raise refusal("Only for <you>.")

    response = Client(application).get("/")
    assert response.status_code == code
    assert "Only for &lt;you&gt;." in response.text
    assert issubclass(refusal, HTTPException)
    assert issubclass(refusal, BgtasksError)
    assert str(refusal("a word")) == "a word"
    assert str(refusal()) == refusal.default_message()


def test_in_a_view_of_ones_own(parts: Deployment) -> None:
    """A small application: its own address, its own idea of who is logged in."""

    @Request.application
    def application(http_request: Request) -> Response:
        return serve_file(http_request, http_request.args["t"], verify_requester=False)

    client, token = Client(application), toolbox.create_token(finished())
    assert client.get("/", query_string={"t": token}).get_data() == CONTENTS
    assert client.get("/", query_string={"t": token[:-2]}).status_code == 400


# -- identity ----------------------------------------------------------------------------------------


class User:
    """Somebody as a host application knows them."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __str__(self) -> str:
        return self.name


def by_session(environ: dict[str, Any]) -> User | None:
    """Who is logged in, as the host application's session middleware has left it."""
    return User(environ["session"]) if "session" in environ else None


@pytest.mark.parametrize(
    "conf", [{"bgtasks_identify": f"{__name__}:by_session"}, {"bgtasks_identify": by_session}], indirect=True
)
def test_the_host_application_says_who_is_asking(view: Any) -> None:
    """``bgtasks_identify`` is a function or names one; what it returns is compared as a text."""
    token = toolbox.create_token(finished())
    view(by(None, session=REQUESTER), token)
    with pytest.raises(UserIsNotRequester):
        view(by(None, session=STRANGER), token)
    with pytest.raises(LoginRequired):
        view(by(REQUESTER), token)  # REMOTE_USER is not asked any more
    with pytest.raises(LoginRequired):
        view(by(None, session=""), token)
