"""Django's requests, responses, errors, forms and transactions, as ours."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django import forms
from django.core.exceptions import BadRequest, PermissionDenied, SuspiciousOperation
from django.core.signals import request_finished
from django.db import close_old_connections, connections, transaction
from django.http import Http404
from django.test import AsyncRequestFactory, RequestFactory
from django.utils import timezone, translation
from pydantic import BaseModel

from bgtasks import identity, registry, toolbox
from bgtasks.contrib import django as ours
from bgtasks.contrib.django.views import mounted
from bgtasks.deployment import Deployment
from bgtasks.errors import InvalidCriteria, InvalidForm, NotPermitted, UnknownFormat
from bgtasks.file_types import Dataset
from bgtasks.wsgi.views import FileIsGone, SuspiciousToken, UserIsNotRequester
from tests.support.file_types import Numbers
from tests.support.handmade import CONTENTS, REQUESTER, finished

pytestmark = [
    pytest.mark.usefixtures("django_project", "parts"),
    pytest.mark.parametrize("database_url", ["sqlite"], indirect=True),
]

FACTORIES = pytest.mark.parametrize("factory", [RequestFactory, AsyncRequestFactory])


class User:
    """Somebody who is logged in, or is not."""

    def __init__(self, name: str = REQUESTER, email: str = "ada@mail.example.com") -> None:
        self.name, self.email, self.is_authenticated = name, email, bool(name)

    def __str__(self) -> str:
        return self.name


def by(request: Any, user: User | None = None) -> Any:
    """The request, as it is after Django's authentication."""
    request.user = user or User()
    return request


def content(response: Any) -> bytes:
    """What is sent, by WSGI or ASGI."""
    if not response.streaming:
        return bytes(response.content)
    if not response.is_async:
        return b"".join(response)

    async def read() -> bytes:
        return b"".join([chunk async for chunk in response])

    return asyncio.run(read())


class Inline(Numbers):
    """Numbers, at once."""

    file_type = "inline"

    def evaluate_dataset(self, dataset: Dataset, http_request: Any) -> None:
        dataset.delay = False


# -- requests and responses ---------------------------------------------------------------------------


@FACTORIES
@pytest.mark.parametrize("is_parsed", [True, False])
@pytest.mark.parametrize("kind", ["query", "form", "multipart", "json", "put"])
def test_what_was_chosen_arrives_however_it_is_sent(factory: Any, is_parsed: bool, kind: str) -> None:
    """A query, a form, JSON; whether or not Django's CSRF check, say, has read the body before."""
    make, chosen = factory(), {"count": "2", "since": "2013-01-01"}
    url_encoded = "count=2&since=2013-01-01"
    request = {
        "query": lambda: make.get("/", chosen),
        "form": lambda: make.post("/", url_encoded, content_type="application/x-www-form-urlencoded"),
        "multipart": lambda: make.post("/", chosen),
        "json": lambda: make.post("/", json.dumps(chosen), content_type="application/json"),
        "put": lambda: make.put("/", url_encoded, content_type="application/x-www-form-urlencoded"),
    }[kind]()
    if is_parsed:
        assert bool(request.POST) == (kind in ("form", "multipart"))
    delayed, response = ours.respond_to(Inline, by(request))
    assert not delayed
    assert content(response) == b"number,name\r\n0,name 0\r\n1,name 1\r\n"


def test_a_users_name_is_what_they_log_in_with(parts: Deployment) -> None:
    """A model of users may show itself as a full name, which anybody may give themselves."""

    from django.contrib.auth.base_user import AbstractBaseUser  # once Django has its settings
    from django.db.models import EmailField

    class Person(AbstractBaseUser):
        USERNAME_FIELD = "email"
        email = EmailField(unique=True)

        class Meta:
            app_label = "people"

        def __str__(self) -> str:
            return REQUESTER

    token = toolbox.create_token(finished())
    eve, ada = Person(email="eve@example.com"), Person(email=REQUESTER)
    with pytest.raises(UserIsNotRequester):
        ours.serve_file(by(RequestFactory().get("/"), eve), token)
    assert ours.serve_file(by(RequestFactory().get("/"), ada), token).status_code == 200


@FACTORIES
def test_the_response_is_ours(factory: Any) -> None:
    """Status, headers and bytes; and HEAD has the same without bytes."""
    token = toolbox.create_token(finished())
    answer = ours.serve_file(by(factory().get("/")), token)
    assert (answer.status_code, content(answer)) == (200, CONTENTS)
    assert answer["Content-Disposition"] == "attachment; filename=numbers.csv"
    assert answer["Content-Length"] == str(len(CONTENTS))
    head = ours.serve_file(by(factory().head("/")), token)
    assert (content(head), head["Content-Length"]) == (b"", str(len(CONTENTS)))
    part = ours.serve_file(by(factory().get("/", headers={"Range": "bytes=0-5"})), token)
    assert (part.status_code, content(part)) == (206, CONTENTS[:6])
    known = ours.serve_file(by(factory().get("/", headers={"If-None-Match": answer["ETag"]})), token)
    assert (known.status_code, content(known)) == (304, b"")


