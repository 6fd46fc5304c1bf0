"""A large file: from the form to the status page, and to the file."""

from __future__ import annotations

import csv
import hashlib
import io
import itertools
import re
from collections.abc import Callable

import pytest

from tests.browser.conftest import Site
from tests.browser.people import Person

Visit = Callable[..., Person]
READY = 60_000  # milliseconds

_numbers = itertools.count(1)


@pytest.fixture
def gate() -> str:
    """The name of a gate that nobody else has opened."""
    return f"gate{next(_numbers)}"


def test_a_large_range_is_followed_and_downloaded(visit: Visit, site: Site) -> None:
    """The status page becomes ready by itself; the download has the table's rows, and the row's checksum."""
    person = visit()
    person.ask("flights", from_date="2013-01-01", until_date="2013-03-31", carrier="UA")
    page = person.page
    assert "/requests/" in page.url
    page.evaluate("window.isTheSame = true")
    page.get_by_role("heading", name="Your file is ready").wait_for(timeout=READY)
    assert page.evaluate("window.isTheSame"), "the page was loaded again"
    name, content = person.download(lambda: page.get_by_role("link", name="Download").click())
    counted = site.count(
        "SELECT count(*) FROM flights WHERE date BETWEEN '2013-01-01' AND '2013-03-31' AND carrier = 'UA'"
    )
    rows = sum(1 for _ in csv.reader(io.StringIO(content.decode(), newline=""))) - 1
    sha256, size = site.row("flights", "sha256", "size")
    assert (name, rows) == ("flights.csv", counted)
    assert (hashlib.sha256(content).hexdigest(), len(content)) == (sha256, size)


def test_progress_moves_without_loading_the_page_again(visit: Visit, site: Site, gate: str) -> None:
    """The bar and its text follow the rows, the live region says the quarters, and the end is announced."""
    person = visit()
    person.ask("gated", gate=gate)
    page = person.page
    page.evaluate("window.isTheSame = true")
    bar = page.get_by_role("progressbar", name="Your file is being made")
    for rows, percent in ((4000, 33), (6000, 50)):
        site.open_gate(gate, rows)
        page.locator("#progress").get_by_text(f"{rows:,} of 12,000 rows").wait_for()
        assert bar.evaluate("it => it.value") == percent
        assert str(percent) in page.title()
    assert page.locator("[aria-live=polite]").inner_text().startswith("6,000 of 12,000 rows")
    person.photograph("making")
    site.open_gate(gate, 12_000)
    page.get_by_role("heading", name="Your file is ready").wait_for(timeout=READY)
    assert page.locator("[aria-live=polite]").inner_text() == "Your file is ready"
    assert page.evaluate("window.isTheSame"), "the page was loaded again"
    person.photograph("ready")


def test_a_request_waits_for_its_turn(visit: Visit, site: Site, gate: str) -> None:
    """While the worker's two slots are taken, the page says which place in the queue the request has."""
    person = visit()
    page = person.page
    for _ in range(4):
        person.ask("gated", gate=gate)
    page.get_by_text("It is number 2 in the queue.").wait_for()
    person.photograph("waiting")
    site.open_gate(gate, 12_000)
    page.get_by_role("heading", name="Your file is ready").wait_for(timeout=READY)


def test_a_file_that_can_not_be_made(visit: Visit) -> None:
    """The page says so, with what to do, and reveals nothing of the inside."""
    person = visit()
    person.ask("failing")
    page = person.page
    page.get_by_role("heading", name="Your file could not be made").wait_for()
    said = page.locator("main").inner_text()
    assert "Something went wrong while the file was made." in said
    assert "secret" not in said
    person.photograph("failed")


def test_a_request_is_cancelled_by_its_button(visit: Visit, site: Site, gate: str) -> None:
    """The row is cancelled, the page says so, and offers no download."""
    person = visit()
    person.ask("gated", gate=gate)
    page = person.page
    page.get_by_role("button", name="Cancel").click()
    page.get_by_role("heading", name="This file was cancelled").wait_for()
    assert site.row("gated", "state") == ("cancelled",)
    assert page.get_by_role("link", name="Download").count() == 0
    person.photograph("cancelled")
    site.open_gate(gate, 12_000)  # for its worker


def test_another_person_is_refused(visit: Visit, gate: str, site: Site) -> None:
    """Somebody else gets 403 on the status page, is told why, and can become the right person there."""
    person = visit()
    person.ask("gated", gate=gate)
    page = person.page
    address = page.url
    person.log_in("mallory@example.com")
    answer = page.goto(address)
    assert answer.status == 403
    assert "somebody else" in page.locator("main").inner_text()
    person.photograph("refused")
    page.get_by_role("link", name="Log in as somebody else").click()
    page.get_by_label("Name").fill("ada@example.com")
    page.locator("main button").click()
    assert page.url == address
    page.get_by_role("button", name="Cancel").click()
    site.open_gate(gate, 12_000)


def test_an_expired_link_says_so(visit: Visit) -> None:
    """Once its time is over, the download link gives 410, with what to do; so does the status page, with 200."""
    person = visit()
    person.ask("fleeting")
    page = person.page
    page.get_by_role("heading", name=re.compile("ready$|has expired")).wait_for()
    page.goto("/mails")
    page.locator("main li a").first.click()
    link = page.locator("main p.plain a").first.get_attribute("href")
    page.wait_for_function("link => fetch(link).then(answer => answer.status === 410)", arg=link)
    assert page.goto(link).status == 410
    assert "has expired" in page.get_by_role("heading", level=1).inner_text()
    assert "ask for" in page.locator("main").inner_text()
    person.photograph("expired")


