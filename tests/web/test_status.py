"""The status page: its requester sees how a request stands, and a program gets the same as JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest
from werkzeug.test import Client, TestResponse

from bgtasks import links, registry, status_links, toolbox
from bgtasks.deployment import Deployment
from bgtasks.errors import BadToken
from bgtasks.models import FileRequest
from bgtasks.states import State
from bgtasks.tokens import Signer
from tests.conftest import KEY
from tests.support.divided import halfway
from tests.support.file_types import Numbers
from tests.support.handmade import CONTENTS, REQUESTER, Clock, alter, finished, fresh, in_seconds

STRANGER = "eve@example.com"
JSON = {"Accept": "application/json"}
ON_SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def get(client: Client, row: FileRequest, user: str | None = REQUESTER, **more: Any) -> TestResponse:
    """Open a request's status page, as somebody who is logged in."""
    environ = {"REMOTE_USER": user} if user else {}
    return client.get(status_links.path_of(row), environ_overrides=environ, **more)


def told(client: Client, row: FileRequest) -> dict[str, Any]:
    """What a program is told."""
    answer: dict[str, Any] = json.loads(get(client, row, headers=JSON).get_data())
    return answer


def asked(**more: Any) -> FileRequest:
    """A request that waits for a worker."""
    return toolbox.add_request({}, "numbers", REQUESTER, description="Some numbers", schedule=True, **more)


def granted() -> FileRequest:
    """A file with a link."""
    ready = finished()
    toolbox.create_token(ready)
    return ready


# -- what it says ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("columns", "heading", "retry_after"),
    [
        ({}, "Your file is waiting for its turn", "3"),
        ({"state": State.RUNNING, "rows_total": 200, "rows_written": 50}, "Your file is being made", "1"),
        ({"state": State.FAILED, "error_message": "No <b>."}, "Your file could not be made", None),
        ({"state": State.CANCELLED}, "This file was cancelled", None),
        ({"state": State.EXPIRED, "expires_at": in_seconds(-9)}, "This file has expired", None),
        ({"state": State.READY, "expires_at": in_seconds(-1)}, "This file has expired", None),
        ({"state": State.READY}, "Your file is almost ready", "1"),
        ({"state": State.READY, "dispatch_at": None}, "There is no link to this file", None),
        ({"state": State.READY, "token_id": "x"}, "Your file is ready", None),
    ],
)
def test_each_state_has_its_page(
    client: Client, parts: Deployment, columns: dict[str, Any], heading: str, retry_after: str | None
) -> None:
    """The page says in a heading how the request stands, and a live one when to ask again."""
    row = alter(parts, asked(), **columns) if columns else asked()
    response = get(client, row)
    assert response.status_code == 200
    assert f">{heading}</h1>" in response.text
    assert response.headers.get("Retry-After") == retry_after
    assert ("<script" in response.text) == ("http-equiv" in response.text) == (retry_after is not None)
    assert "No <b>." not in response.text
    assert get(client, row, headers=JSON).headers.get("Retry-After") == retry_after


@ON_SQLITE
def test_the_bar_shows_the_rows(client: Client, parts: Deployment) -> None:
    """A real progress element with the share that is written, and the numbers beside it."""
    row = alter(parts, asked(), state=State.RUNNING, rows_total=166_158, rows_written=40_000)
    page = get(client, row).text
    assert '<progress id="bar" aria-labelledby="heading" aria-describedby="progress" max="100" value="24">' in page
    assert "40,000 of 166,158 rows" in page
    assert "<title>24 % · Your file is being made</title>" in page


@ON_SQLITE
def test_a_count_that_is_not_known_makes_a_bar_without_end(client: Client, parts: Deployment) -> None:
    """Where nobody knows how many rows there are, the bar says that something goes on, and makes up no number."""
    page = get(client, alter(parts, asked(), state=State.RUNNING, rows_written=7_000)).text
    assert 'max="100"></progress>' in page
    assert "7,000 rows" in page


