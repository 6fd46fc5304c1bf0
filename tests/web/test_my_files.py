"""My files: a requester's own, and nobody else's."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any

import pytest
from werkzeug.test import Client, TestResponse

from bgtasks import toolbox
from bgtasks.deployment import Deployment
from bgtasks.states import State
from bgtasks.wsgi.status_views import PAGE
from tests.support.handmade import REQUESTER, alter, finished, fresh, in_seconds
from tests.web.test_forms import press

STRANGER = "eve@example.com"
JSON = {"Accept": "application/json"}
ON_SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def look(client: Client, user: str | None = REQUESTER, path: str = "/requests", **more: Any) -> TestResponse:
    """Open the list, as somebody who is logged in."""
    return client.get(path, environ_overrides={} if user is None else {"REMOTE_USER": user}, **more)


def listed(client: Client, user: str = REQUESTER, path: str = "/requests") -> dict[str, Any]:
    """The list as a program gets it."""
    answer: dict[str, Any] = json.loads(look(client, user, path, headers=JSON).get_data())
    return answer


def test_everybody_sees_their_own(client: Client, parts: Deployment) -> None:
    """The newest first, in every state; nothing of anybody else, and nothing of nobody."""
    mine = [
        toolbox.add_request({}, "numbers", REQUESTER, schedule=True),
        finished(),
        alter(parts, finished(), state=State.FAILED, error_message="Why <not>."),
        alter(parts, finished(), state=State.EXPIRED),
    ]
    mine = [alter(parts, row, requested_at=in_seconds(number)) for number, row in enumerate(mine)]
    theirs, nobodys = finished(requester=STRANGER), toolbox.add_request({}, "numbers")
    assert [each["id"] for each in listed(client)["requests"]] == [row.id for row in reversed(mine)]
    assert [each["id"] for each in listed(client, STRANGER)["requests"]] == [theirs.id]
    assert listed(client, "nobody@example.com")["requests"] == []
    page = look(client).text
    for word in ("waiting", "failed", "expired", "numbers.csv", "Why &lt;not&gt;."):
        assert word in page
    assert nobodys.id not in page


@pytest.mark.parametrize("user", [None, ""])
@ON_SQLITE
def test_nobody_has_no_list(client: Client, parts: Deployment, user: str | None) -> None:
    """An anonymous visitor, or one with an empty name, is asked to log in; requests of nobody are not theirs."""
    toolbox.add_request({}, "numbers")
    alter(parts, toolbox.add_request({}, "numbers", "x"), requester="")
    assert look(client, user).status_code == 401
    assert look(client, user, headers=JSON).status_code == 401


@ON_SQLITE
def test_the_list_has_pages(client: Client, parts: Deployment) -> None:
    """A page at a time, none of them twice, with what came in between left out of the older ones."""
    rows = [toolbox.add_request({}, "numbers", REQUESTER) for _ in range(PAGE * 2 + 3)]
    for row in rows[::-2]:
        alter(parts, row, requested_at=rows[0].requested_at)  # some came at the same moment
    assert len(parts.requests.of(REQUESTER, 2)) == 2
    seen, path = [], "/requests"
    while path:
        answer = listed(client, path=path)
        seen += [each["id"] for each in answer["requests"]]
        path = answer["next"]
        toolbox.add_request({}, "numbers", REQUESTER)
    assert sorted(seen) == sorted(row.id for row in rows)
    assert re.search(r'rel="next" href="/requests\?after=[0-9a-f-]{36}"', look(client).text)


@pytest.mark.parametrize("after", ["", "x", "%00", "' OR 1=1", "0" * 5000, "00000000-0000-0000-0000-000000000000"])
@ON_SQLITE
def test_a_page_that_is_not_there_is_the_first(client: Client, parts: Deployment, after: str) -> None:
    """A place in the list that is none, or has gone since, begins at the newest."""
    row = finished()
    assert [each["id"] for each in listed(client, path=f"/requests?after={after}")["requests"]] == [row.id]


@ON_SQLITE
def test_somebody_elses_place_is_no_place(client: Client, parts: Deployment) -> None:
    """Another's request can't be used to find out when it was made."""
    theirs = alter(parts, finished(requester=STRANGER), requested_at=in_seconds(-100))
    mine = finished()
    assert [each["id"] for each in listed(client, path=f"/requests?after={theirs.id}")["requests"]] == [mine.id]


def test_download_cancel_and_delete_are_there(client: Client, parts: Deployment) -> None:
    """Each file can be had, given up or removed from the list, and the list comes back."""
    ready, waiting = finished(), toolbox.add_request({}, "numbers", REQUESTER, schedule=True)
    toolbox.create_token(ready)
    by_id = {each["id"]: each for each in listed(client)["requests"]}
    assert look(client, path=by_id[ready.id]["download_url"]).status_code == 200
    answer = press(client, "/requests", "Cancel")
    assert (answer.status_code, answer.headers["Location"]) == (303, "/requests")
    assert fresh(parts, waiting).state == State.CANCELLED
    for _ in range(2):
        press(client, "/requests", "Delete for good")
    assert listed(client)["requests"] == []


@ON_SQLITE
def test_the_list_is_where_it_is_mounted(client: Client, parts: Deployment) -> None:
    """Addresses begin with the mount point, and never with a host that a header names."""
    finished()
    elsewhere = "/evil.example.com/requests/"
    for root, expected in (
        ("/exports", "/exports/requests/"),
        ("//evil.example.com", elsewhere),
        ("/\\evil.example.com", elsewhere),
    ):
        environ = {"REMOTE_USER": REQUESTER, "SCRIPT_NAME": root, "PATH_INFO": "/requests", "HTTP_HOST": "evil.example"}
        answer = json.loads(client.get("/", environ_overrides=environ, headers=JSON).get_data())
        assert answer["requests"][0]["status_url"].startswith(expected)


@ON_SQLITE
def test_times_are_in_the_zone_that_was_asked_in(client: Client, parts: Deployment) -> None:
    """Where the browser names no zone; one that it does name wins."""
    alter(parts, finished(tz="Asia/Tokyo"), requested_at=datetime(2026, 1, 2, 12, 0, tzinfo=UTC))
    [told] = listed(client)["requests"]
    assert told["requested_at"] == "2026-01-02T21:00:00+09:00"
    client.set_cookie("tz", "Europe/Zurich")
    [told] = listed(client)["requests"]
    assert told["requested_at"] == "2026-01-02T13:00:00+01:00"