def test_the_mail_is_read_and_its_link_followed(visit: Visit, site: Site) -> None:
    """The link in the mail leads through the login to the file, for its requester."""
    person = visit("carla@example.com")
    person.ask("flights", from_date="2013-01-01", until_date="2013-02-15")
    page = person.page
    page.get_by_role("heading", name="Your file is ready").wait_for(timeout=READY)
    page.goto("/mails")
    person.photograph("mails")
    page.get_by_role("listitem").filter(has_text="carla@example.com").get_by_role("link").click()
    person.photograph("mail")
    page.get_by_role("button", name="Log out").click()
    page.goto("/mails")
    page.get_by_role("listitem").filter(has_text="carla@example.com").get_by_role("link").click()
    page.frame_locator("iframe").get_by_role("link").click()
    page.wait_for_url("**/login?*")
    page.get_by_label("Name").fill("carla@example.com")
    name, content = person.download(lambda: page.locator("main button").click())
    assert name == "flights.csv"
    assert hashlib.sha256(content).hexdigest() == site.row("flights", "sha256")[0]


def test_without_javascript(visit: Visit, site: Site, gate: str) -> None:
    """The same walk: the page loads itself again (meta refresh), until the file can be downloaded."""
    person = visit("noscript@example.com", java_script_enabled=False)
    person.ask("flights", from_date="2013-02-02", until_date="2013-02-01")
    page = person.page
    assert "The last day is before the first one." in page.locator(".fault").inner_text()
    site.open_gate(gate, 2000)
    person.ask("gated", gate=gate)
    page.get_by_role("progressbar").wait_for()
    site.open_gate(gate, 12_000)
    page.get_by_role("link", name="Download").wait_for(timeout=READY)
    _, content = person.download(lambda: page.get_by_role("link", name="Download").click())
    assert content.count(b"\n") == 12_001


def test_by_keyboard_alone(visit: Visit, site: Site, gate: str) -> None:
    """Tab and Enter are enough: every control is reached in order, and shows that it has the focus."""
    person = visit()
    page = person.page
    page.goto("/ask/gated")
    _tab_to(person, "main [name=gate]")
    page.keyboard.type(gate)
    _tab_to(person, "main button")
    page.keyboard.press("Enter")
    page.wait_for_url("**/requests/*")
    _tab_to(person, "main button")
    site.open_gate(gate, 12_000)
    page.get_by_role("heading", name="Your file is ready").wait_for(timeout=READY)
    assert page.evaluate("document.activeElement.id") == "heading"
    _tab_to(person, "#download")
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline != "none"
    name, _ = person.download(lambda: page.keyboard.press("Enter"))
    assert name == "gated.csv"


def _tab_to(person: Person, selector: str) -> None:
    """Press Tab until an element has the focus; in fewer presses than there are controls on any page here."""
    for _ in range(25):
        person.page.keyboard.press("Tab")
        if person.page.evaluate("selector => document.activeElement.matches(selector)", selector):
            return
    raise AssertionError(f"{selector} can't be reached with the Tab key")


def test_in_german_and_in_swiss_time(visit: Visit, site: Site, gate: str) -> None:
    """A browser that speaks German gets German pages, and times in its own zone, with its name."""
    person = visit("heidi@example.com", locale="de-DE", timezone_id="Europe/Zurich")
    site.open_gate(gate, 12_000)
    person.page.goto("/ask/gated")
    person.fill(gate=gate)
    person.page.locator("main form button").click()
    page = person.page
    page.locator("#download").wait_for(timeout=READY)
    assert page.locator("html").get_attribute("lang").startswith("de")
    assert "12.000" in page.locator("main").inner_text()
    assert re.search(r"\d\d:\d\d (MEZ|MESZ)", page.locator("main").inner_text())
    assert site.row("gated", "language", "timezone") == ("de-DE", "Europe/Zurich")
    page.goto("/mails")
    page.get_by_role("listitem").filter(has_text="heidi@example.com").get_by_role("link").click()
    assert re.search(r"\d\d:\d\d (MEZ|MESZ)", page.locator("p.plain").inner_text())
    person.photograph("german")


def test_my_files(visit: Visit, site: Site, gate: str) -> None:
    """The list has a person's own files, newest first: they download, cancel and delete there."""
    person = visit("dora@example.com")
    page = person.page
    page.goto("/requests")
    assert page.locator("tbody tr").count() == 0
    person.photograph("no-files")
    person.ask("flights", from_date="2013-01-01", until_date="2013-02-15")
    page.locator("#download").wait_for(timeout=READY)
    site.open_gate(gate, 2000)
    person.ask("gated", gate=gate)
    page.get_by_role("link", name="My files").first.click()
    rows = page.locator("tbody tr")
    assert [rows.nth(number).locator("a").first.inner_text() for number in range(2)] == [
        "Gated rows",
        "Flights from New York City",
    ]
    person.photograph("files")
    name, content = person.download(lambda: rows.nth(1).get_by_role("link", name="Download").click())
    assert (name, hashlib.sha256(content).hexdigest()) == ("flights.csv", site.row("flights", "sha256")[0])
    rows.nth(0).get_by_role("button", name="Cancel").click()
    page.get_by_text("cancelled").wait_for()
    assert site.row("gated", "state") == ("cancelled",)
    site.open_gate(gate, 12_000)
    rows.nth(1).get_by_text("Delete").first.click()
    rows.nth(1).get_by_role("button", name="Delete for good").click()
    rows.nth(1).wait_for(state="detached")
    assert site.count("SELECT count(*) FROM bgtasks_file_requests WHERE requester = 'dora@example.com'") == 1
