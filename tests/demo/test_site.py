"""The development site's own pages."""

from __future__ import annotations

import re
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from markupsafe import escape
from pydantic import BaseModel
from werkzeug.datastructures import MultiDict
from werkzeug.test import Client, TestResponse

from bgtasks import FileType, registry, toolbox
from bgtasks.criteria import QueryCriteria
from bgtasks.deployment import Deployment
from bgtasks.dev import forms, people
from tests.support.file_types import Numbers
from tests.support.handmade import REQUESTER, finished

MARKUP = "<script>alert('&')</script>\""
ELSEWHERE = (
    "https://example.net/",
    "//example.net/",
    "/\\example.net/",
    "\\\\example.net",
    "/\t/example.net",
    "/a\r\nSet-Cookie: x=1",
    "javascript:alert(1)",
    "",
    "mails",
)


def log_in(client: Client, name: str = REQUESTER, back: str = "/") -> TestResponse:
    """Send the login form."""
    return client.post("/login", data={"name": name, "next": back})


# -- forms -------------------------------------------------------------------------------------------


def test_a_form_is_served_for_every_registered_type(client: Client) -> None:
    """Whoever opens the site sees them all, before any login; a type with two names has one form."""
    registry.register(Numbers, ["numbers", "old_numbers"])
    page = client.get("/")
    assert page.status_code == 200
    assert re.findall(r'action="(/ask/\w+)"', page.text) == ["/ask/numbers"]
    assert "Some numbers" in page.text
    assert re.search(r'<input type="date" id="numbers-since" name="since"', page.text)
    assert re.search(r'<input type="number" id="numbers-count" name="count" value="3"', page.text)


def test_a_query_fills_the_form(client: Client) -> None:
    """What was chosen can be bookmarked; it is escaped."""
    page = client.get("/ask/numbers", query_string={"count": MARKUP, "since": "2026-01-02"})
    assert 'value="2026-01-02"' in page.text
    assert 'name="count" value="3"' in client.get("/ask/numbers?since=2026-01-02").text, "the default of another field"
    assert MARKUP not in page.text
    assert "&lt;script&gt;alert(&#39;&amp;&#39;)&lt;/script&gt;&#34;" in page.text


def test_a_large_file_leads_to_its_status_page(client: Client, parts: Deployment) -> None:
    """A browser is sent there, on the host where it is; the row is its visitor's, in the browser's zone."""
    log_in(client)
    client.set_cookie("tz", "Europe/Zurich")
    answer = client.post("/ask/numbers", data={"count": "2", "format": "xlsx"})
    assert answer.status_code == 303
    assert answer.headers["Location"].startswith("/requests/")
    [row] = parts.requests.of(REQUESTER, 2)
    assert (row.criteria, row.format, row.timezone) == ({"count": 2, "since": None}, "xlsx", "Europe/Zurich")
    status = client.get(answer.headers["Location"])
    assert status.status_code == 200
    assert '<a href="/mails"' in status.text, "the library's pages have the site's navigation"


def test_programs_ask_with_http_basic(client: Client, parts: Deployment) -> None:
    """JSON in, JSON out: 202 with the status page's address, or problem details with the fields' errors."""
    program: dict[str, Any] = {"auth": ("robot", ""), "headers": {"Accept": "application/json"}}
    answer = client.post("/ask/numbers", json={"count": 2}, **program)
    assert (answer.status_code, answer.json["state"]) == (202, "pending")
    assert [row.requester for row in parts.requests.of("robot", 2)] == ["robot"]
    answer = client.post("/ask/numbers", json={"count": "many"}, **program)
    assert (answer.status_code, answer.mimetype) == (400, "application/problem+json")
    assert list(answer.json["errors"]) == ["count"]


def test_what_is_wrong_is_said_beside_its_field(client: Client) -> None:
    """Status 400; what was typed is kept, escaped, and the sentence belongs to the field."""
    log_in(client)
    page = client.post("/ask/numbers", data={"count": MARKUP, "since": "2026-01-02"})
    assert page.status_code == 400
    assert 'aria-describedby="numbers-count-fault" aria-invalid="true"' in page.text
    assert re.search(r'<span class="fault" id="numbers-count-fault">[A-Z]', page.text)
    assert 'value="2026-01-02"' in page.text
    assert MARKUP not in page.text