@FACTORIES
@pytest.mark.parametrize(
    "path", ["/exports/requests", "/exports/requests/", "/exports/files/x", "/exports/files/ü%20/x"]
)
def test_the_mount_knows_where_it_is(factory: Any, path: str) -> None:
    """Below the prefix of ``include``, and below that of the server."""
    from django.urls import resolve

    request = by(factory().get(path), User(""))
    request.META["SCRIPT_NAME"] = "/site"
    found = resolve(request.path_info)
    http_request = ours.werkzeug_request(request, "/exports")
    assert found.view_name == "bgtasks:application"
    assert http_request.root_path == "/site/exports"
    assert http_request.path == request.path_info.removeprefix("/exports")
    assert found.func(request, *found.args, **found.kwargs).status_code in (400, 401, 404)


def test_a_body_that_django_cannot_read_is_a_bad_request_of_ours() -> None:
    """Django's own page would have the path in its log, and the path holds the token."""
    request = by(RequestFactory().post("/exports/requests/a-token/cancel", b"a", "multipart/form-data"))
    response = mounted(request, "requests/a-token/cancel")
    assert response.status_code == 400
    assert "be understood" in response.content.decode()
    assert response._has_been_logged


def test_who_asks_is_the_user_and_no_header(parts: Deployment) -> None:
    """By name; told at the address of their account; and nobody is somebody else."""
    asked = ours.respond_to(Numbers, by(RequestFactory().get("/", headers={"Bgtasks-Requester": "eve"})))
    (row,) = parts.requests.of(REQUESTER, 9)
    assert asked[0]
    assert (row.requester, row.requester_email) == (REQUESTER, "ada@mail.example.com")
    anonymous = ours.werkzeug_request(by(RequestFactory(REMOTE_USER="eve").get("/"), User("")))
    assert identity.requester(anonymous.environ) is None


def test_without_djangos_authentication_it_is_for_identify_to_say() -> None:
    """Which by default is the server's REMOTE_USER."""
    http_request = ours.werkzeug_request(RequestFactory(REMOTE_USER="ada").get("/"))
    assert identity.requester(http_request.environ) == "ada"


def test_the_language_and_zone_are_those_that_django_uses(parts: Deployment) -> None:
    """The row keeps what the view or a middleware has activated; or else the site's."""
    ours.respond_to(Numbers, by(RequestFactory().get("/", headers={"Accept-Language": "fr"})))
    with translation.override("de"), timezone.override(ZoneInfo("Asia/Tokyo")):
        ours.respond_to(Numbers, by(RequestFactory().get("/")))
        ours.respond_to(Numbers, by(RequestFactory().get("/")), language="it", tz="Africa/Cairo")
    rows = sorted(parts.requests.of(REQUESTER, 9), key=lambda row: row.requested_at)
    assert [row.language for row in rows] == ["en-us", "de", "it"]
    assert [row.timezone for row in rows] == ["Europe/Zurich", "Asia/Tokyo", "Africa/Cairo"]


# -- errors -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("our", "djangos", "token", "user"),
    [
        (SuspiciousToken, SuspiciousOperation, lambda made: "no token", REQUESTER),
        (UserIsNotRequester, PermissionDenied, toolbox.create_token, "eve@example.com"),
        (FileIsGone, Http404, lambda made: (toolbox.create_token(made), toolbox.delete(made))[0], REQUESTER),
    ],
)
def test_a_refusal_is_an_error_of_djangos_where_there_is_one(our: Any, djangos: Any, token: Any, user: str) -> None:
    """Either can be caught, and Django answers it with the site's own page."""
    with pytest.raises(djangos) as raised:
        ours.serve_file(by(RequestFactory().get("/"), User(user)), token(finished()))
    assert isinstance(raised.value, our)
    assert str(raised.value) == str(our())


@pytest.mark.parametrize("conf", [{}, {"bgtasks_login_url": "/login"}])
def test_what_django_has_no_error_for_is_answered(conf: dict[str, str]) -> None:
    """A page, or the way to the login; problem details for a program."""
    token = toolbox.create_token(finished())
    person = ours.serve_file(by(RequestFactory().get("/f"), User("")), token)
    program = ours.serve_file(by(RequestFactory().get("/f", headers={"Accept": "application/json"}), User("")), token)
    assert person.get("Location") == ("/login?next=%2Ff" if conf else None)
    assert (program.status_code, program["WWW-Authenticate"]) == (401, "Session")
    assert json.loads(content(program))["status"] == 401
    again = toolbox.create_token(asked := finished())
    toolbox.revoke(asked)
    assert ours.serve_file(by(RequestFactory().get("/f")), again).status_code == 410