@ON_SQLITE
def test_programs_are_told_everything(client: Client, parts: Deployment) -> None:
    """The JSON has the state, the progress, the file and where to get it; of a failure the reason."""
    ready = fresh(parts, granted())
    said = told(client, ready)
    assert said["state"] == "ready"
    assert (said["size"], said["sha256"], said["filename"]) == (len(CONTENTS), ready.sha256, "numbers.csv")
    assert said["progress"] == 1.0
    assert said["expires_at"] is not None
    assert client.get(said["download_url"], environ_overrides={"REMOTE_USER": REQUESTER}).get_data() == CONTENTS
    failed = alter(parts, asked(), state=State.FAILED, error_code="too_many_rows", error_message="Too many.")
    assert told(client, failed)["error"] == {"code": "too_many_rows", "message": "Too many."}
    assert told(client, failed)["download_url"] is None


def test_a_file_in_parts_is_one_file(client: Client, parts: Deployment) -> None:
    """While many workers write it, the page shows the rows of all together and how long they take, and can cancel."""
    row = alter(parts, halfway(parts, asked()), started_at=in_seconds(-60))
    page = get(client, row).text
    assert (">Your file is being made</h1>" in page, "45 of 90 rows · about 1 minute left" in page) == (True, True), (
        page
    )
    assert ('max="100" value="50"' in page, f"{status_links.path_of(row)}/cancel" in page) == (True, True)
    said = told(client, row)
    assert (said["state"], said["rows_written"], said["progress"]) == ("running", 45, 0.5)
    assert said["parts"] == {"done": 1, "total": 3}
    assert said["seconds_left"] == pytest.approx(60, abs=5)
    listed = client.get("/requests", headers=JSON, environ_overrides={"REMOTE_USER": REQUESTER}).get_data()
    assert json.loads(listed)["requests"][0]["rows_written"] == 45
    assert told(client, asked(idempotency_key="whole"))["parts"] is None
    joining = alter(parts, row, parts_done=3, rows_written=90, dispatch_at=in_seconds(60))
    page = get(client, joining).text
    assert (">Your file is almost ready</h1>" in page, "/cancel" in page, " left" in page) == (True, True, False)
    assert told(client, joining)["progress"] == 1.0


def test_the_queue_and_the_estimate(client: Client, parts: Deployment) -> None:
    """Who waits is told their place among those of the same type, and how long it may take by the last ones."""
    for _ in range(3):
        made = alter(parts, finished(), started_at=in_seconds(-120), finished_at=in_seconds(0), requester="x")
        assert made.state == State.READY
    first, second = asked(), asked(idempotency_key="another")
    toolbox.add_request({}, "numbers", REQUESTER)  # waits for somebody's hand, and in no queue
    assert told(client, first)["queue_position"] == 1
    assert told(client, second)["queue_position"] == 2
    assert 110 < told(client, first)["seconds_left"] < 130
    assert 230 < told(client, second)["seconds_left"] < 250
    page = get(client, second).text
    assert "It is number 2 in the queue. It should be ready in about 4 minutes." in page
    assert "It is the next one." in get(client, first).text
    running = alter(parts, first, state=State.RUNNING, rows_total=400, rows_written=100, started_at=in_seconds(-60))
    assert 170 < told(client, running)["seconds_left"] < 190
    assert "about 3 minutes left" in get(client, running).text
    assert told(client, running)["queue_position"] is None


# -- for whom ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("headers", [{}, JSON])
@ON_SQLITE
def test_nobody_else_sees_it(client: Client, parts: Deployment, headers: dict[str, str]) -> None:
    """The page asks for the same requester as the file."""
    for row in (asked(), granted()):
        assert get(client, row, STRANGER, headers=headers).status_code == 403
        assert get(client, row, None, headers=headers).status_code == 401


@ON_SQLITE
def test_a_file_tokens_and_a_status_tokens_uses_differ(client: Client, parts: Deployment) -> None:
    """No token opens what it was not made for, whoever signs it."""
    ready = finished()
    environ = {"REMOTE_USER": REQUESTER}
    signed = [Signer(KEY, f"bgtasks.{use}") for use in ("status", "download")]
    others = (signed[0].dump(["file", ready.id, "", None]), signed[1].dump(["status", ready.id, "", None]))
    for token in (toolbox.create_token(ready), *others):
        assert client.get(f"/requests/{token}", environ_overrides=environ).status_code == 400
    assert client.get(f"/files/{status_links.token_of(ready)}", environ_overrides=environ).status_code == 400