class Refusing(Numbers):
    """Refuses what a form can't say."""

    file_type = "refusing"
    max_rows = 2
    max_active_per_requester = 1

    def evaluate_dataset(self, dataset: Any, http_request: Any) -> None:
        dataset.delay = dataset.criteria.count < 3


def test_other_refusals_are_a_sentence_above_the_form(client: Client) -> None:
    """Too many rows, too many requests, an unknown format: the form again, with the status that programs get."""
    registry.register(Refusing)
    log_in(client)
    page = client.post("/ask/refusing", data={"count": "3"})
    assert page.status_code == 400
    assert re.search(r'role="alert".*There are more rows than this file may have \(2\)', page.text)
    assert client.post("/ask/refusing", data={"count": "1"}).status_code == 303
    page = client.post("/ask/refusing", data={"count": "1", "since": "2026-01-02"})
    assert page.status_code == 429
    assert re.search(r'role="alert".*No more than 1 of these files', page.text)
    assert 'value="2026-01-02"' in page.text
    page = client.post("/ask/numbers", data={"format": MARKUP})
    assert page.status_code == 400
    assert MARKUP not in page.text


def test_a_form_without_its_cookie_changes_nothing(client: Client, parts: Deployment) -> None:
    """What another site's form sends comes without the cookie: nothing is stored, and the way leads to the login."""
    answer = client.post("/ask/numbers", data={"count": "2"})
    assert answer.status_code == 303
    assert answer.headers["Location"] == "/login?next=%2Fask%2Fnumbers%3Fcount%3D2"
    assert list(parts.requests.of("", 2)) == []


class Anything(FileType):
    """Takes what it is given."""

    file_type = "anything"
    criteria_class = QueryCriteria

    def get_items(self, criteria: Any) -> Any:
        return [(criteria.raw,)]


class Colour:
    """A type that says nothing of JSON."""


class Painted(Anything):
    """Has a field that no schema can describe."""

    file_type = "painted"

    class Criteria(BaseModel, arbitrary_types_allowed=True):
        colour: Colour | None = None
        size: int = 1

    criteria_class = Criteria


def test_criteria_that_no_schema_describes_have_text_fields(app: Any) -> None:
    """One for each name in the query, where any are taken; else one for each field of the model."""
    given = MultiDict([("carrier", "UA"), ("colour", "red")])
    anything, painted = forms.form(Anything(), given), forms.form(Painted(), given)
    assert (anything.is_open, painted.is_open) == (True, False)
    assert [(field.name, field.kind, field.value) for field in anything.fields] == [
        ("carrier", "text", "UA"),
        ("colour", "text", "red"),
    ]
    assert [(field.name, field.kind, field.value) for field in painted.fields] == [
        ("colour", "text", "red"),
        ("size", "text", ""),
    ]


def test_an_error_of_no_field_concerns_the_whole(app: Any) -> None:
    """An error within a list is that field's; one of the whole, or of a field that is not shown, stands above."""
    faults = {"count.2": ["a"], "": ["b"], "hidden": ["c"]}
    made = forms.form(Numbers(), None, faults)
    assert [field.faults for field in made.fields if field.name == "count"] == [("a",)]
    assert made.faults == ["b", "c"]


class Chosen(Numbers):
    """Columns to choose from."""

    file_type = "chosen"
    columns = {"number": "No. <b>", "name": "Name"}


def boxes(page: TestResponse) -> dict[str, bool]:
    """The columns of a form, and whether they are ticked."""
    found = re.findall(r'<input type="checkbox" name="columns" value="(\w+)"( checked)?>', page.text)
    return {name: bool(ticked) for name, ticked in found}


def test_columns_are_boxes_to_tick(client: Client, parts: Deployment) -> None:
    """By their headings, which are escaped; all of them at first, and then those that were chosen."""
    registry.register(Chosen)
    page = client.get("/ask/chosen")
    assert boxes(page) == {"number": True, "name": True}
    assert "No. &lt;b&gt;</label>" in page.text
    assert boxes(client.get("/ask/numbers")) == {}
    assert boxes(client.get("/ask/chosen?columns=name")) == {"number": False, "name": True}
    assert boxes(client.get("/ask/chosen?columns=name,number")) == {"number": True, "name": True}
    log_in(client)
    assert client.post("/ask/chosen", data={"count": "1", "columns": ["name"]}).status_code == 303
    [row] = parts.requests.of(REQUESTER, 1)
    assert row.columns == ["name"]


