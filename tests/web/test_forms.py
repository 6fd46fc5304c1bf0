"""Cancel and delete: by the requester's own hand only."""

from __future__ import annotations

import io
import json
import re
from typing import Any

import pytest
from werkzeug.test import Client, TestResponse

from bgtasks import registry, status_links, toolbox
from bgtasks.deployment import Deployment
from bgtasks.errors import ClaimLost
from bgtasks.models import FileRequest
from bgtasks.states import EventKind, State
from bgtasks.tokens import CANCEL, DELETE, Signer
from tests.conftest import KEY
from tests.support.divided import begin, fan_out, finish
from tests.support.file_types import Numbers
from tests.support.handmade import REQUESTER, Clock, alter, finished, fresh, in_seconds

STRANGER = "eve@example.com"
JSON = {"Accept": "application/json"}
ON_SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def asked(**more: Any) -> FileRequest:
    """A request that waits for a worker."""
    return toolbox.add_request({}, "numbers", REQUESTER, schedule=True, **more)


def send(client: Client, row: FileRequest, action: str, token: str, user: str | None = REQUESTER, **more: Any) -> Any:
    """Send a form, as somebody who is logged in."""
    environ = {"REMOTE_USER": user} if user else {}
    data = {"csrf_token": token, **more.pop("data", {})}
    path = f"{status_links.path_of(row)}/{action}"
    return client.post(path, data=data, environ_overrides=environ, **more)


def press(client: Client, path: str, button: str, user: str = REQUESTER) -> TestResponse:
    """Press a button of a page, as a browser without script does."""
    page = client.get(path, environ_overrides={"REMOTE_USER": user}).text
    form = next(form for form in re.findall(r"<form.*?</form>", page, re.DOTALL) if button in form)
    data = dict(re.findall(r'name="(\w+)" value="([^"]*)"', form))
    action = re.search(r'action="([^"]+)"', form)
    assert action is not None
    return client.post(action[1], data=data, environ_overrides={"REMOTE_USER": user})


def test_the_cancel_button(client: Client, parts: Deployment) -> None:
    """It ends the request, and leads back to its page, which says so; the history names who it was."""
    row = asked()
    answer = press(client, status_links.path_of(row), "Cancel")
    assert answer.status_code == 303
    assert fresh(parts, row).state == State.CANCELLED
    page = client.get(answer.headers["Location"], environ_overrides={"REMOTE_USER": REQUESTER}).text
    assert "This file was cancelled" in page
    [entry] = [entry for entry in parts.requests.history(row.id) if entry.kind == EventKind.CANCELLED]
    assert entry.actor == REQUESTER


def test_the_delete_button(client: Client, parts: Deployment) -> None:
    """It removes the row and the file, and leads to what else there is."""
    ready = finished()
    answer = press(client, status_links.path_of(ready), "Delete for good")
    assert (answer.status_code, answer.headers["Location"]) == (303, "/requests")
    assert parts.requests.get(ready.id) is None
    assert list(parts.store.keys()) == []


@ON_SQLITE
def test_the_buttons_fit_the_state(client: Client, parts: Deployment) -> None:
    """What goes on can be cancelled, and what is over can be deleted."""
    for row, offered, other in ((asked(), "Cancel", "Delete"), (finished(), "Delete", "Cancel")):
        page = client.get(status_links.path_of(row), environ_overrides={"REMOTE_USER": REQUESTER}).text
        assert offered in page
        assert other not in page


@ON_SQLITE
def test_what_is_still_to_be_told_is_not_deleted(client: Client, parts: Deployment) -> None:
    """Between two steps a finished request goes on: it can be deleted once its requester has been told."""
    ready = alter(parts, finished(), token_id="x")
    environ = {"REMOTE_USER": REQUESTER}
    for waiting in ({"dispatch_at": in_seconds(100)}, {"leased_by": "a worker"}):
        row = alter(parts, ready, **waiting)
        assert "Delete" not in client.get(status_links.path_of(row), environ_overrides=environ).text
        alter(parts, ready, dispatch_at=None, leased_by=None)
    assert "Delete" in client.get(status_links.path_of(ready), environ_overrides=environ).text


@pytest.mark.parametrize("action", [CANCEL, DELETE])
@ON_SQLITE
def test_a_form_needs_its_own_token(client: Client, parts: Deployment, action: str) -> None:
    """A token for another purpose, request or person changes nothing, and neither does none, or another salt's."""
    row = asked() if action == CANCEL else finished()
    other = asked(idempotency_key="other") if action == CANCEL else finished()
    tokens = [
        "",
        "forged",
        status_links.token_of(row),
        toolbox.create_token(row),
        status_links.form_token(DELETE if action == CANCEL else CANCEL, row, REQUESTER),
        status_links.form_token(action, other, REQUESTER),
        status_links.form_token(action, row, STRANGER),
        status_links.form_token(action, row, None),
        Signer(KEY, "bgtasks.status").dump([action, row.id, REQUESTER, None]),
    ]
    for token in tokens:
        for headers in ({}, JSON):
            assert send(client, row, action, token, headers=headers).status_code == 403
    assert fresh(parts, row).state == row.state
    good = status_links.form_token(action, row, REQUESTER)
    assert send(client, row, action, good, STRANGER).status_code == 403
    assert send(client, row, action, good, None).status_code == 401
    assert fresh(parts, row).state == row.state
    assert send(client, row, action, good).status_code == 303