@ON_SQLITE
def test_a_forged_or_outlived_token(client: Client, parts: Deployment) -> None:
    """A page whose address was changed is a bad request; one whose row is gone is not found."""
    row = granted()
    token = status_links.token_of(row)
    no_id = Signer(KEY, "bgtasks.status").dump(["status", "no id", "", None])
    for forged in (token[1:], token + "A", token[:-1] + ("A" if token[-1] != "A" else "B"), "%00", "x" * 5000, no_id):
        assert client.get(f"/requests/{forged}", environ_overrides={"REMOTE_USER": REQUESTER}).status_code == 400
    assert toolbox.delete(row)
    assert get(client, row).status_code == 404


@ON_SQLITE
def test_a_status_page_lasts_as_long_as_its_row(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever comes back after weeks is told that the file has expired, and not that the address is wrong."""
    clock = Clock(monkeypatch)
    row = asked()
    path = status_links.path_of(row)
    clock.forward(90 * 86_400)
    assert client.get(path, environ_overrides={"REMOTE_USER": REQUESTER}).status_code == 200


# -- the link on it ----------------------------------------------------------------------------------


@ON_SQLITE
def test_looking_prolongs_nothing(client: Client, parts: Deployment) -> None:
    """The link on the page lives no longer than the file: its expiry stays where it was."""
    ready = alter(parts, granted(), expires_at=in_seconds(60))
    for _ in range(3):
        url = told(client, ready)["download_url"]
    assert fresh(parts, ready).expires_at == ready.expires_at
    alter(parts, ready, expires_at=in_seconds(-1))
    assert client.get(url, environ_overrides={"REMOTE_USER": REQUESTER}).status_code == 410
    assert told(client, ready)["download_url"] is None


@ON_SQLITE
def test_a_withdrawn_link_does_not_come_back(client: Client, parts: Deployment) -> None:
    """After a revocation the page has no link, and makes no new one."""
    ready = granted()
    url = told(client, ready)["download_url"]
    assert toolbox.revoke(ready)
    assert told(client, ready)["download_url"] is None
    assert fresh(parts, ready).token_id is None
    assert client.get(url, environ_overrides={"REMOTE_USER": REQUESTER}).status_code == 410


class Elsewhere(Numbers):
    """Files with a link of the application's own."""

    file_type = "elsewhere"
    download_url = "https://app.example.com/pick-up?t=%(token)s"
    signer = Signer(KEY, "elsewhere")
    token_data = {"page": 3}


@ON_SQLITE
def test_the_link_is_the_file_types(client: Client, parts: Deployment) -> None:
    """Where its files are picked up, who signs for them and what a link says holds for the page too."""
    registry.register(Elsewhere)
    ready = finished(file_type="elsewhere")
    toolbox.create_token(ready)
    where, _, token = told(client, ready)["download_url"].partition("?t=")
    assert where == "https://app.example.com/pick-up"
    assert toolbox.decode(token, signer=Elsewhere.signer)[1] == {"page": 3}


@ON_SQLITE
def test_no_link_that_nobody_could_follow(parts: Deployment) -> None:
    """There is none without a grant, and none to a file of nobody's that is for its requester only."""
    assert links.url(finished(), "") is None
    nobodys = finished(requester=None)
    toolbox.create_general_token(nobodys)
    assert links.url(fresh(parts, nobodys), "") is None


@pytest.mark.parametrize("conf", [{"bgtasks_base_url": None}], indirect=True)
@pytest.mark.parametrize("file_type", ["numbers", "unheard_of"])
@ON_SQLITE
def test_without_a_base_url_links_stay_where_the_page_is(client: Client, parts: Deployment, file_type: str) -> None:
    """A deployment that mails nothing needs no base URL: its links are paths below the mount point."""
    ready = finished(file_type=file_type)
    toolbox.create_token(ready)
    environ = {"REMOTE_USER": REQUESTER, "SCRIPT_NAME": "/exports", "PATH_INFO": status_links.path_of(ready)}
    said = json.loads(client.get("/", environ_overrides=environ, headers=JSON).get_data())
    assert said["download_url"].startswith("/exports/files/")
    path = said["download_url"].removeprefix("/exports")
    assert client.get(path, environ_overrides={"REMOTE_USER": REQUESTER}).get_data() == CONTENTS


class Anyones(Numbers):
    """Files for whoever has the link."""

    file_type = "anyones"
    requester_only = False


@ON_SQLITE
def test_a_file_for_anybody_has_a_page_for_anybody(client: Client, parts: Deployment) -> None:
    """Without a requester to look for, the address alone opens the page, and its link the file; it is nobody's own."""
    registry.register(Anyones)
    for requester in (None, REQUESTER):
        ready = finished(file_type="anyones", requester=requester)
        toolbox.create_general_token(ready)
        said = json.loads(get(client, ready, None, headers=JSON).get_data())
        assert client.get(said["download_url"]).get_data() == CONTENTS
        with pytest.raises(BadToken):
            toolbox.decode(said["download_url"].rpartition("/")[2], require_requester=True)


# -- how it is sent ----------------------------------------------------------------------------------


@pytest.mark.parametrize("headers", [{}, JSON])
@ON_SQLITE
def test_the_page_is_guarded(client: Client, parts: Deployment, headers: dict[str, str]) -> None:
    """No cache keeps it, nobody frames it, no address leaves it, and its policy runs our one script only."""
    first, second = (get(client, asked(idempotency_key=str(key)), headers=headers) for key in (1, 2))
    for name, value in (
        ("Cache-Control", "private, no-store"),
        ("Referrer-Policy", "no-referrer"),
        ("X-Content-Type-Options", "nosniff"),
    ):
        assert first.headers[name] == value
    policy = first.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    if not headers:
        nonce = policy.partition("'nonce-")[2].partition("'")[0]
        assert len(nonce) >= 16
        assert f'<script nonce="{nonce}">' in first.text
        assert nonce not in second.headers["Content-Security-Policy"]


@ON_SQLITE
def test_what_was_typed_is_shown_as_text(client: Client, parts: Deployment) -> None:
    """A description, a name and an address can't become markup."""
    hostile = "</p><script>alert(1)</script>{{ 7 * 7 }}"
    row = toolbox.add_request(
        {}, "numbers", REQUESTER, description=hostile, filename="<b>.csv", requester_email="a<b>@example.com",
        schedule=True,
    )  # fmt: skip
    page = get(client, row).text
    assert "<script>alert" not in page
    assert "&lt;script&gt;" in page
    assert "49" not in page.partition("<main")[2].partition("Asked for")[0]


@ON_SQLITE
def test_head(client: Client, parts: Deployment) -> None:
    """HEAD tells whether the page is there."""
    response = client.head(status_links.path_of(asked()), environ_overrides={"REMOTE_USER": REQUESTER})
    assert (response.status_code, response.get_data()) == (200, b"")


def test_our_script_and_style_are_small(client: Client, parts: Deployment) -> None:
    """All that a browser loads for a status page, script and style included, is under 10 kB."""
    assert len(get(client, asked()).get_data()) < 10_000


@ON_SQLITE
def test_what_programs_are_told_is_so(client: Client, parts: Deployment) -> None:
    """No more than all of the rows, all of them of a whole file, no error but a failure's, and an end that is one."""
    grown = alter(parts, asked(), state=State.RUNNING, rows_total=4, rows_written=5, error_code="x", error_message="x")
    assert (told(client, grown)["progress"], told(client, grown)["error"]) == (1.0, None)
    assert told(client, alter(parts, asked(), state=State.READY))["progress"] == 1.0
    assert told(client, alter(parts, granted(), expires_at=in_seconds(-1)))["state"] == "expired"


@ON_SQLITE
def test_the_page_speaks_as_the_request_was_asked(client: Client, parts: Deployment) -> None:
    """In its requester's language, whatever this browser asks for; with the page's own where none is known."""
    for language, expected in (("de", "de"), (None, "fr")):
        page = get(client, asked(language=language, idempotency_key=expected), headers={"Accept-Language": "fr"})
        assert page.headers["Content-Language"] == expected