def test_a_wrong_column_is_said_beside_the_boxes(client: Client) -> None:
    """They are in sight then, ticked as they were."""
    registry.register(Chosen)
    log_in(client)
    page = client.post("/ask/chosen", data={"columns": ["name", MARKUP]})
    assert page.status_code == 400
    assert "<details open>" in page.text
    assert re.search(r'id="chosen-columns-fault">There is no column', page.text)
    assert boxes(page) == {"number": False, "name": True}
    assert MARKUP not in page.text


class Open(Anything):
    """Takes what it is given, but for the columns."""

    file_type = "open"
    columns = {"raw": "Raw"}


def test_the_columns_of_an_open_form_are_no_field_of_it(app: Any) -> None:
    """Nor is the format."""
    given = MultiDict([("x", "1"), ("columns", "raw"), ("format", "csv")])
    assert [field.name for field in forms.form(Open(), given).fields] == ["x", "columns"]


# -- the login ---------------------------------------------------------------------------------------


def test_a_login_takes_any_name_and_leads_back(client: Client) -> None:
    """The cookie is the browser's alone, and other sites' forms come without it."""
    answer = log_in(client, " Zoë Ångström ", "/requests?after=x")
    assert (answer.status_code, answer.headers["Location"]) == (303, "/requests?after=x")
    assert "HttpOnly" in answer.headers["Set-Cookie"]
    assert "SameSite=Lax" in answer.headers["Set-Cookie"]
    assert "<strong>Zoë Ångström</strong>" in client.get("/").text
    client.post("/logout")
    assert "Zoë" not in client.get("/").text


@pytest.mark.parametrize("back", ELSEWHERE)
def test_a_login_never_leads_elsewhere(client: Client, back: str) -> None:
    """What is no path of this site becomes the first page, in the form and after it."""
    assert people.local(back) == "/"
    assert '<input type="hidden" name="next" value="/">' in client.get("/login", query_string={"next": back}).text
    assert log_in(client, back=back).headers["Location"] == "/"


@pytest.mark.parametrize(("origin", "status"), [("cross-site", 403), ("same-site", 403), ("same-origin", 303)])
@pytest.mark.parametrize("path", ["/login", "/logout", "/ask/numbers"])
def test_no_other_site_logs_anybody_in_or_out(client: Client, path: str, origin: str, status: int) -> None:
    """The login's form comes without a cookie from anywhere; the browser says which site has sent it."""
    answer = client.post(path, data={"name": "eve"}, headers={"Sec-Fetch-Site": origin})
    assert answer.status_code == status
    assert ("Set-Cookie" in answer.headers) == (status == 303 and path != "/ask/numbers")


@pytest.mark.parametrize("name", ["", "  ", "a\r\nb", "a\0b", "x" * 255])
def test_a_name_must_be_one(client: Client, name: str) -> None:
    """The form again, with the sentence beside the field, and no cookie."""
    answer = log_in(client, name)
    assert answer.status_code == 400
    assert 'aria-describedby="name-fault"' in answer.text
    assert "Set-Cookie" not in answer.headers


@pytest.mark.parametrize("name", ["a\r\nb", "x" * 255])
def test_a_cookie_of_ones_own_is_no_way_around_that(client: Client, name: str) -> None:
    """Whoever writes such a name into the cookie is nobody."""
    client.set_cookie(people.COOKIE, name)
    assert client.post("/ask/numbers", data={"count": "2"}).headers["Location"].startswith("/login?")


def test_a_name_of_markup_is_text(client: Client) -> None:
    """On every page that shows it."""
    log_in(client, MARKUP)
    for path in ("/", "/login", "/requests", "/mails", "/nothing"):
        page = client.get(path).text
        assert MARKUP not in page
        assert "&lt;script&gt;alert" in page


def test_logging_out_is_a_form(client: Client) -> None:
    """A link that somebody follows, or a picture, changes nothing."""
    answer = client.get("/logout")
    assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")


# -- mails -------------------------------------------------------------------------------------------