@ON_SQLITE
def test_a_form_grows_stale(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page that was left open for half a day works; after that it must be loaded again."""
    clock = Clock(monkeypatch)
    row, soon = asked(), asked(idempotency_key="soon")
    token, soon_token = (status_links.form_token(CANCEL, each, REQUESTER) for each in (row, soon))
    clock.forward(12 * 3600 - 1)
    assert send(client, soon, CANCEL, soon_token).status_code == 303
    clock.forward(2)
    answer = send(client, row, CANCEL, token)
    assert answer.status_code == 403
    assert "load it again" in answer.text


@ON_SQLITE
def test_a_link_does_nothing(client: Client, parts: Deployment) -> None:
    """Nothing is changed by a GET, whatever it says."""
    row = asked()
    token = status_links.form_token(CANCEL, row, REQUESTER)
    path = f"{status_links.path_of(row)}/cancel"
    answer = client.get(path, query_string={"csrf_token": token}, environ_overrides={"REMOTE_USER": REQUESTER})
    assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")
    assert (
        client.post(path, query_string={"csrf_token": token}, environ_overrides={"REMOTE_USER": REQUESTER}).status_code
        == 403
    )
    assert fresh(parts, row).state == State.PENDING


@ON_SQLITE
def test_a_file_in_parts_is_cancelled_with_them(client: Client, parts: Deployment) -> None:
    """What was written of it goes, and whoever writes the rest of it learns that at the next row."""
    row = fan_out(parts, asked())
    finish(parts, begin(parts, row, 0, 30))
    held = begin(parts, row, 1, 3)
    assert press(client, status_links.path_of(row), "Cancel").status_code == 303
    assert fresh(parts, row).state == State.CANCELLED
    assert list(parts.store.keys(row.id)) == []
    with pytest.raises(ClaimLost):
        parts.parting.progress(held, rows_written=4)


@ON_SQLITE
def test_a_program_cancels_too(client: Client, parts: Deployment) -> None:
    """The JSON brings each action's address and token; a second time there is nothing left to cancel (409)."""
    row = asked()
    said = json.loads(
        client.get(status_links.path_of(row), headers=JSON, environ_overrides={"REMOTE_USER": REQUESTER}).get_data()
    )
    action = said["actions"]["cancel"]
    for status, done in ((200, True), (409, False)):
        answer = client.post(
            action["url"],
            headers={**JSON, "X-CSRF-Token": action["csrf_token"]},
            environ_overrides={"REMOTE_USER": REQUESTER},
        )
        assert (answer.status_code, json.loads(answer.get_data())) == (status, {"id": row.id, "cancel": done})


@ON_SQLITE
def test_a_second_click_does_no_harm(client: Client, parts: Deployment) -> None:
    """Whoever cancels what has just become ready sees that it is ready."""
    row = asked()
    token = status_links.form_token(CANCEL, row, REQUESTER)
    alter(parts, row, state=State.READY, token_id="x")
    answer = send(client, row, CANCEL, token)
    assert answer.status_code == 303
    assert fresh(parts, row).state == State.READY


@ON_SQLITE
def test_a_body_that_is_too_big(client: Client, parts: Deployment) -> None:
    """More than a form of ours can have is refused unread (413), also where its length is not announced."""
    row = asked()
    big = {"csrf_token": "x" * 100_000}
    assert send(client, row, CANCEL, "", data=big).status_code == 413
    files = {"file": (io.BytesIO(b"x" * 100_000), "a.txt")}
    assert send(client, row, CANCEL, "", data=files).status_code == 413


class Anyones(Numbers):
    """Files for whoever has the link."""

    file_type = "anyones"
    requester_only = False


@ON_SQLITE
def test_who_may_look_need_not_change(client: Client, parts: Deployment) -> None:
    """A page that anybody may see lets only the one who asked cancel; where nobody is known, whoever has the page."""
    registry.register(Anyones)
    known = toolbox.add_request({}, "anyones", REQUESTER, schedule=True)
    path = status_links.path_of(known)
    assert "Cancel" not in client.get(path).text
    assert send(client, known, CANCEL, status_links.form_token(CANCEL, known, None), None).status_code == 403
    assert "Cancel" in client.get(path, environ_overrides={"REMOTE_USER": REQUESTER}).text
    nobodys = toolbox.add_request({}, "anyones", schedule=True)
    assert send(client, nobodys, CANCEL, status_links.form_token(CANCEL, nobodys, None), None).status_code == 303
    assert fresh(parts, nobodys).state == State.CANCELLED


@ON_SQLITE
def test_a_form_leads_back_to_where_it_is_mounted(client: Client, parts: Deployment) -> None:
    """To the request's page, below the mount point, and no cache keeps the answer; only the list's form goes there."""
    row = asked()
    path = f"{status_links.path_of(row)}/cancel"
    environ = {"REMOTE_USER": REQUESTER, "SCRIPT_NAME": "/exports", "PATH_INFO": path}
    data = {"csrf_token": status_links.form_token(CANCEL, row, REQUESTER), "back": "elsewhere"}
    answer = client.post("/", data=data, environ_overrides=environ)
    assert (answer.status_code, answer.headers["Location"]) == (303, status_links.path_of(row, "/exports"))
    assert answer.headers["Cache-Control"] == "private, no-store"


@ON_SQLITE
def test_what_can_not_be_deleted_is_shown(client: Client, parts: Deployment) -> None:
    """A delete that came too late or too early leads to the request's page, which says how it stands."""
    row = asked()
    answer = send(client, row, DELETE, status_links.form_token(DELETE, row, REQUESTER))
    assert (answer.status_code, answer.headers["Location"]) == (303, status_links.path_of(row))
    assert fresh(parts, row).state == State.PENDING
