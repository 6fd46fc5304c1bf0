"""bgtasks as it is used in each framework: its example project, run for real, and visited over HTTP."""

from __future__ import annotations

import http.client
from email.message import EmailMessage
from typing import Any
from urllib.parse import urlencode

import pytest

from bgtasks.stack import Mailbox, wait_for
from tests.hosts.sites import ALL, BROKEN, DJANGO, FASTAPI, FEW, MANY, WIDE, Site, lines
from tests.hosts.visitor import DATA, Answer, Visitor

pytestmark = pytest.mark.parametrize("site", ALL, indirect=True, ids=str)

#: What a web server may grow by while a file passes through it that is more than twice as big. Bytes.
ROOM = 40_000_000


def ready(site: Site, ada: Visitor, asked: Answer) -> Any:
    """What is said of a request that was asked for, once it is ready."""
    assert asked.status == 202, asked.text
    where = asked.headers["Location"]
    assert where.startswith(f"{site.url}/exports/requests/")

    def done() -> Any:
        status = ada.get(where, DATA)
        assert status.status == 200, status.text
        return status.data if status.data["download_url"] else None

    return wait_for(done, "the file is not ready", 30)


def test_what_is_wrong_is_said_beside_the_field(site: Site) -> None:
    """The view gets the errors by field, and shows its form again with what was given."""
    page = site.ask(site.visitor("ada"), {**FEW, "from_date": "<yesterday>"})
    assert page.status == 400
    assert page.error_of("from_date")
    assert not page.error_of("until_date")
    assert "&lt;yesterday&gt;" in page.text
    assert "<yesterday>" not in page.text


def test_a_small_file_comes_at_once(site: Site) -> None:
    """With its name, its type and its bytes, and nothing that a cache would keep."""
    answer = site.ask(site.visitor("ada"), FEW)
    assert answer.status == 200
    assert answer.body == lines(site.kind, "2013-01-01", 1, 3)
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert answer.headers["Content-Disposition"].startswith("attachment; filename=")
    assert answer.headers["Cache-Control"] == "private, no-store"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_a_large_file_is_picked_up_later(site: Site, post_office: Mailbox) -> None:
    """Asked for in the framework, made by a worker, told by mail, downloaded from what is mounted or a view."""
    ada = site.visitor("ada")
    link = ready(site, ada, site.ask(ada, MANY))["download_url"]
    token = link.rpartition("/")[2]
    expected = lines(site.kind, "2013-02-01", 4, 2000)
    for url in (f"/exports/files/{token}", f"/own/{token}"):
        answer = ada.get(url)
        assert (answer.status, answer.body) == (200, expected)
        assert answer.headers["Content-Length"] == str(len(expected))
        assert answer.headers["ETag"]
    assert ada.head(f"/exports/files/{token}").headers["Content-Length"] == str(len(expected))
    assert ada.get(f"/own/{token}", Range="bytes=0-1").body == expected[:2]
    wait_for(lambda: any(_tells_ada(mail, site) for mail in list(post_office.mails)), "no mail has come", 10)


def _tells_ada(mail: EmailMessage, site: Site) -> bool:
    return mail["To"] == "ada@example.com" and f"{site.url}/exports/files/" in str(mail)


def test_nobody_else_gets_it(site: Site) -> None:
    """Somebody else is refused, an anonymous visitor must log in, and a token that was tampered with is none."""
    ada = site.visitor("ada")
    token = ready(site, ada, site.ask(ada, MANY))["download_url"].rpartition("/")[2]
    grace, nobody = site.visitor("grace"), site.visitor()
    for url in (f"/exports/files/{token}", f"/own/{token}"):
        assert grace.get(url).status == 403
        anonymous = nobody.get(url, DATA)
        assert anonymous.status == 401
        assert anonymous.headers["WWW-Authenticate"]
        assert anonymous.headers["Content-Type"] == "application/problem+json"
        assert ada.get(f"{url}x").status == 400
        assert ada.get(f"/exports/files/{'0' * 20}").status == 400
        person = nobody.get(url)
        if site.kind is FASTAPI:  # which has no page for it
            assert person.status == 401
        else:
            assert person.status == 302
            assert person.headers["Location"].endswith(f"?next={url.replace('/', '%2F')}")


def test_the_status_pages_work_where_they_are_mounted(site: Site) -> None:
    """The list links to the status, whose form deletes the file; all of it below the mount."""
    ada = site.visitor("ada")
    status_url = site.ask(ada, MANY).headers["Location"]
    assert 'href="/exports/requests/' in ada.get("/exports/requests").text
    assert 'href="/exports/requests"' in ada.get(status_url).text
    form = wait_for(lambda: ada.get(status_url, DATA).data["actions"].get("delete"), "the file is not ready", 30)
    assert form["url"].startswith("/exports/requests/")
    assert ada.post(form["url"], {"csrf_token": "made up"}).status == 403
    assert ada.post(form["url"], {"csrf_token": "x" * 100_000}).status == 413
    gone = ada.post(form["url"], {"csrf_token": form["csrf_token"]})
    assert (gone.status, gone.headers["Location"]) == (303, "/exports/requests")
    assert ada.get(status_url).status == 404
    assert site.visitor().get("/exports/nothing").status == 404


def test_a_format_that_there_is_not_is_the_visitors_fault(site: Site) -> None:
    """A view that looks for nothing but the form's errors answers 400, and no 500."""
    assert site.ask(site.visitor("ada"), FEW, format="docx").status == 400


def test_a_file_that_fails_midway_does_not_look_whole(site: Site) -> None:
    """The connection breaks off before the end, whatever the server."""
    ada = site.visitor("ada")
    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
        site.ask(ada, BROKEN)


def test_a_large_file_passes_through_a_small_memory(site: Site) -> None:
    """The server never has the file: it grows by a few chunks, whatever the size."""
    ada = site.visitor("ada")
    site.ask(ada, FEW)
    before, most, size = site.memory(), 0, 0
    with ada.opened(*_form(site, ada)) as response:
        while chunk := response.read(1024 * 1024):
            size += len(chunk)
            most = max(most, site.memory())
    assert size > 2 * ROOM
    assert most - before < ROOM


def _form(site: Site, ada: Visitor) -> tuple[Any, ...]:
    if site.kind not in DJANGO:
        return "GET", f"/?{urlencode(WIDE)}"
    fields = {**WIDE, "csrfmiddlewaretoken": ada.get("/").field("csrfmiddlewaretoken")}
    return "POST", "/", urlencode(fields).encode(), {"Content-Type": "application/x-www-form-urlencoded"}