def post(root: Path, number: int, subject: str, html: str | None = None) -> None:
    """Leave a mail where the mail server does."""
    mail = EmailMessage()
    mail["Subject"], mail["To"] = subject, "ada@example.com"
    mail.set_content(f"Get it: http://127.0.0.1:1/files/{number} {MARKUP}\n")
    if html is not None:
        mail.add_alternative(html, subtype="html")
    (root / "var" / "mail").mkdir(parents=True, exist_ok=True)
    (root / "var" / "mail" / f"{number}.eml").write_bytes(mail.as_bytes())


def test_mails_are_listed_newest_first(client: Client, root: Path) -> None:
    """With links to each, and their times in the browser's zone; a file that is no mail is left alone."""
    assert "No mail has come yet." in client.get("/mails").text
    for number in (2, 10, 9):
        post(root, number * 10**9, f"The {number}th")
    (root / "var" / "mail" / "notes.eml").write_text("x")
    assert re.findall(r'href="(/mails/\d+)">(.+?)<', client.get("/mails").text) == [
        ("/mails/10000000000", "The 10th"),
        ("/mails/9000000000", "The 9th"),
        ("/mails/2000000000", "The 2th"),
    ]
    client.set_cookie("tz", "Asia/Kolkata")
    assert "5:30" in client.get("/mails").text


def test_a_mail_is_shown_and_can_do_nothing(client: Client, root: Path) -> None:
    """Its text is escaped, its links are links, and its HTML is in a sandbox, without the site's navigation."""
    html = f"<html><head><title>x</title></head><body>{MARKUP}<main><a href='http://127.0.0.1:1/files/x'>it</a></main>"
    post(root, 1, MARKUP, html)
    page = client.get("/mails/1")
    assert MARKUP not in page.text
    assert '<a href="http://127.0.0.1:1/files/1"' in page.text
    assert 'sandbox="allow-top-navigation-by-user-activation"' in page.text
    frame = client.get("/mails/1/html")
    assert frame.text.strip() == html.replace("<head>", '<head><base target="_top">')
    policy = frame.headers["Content-Security-Policy"]
    assert policy.startswith("sandbox allow-top-navigation-by-user-activation; default-src 'none'")
    assert "allow-scripts" not in policy


def test_a_mail_of_plain_text_has_no_frame(client: Client, root: Path) -> None:
    """There is nothing to show in one."""
    post(root, 1, "Plain")
    assert "<iframe" not in client.get("/mails/1").text


@pytest.mark.parametrize(
    "path", ["/mails/7", "/mails/7/html", "/mails/..", "/mails/%2e%2e%2fsecret_key", "/ask/nothing"]
)
def test_what_is_not_there(client: Client, path: str) -> None:
    """404, in a page of ours."""
    answer = client.get(path)
    assert answer.status_code == 404
    assert "<h1>" in answer.text


# -- the library's own pages -------------------------------------------------------------------------


def test_a_file_is_left_as_it_is(client: Client, parts: Deployment) -> None:
    """The navigation is for pages: a file of HTML has its own bytes."""
    contents = b"<html><head></head><body><main>mine</main></body></html>"
    token = toolbox.create_token(finished(contents, "page.html", content_type="text/html"))
    log_in(client)
    answer = client.get(f"/files/{token}")
    assert answer.mimetype == "text/html"
    assert answer.data == contents


def test_a_refusal_has_the_navigation(client: Client, parts: Deployment) -> None:
    """Whoever is refused can become somebody else, and come back."""
    token = toolbox.create_token(finished())
    log_in(client, "mallory@example.com")
    answer = client.get(f"/files/{token}")
    assert answer.status_code == 403
    assert f'href="/login?next=/files/{token}"' in answer.text


@pytest.mark.parametrize("description", [MARKUP, "100% done", "%(x)s %d"])
def test_a_description_is_text(client: Client, parts: Deployment, description: str) -> None:
    """It may be anybody's: it is neither markup nor a format, in the list and on the status page."""
    toolbox.add_request(requester=REQUESTER, file_type="numbers", description=description)
    log_in(client)
    listed = client.get("/requests")
    [path] = re.findall(r'<td><a href="([^"]+)"', listed.text)
    for page in (listed, client.get(path)):
        assert page.status_code == 200
        assert str(escape(description)) in page.text
        assert MARKUP not in page.text