class Refused(Numbers):
    """For nobody."""

    file_type = "refused"

    def may_request(self, requester: Any, criteria: Any) -> bool:
        return False


@pytest.mark.parametrize(
    ("file_type", "query", "our", "djangos"),
    [
        (Numbers, {"count": "many"}, InvalidCriteria, BadRequest),
        (Numbers, {"format": "docx"}, UnknownFormat, BadRequest),
        (Refused, {}, NotPermitted, PermissionDenied),
    ],
)
def test_what_the_view_lets_pass_is_answered_by_django(file_type: Any, query: Any, our: Any, djangos: Any) -> None:
    """Never with 500; and the evidence is still there."""
    with pytest.raises(our) as raised:
        ours.respond_to(file_type, by(RequestFactory().get("/", query)))
    assert isinstance(raised.value, djangos)
    assert getattr(raised.value, "fields", {}).keys() == ({"count"} if "count" in query else set())


def test_too_many_are_answered_with_when_to_come_again() -> None:
    """Django has no error for 429."""

    class Few(Numbers):
        file_type = "few"
        max_active_per_requester = 1

    registry.register(Few)
    ours.respond_to("few", by(RequestFactory().get("/")))
    delayed, answer = ours.respond_to("few", by(RequestFactory().get("/")))
    assert (delayed, answer.status_code) == (False, 429)
    assert int(answer["Retry-After"]) > 0


# -- forms --------------------------------------------------------------------------------------------


class Form(forms.Form):
    """A number of rows, and since when."""

    count = forms.IntegerField(max_value=9)
    since = forms.DateField(required=False)
    tags = forms.MultipleChoiceField(choices=[("a", "A"), ("b", "B")], required=False)


class WithForm(ours.DjangoFileType, Inline):
    """Its criteria are what the form has cleaned."""

    file_type = "with_form"
    form_class = Form
    seen: Any = None

    class Criteria(BaseModel):
        count: int = 1
        since: Any = "ever"
        tags: list[str] = ["none"]

        def model_post_init(self, _: Any) -> None:
            if self.count == 7:
                raise ValueError("not seven")

    def get_items(self, criteria: Any) -> Any:
        type(self).seen = criteria
        return super().get_items(criteria)


def test_the_forms_cleaned_data_are_the_criteria() -> None:
    """What was left blank takes the default of the model."""
    ours.respond_to(WithForm, by(RequestFactory().get("/?count=2&tags=a&tags=b")))
    assert (WithForm.seen.count, WithForm.seen.since, WithForm.seen.tags) == (2, "ever", ["a", "b"])
    assert WithForm.seen.requester == REQUESTER
    sent = json.dumps({"count": 3, "since": "2013-01-01", "tags": ["a"]})
    ours.respond_to(WithForm, by(RequestFactory().post("/", sent, content_type="application/json")))
    assert (WithForm.seen.count, WithForm.seen.since, WithForm.seen.tags) == (3, "2013-01-01", ["a"])


@pytest.mark.parametrize(("query", "fields"), [("count=10&since=x", {"count", "since"}), ("count=7", {""})])
def test_the_view_gets_the_bound_form_back(query: str, fields: set[str]) -> None:
    """With the errors of the form, and with those of the criteria, beside the fields."""
    with pytest.raises(InvalidForm) as raised:
        ours.respond_to(WithForm, by(RequestFactory().get(f"/?{query}")))
    assert raised.value.fields.keys() == fields
    assert raised.value.form.is_bound
    assert {name.removeprefix("__all__") for name in raised.value.form.errors} == fields


@pytest.mark.parametrize("body", ["[1]", "{", "null"])
def test_json_that_is_no_form_is_refused(body: str) -> None:
    """By a sentence, and not by 500."""
    with pytest.raises(InvalidCriteria):
        ours.respond_to(WithForm, by(RequestFactory().post("/", body, content_type="application/json")))


def test_rows_that_a_form_has_chosen_are_kept_by_their_keys() -> None:
    """The criteria are JSON, which holds no models."""
    from django.contrib.auth.models import Group

    group = Group.objects.create(name="chosen")

    class Chosen(forms.Form):
        one = forms.ModelChoiceField(Group.objects)
        some = forms.ModelMultipleChoiceField(Group.objects)

    class OfGroups(WithForm):
        file_type = "of_groups"
        form_class = Chosen
        Criteria = None

        def get_items(self, criteria: Any) -> Any:
            assert criteria.value == {"one": group.pk, "some": [group.pk]}
            return []

    ours.respond_to(OfGroups, by(RequestFactory().get(f"/?one={group.pk}&some={group.pk}")))
    group.delete()


def test_the_form_can_see_djangos_request() -> None:
    """Whoever offers a user only what is theirs needs the user."""

    class Own(WithForm):
        file_type = "own"

        def get_form(self, http_request: Any) -> Any:
            assert http_request.environ[ours.DJANGO_REQUEST].user.email == "ada@mail.example.com"
            return super().get_form(http_request)

    ours.respond_to(Own, by(RequestFactory().get("/?count=2")))


# -- steps --------------------------------------------------------------------------------------------


def test_djangos_language_and_zone_are_in_force_in_a_step() -> None:
    """And are what they were afterwards."""
    from django.contrib.auth.models import Group

    seen = []

    class Local(ours.DjangoFileType, Numbers):
        file_type = "local"
        notifiers = ()

        def get_items(self, criteria: Any) -> Any:
            seen.append((translation.get_language(), timezone.get_current_timezone_name()))
            return []

    registry.register(Local)
    asked = toolbox.add_request({}, "local", REQUESTER, language="de", tz="Asia/Tokyo")
    with transaction.atomic():  # which goes on
        Group.objects.create(name="within")
        assert registry.dispatch(asked.id)
        assert Group.objects.filter(name="within").delete()[0] == 1
    assert set(seen) == {("de", "Asia/Tokyo")}
    assert (translation.get_language(), timezone.get_current_timezone_name()) == ("en-us", "Europe/Zurich")


def test_the_thread_of_a_file_at_once_leaves_no_connection() -> None:
    """It has one of its own, which nobody would close."""
    from django.contrib.auth.models import Permission

    opened: list[Any] = []

    class Rows(Inline):
        file_type = "permissions"

        def get_items(self, criteria: Any) -> Any:
            yield from Permission.objects.values_list("codename").iterator()
            opened.append((threading.get_ident(), connections["default"]))

    _, response = ours.respond_to(Rows, by(RequestFactory().get("/")))
    assert b"add_user" in content(response)
    ((thread, connection),) = opened
    assert thread != threading.get_ident()
    assert connection.connection is None


# -- transactions -------------------------------------------------------------------------------------


class Published(Numbers):
    """Keeps what is published."""

    file_type = "published"
    ids: list[str] = []

    def schedule(self, file_request: Any, http_request: Any, dataset: Any) -> Any:
        self.ids.append(file_request.id)
        return True


@pytest.fixture
def published() -> Iterator[list[str]]:
    """The ids of what was published."""
    registry.register(Published)
    Published.ids.clear()
    yield Published.ids
    request_finished.send(sender=None)


def ask() -> None:
    """Ask for a file that must wait."""
    assert ours.respond_to("published", by(RequestFactory().get("/")))[0]


def known(parts: Deployment) -> list[str]:
    """The ids of what there is."""
    return [row.id for row in parts.requests.of(REQUESTER, 9)]


def test_without_a_transaction_it_is_published_at_once(parts: Deployment, published: list[str]) -> None:
    """As everywhere else."""
    ask()
    assert published == known(parts)


def test_within_a_transaction_it_is_published_after_the_outermost_commit(
    parts: Deployment, published: list[str]
) -> None:
    """And not when a savepoint is released."""
    with transaction.atomic():
        with transaction.atomic():
            ask()
        assert published == []
    assert published == known(parts)
    request_finished.send(sender=None)
    assert len(known(parts)) == 1


def test_after_a_rollback_there_is_no_request(parts: Deployment, published: list[str]) -> None:
    """Neither published nor left for the sweep."""
    with pytest.raises(LookupError):
        with transaction.atomic():
            ask()
            raise LookupError
    request_finished.send(sender=None)
    assert published == known(parts) == []


def test_a_savepoint_that_is_rolled_back_takes_its_request_along(parts: Deployment, published: list[str]) -> None:
    """And no other one."""
    with transaction.atomic():
        with pytest.raises(LookupError):
            with transaction.atomic():
                ask()
                raise LookupError
        ask()
    request_finished.send(sender=None)
    assert len(published) == 1
    assert published == known(parts)


def test_a_transaction_around_a_whole_request_is_left_alone(parts: Deployment, published: list[str]) -> None:
    """Django's ``TestCase`` puts one around each test, and its requests are over before it is."""
    with transaction.atomic():
        ask()
        request_finished.disconnect(close_old_connections)  # as Django's test client does
        request_finished.send(sender=None)
        request_finished.connect(close_old_connections)
        assert len(known(parts)) == 1
    assert published == known(parts)
    request_finished.send(sender=None)
    assert len(known(parts)) == 1
