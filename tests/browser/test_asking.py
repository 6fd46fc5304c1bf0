"""The form: what is wrong is said beside the field, and a small file comes at once."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable

from tests.browser.conftest import Site
from tests.browser.people import Person

Visit = Callable[..., Person]
JANUARY = {"from_date": "2013-01-01", "until_date": "2013-01-05"}


def test_each_file_type_has_its_form(visit: Visit) -> None:
    """The first page has a form for every registered type; its dates are chosen from a calendar."""
    page = visit().page
    page.goto("/")
    assert page.get_by_role("heading", level=2).all_inner_texts() == [
        "Failing file",
        "Fleeting file",
        "Flights from New York City",
        "Halves of flights",
        "Gated rows",
        "Login events",
        "Survey <b>&amp;",
    ]
    flights = page.get_by_role("region", name="Flights from New York City")
    assert flights.get_by_label("First day").get_attribute("type") == "date"
    assert flights.get_by_label("First day").get_attribute("required") is not None
    assert flights.get_by_label("Last day").get_attribute("required") is None
    assert flights.get_by_label("Format").locator("option").all_inner_texts() == ["CSV", "XLSX", "JSONL", "PARQUET"]


def test_a_range_that_ends_before_it_begins(visit: Visit) -> None:
    """The sentence stands beside the field, which names it; the summary has the focus; what was typed is kept."""
    person = visit()
    person.ask("flights", from_date="2013-03-01", until_date="2013-02-01", carrier="UA", format="xlsx")
    page = person.page
    last = page.get_by_label("Last day")
    assert last.get_attribute("aria-invalid") == "true"
    described = (last.get_attribute("aria-describedby") or "").split()
    assert "The last day is before the first one." in [page.locator(f"#{id}").inner_text() for id in described]
    assert page.get_by_label("First day").get_attribute("aria-invalid") is None
    assert page.locator("[role=alert]").evaluate("it => it === document.activeElement")
    values = {name: page.locator(f"main [name={name}]").input_value() for name in ("from_date", "carrier", "format")}
    assert values == {"from_date": "2013-03-01", "carrier": "UA", "format": "xlsx"}
    person.photograph("invalid")

    page.get_by_role("alert").get_by_role("link", name="Last day").click()
    assert page.evaluate("location.hash") == "#flights-until_date"


def test_a_small_range_comes_at_once(visit: Visit, site: Site) -> None:
    """The browser saves the file, stays on the form, and the file has the rows of the table."""
    person = visit()
    person.page.goto("/ask/flights")
    person.fill(**JANUARY)
    name, content = person.download(person.send)
    rows = list(csv.reader(io.StringIO(content.decode(), newline="")))
    counted = site.count("SELECT count(*) FROM flights WHERE date BETWEEN ? AND ?", *JANUARY.values())
    assert (name, len(rows) - 1) == ("flights.csv", counted)
    assert {row[0] for row in rows[1:]} == {f"2013-01-0{day}" for day in range(1, 6)}
    assert person.page.url == f"{site.address}/ask/flights"


def test_columns_are_ticked(visit: Visit) -> None:
    """All of them at first, out of sight; the file has what is left, and a mistake shows them again as they were."""
    person = visit()
    page = person.page
    page.goto("/ask/flights")
    boxes = page.get_by_role("group", name="Columns").get_by_role("checkbox")
    assert boxes.count() == 0
    page.locator("summary").click()
    assert [box.is_checked() for box in boxes.all()] == [True] * 15
    for box in boxes.all()[2:]:
        box.uncheck()
    person.photograph("columns")
    person.fill(from_date="2013-03-01", until_date="2013-02-01")
    person.send()
    page.locator("summary").click()
    assert [box.is_checked() for box in boxes.all()] == [True] * 2 + [False] * 13
    person.fill(**JANUARY)
    _, content = person.download(person.send)
    assert content.decode().splitlines()[:2] == ["Date,Carrier", "2013-01-01,UA"]


def test_every_kind_of_field_says_what_was_chosen(visit: Visit) -> None:
    """Defaults are shown, a cleared box is a no, boxes and repeated fields are lists, and text is text."""
    person = visit()
    page = person.page
    page.goto("/ask/survey")
    assert page.get_by_label("Name <i>").input_value() == "O'Hara & <Sons>"
    person.fill(day="2026-01-02", count="7", share="0.5", is_paid="false", meal="fish")
    page.get_by_label("Is urgent").uncheck()
    page.get_by_role("group", name="Letters").get_by_label("c", exact=True).check()
    page.get_by_label("Tags 1").fill("x")
    page.get_by_label("Tags 2").fill("y")
    page.locator("[name=from]").fill("later")
    _, content = person.download(person.send)
    said = json.loads(list(csv.reader(io.StringIO(content.decode())))[1][0])
    assert sorted(said.pop("letters")) == ["b", "c"]
    assert said == {
        "day": "2026-01-02",
        "name": "O'Hara & <Sons>",
        "count": 7,
        "share": 0.5,
        "is_urgent": False,
        "is_paid": False,
        "cabin": "coach",
        "meal": "fish",
        "tags": ["x", "y"],
        "after": "later",
    }


def test_what_was_chosen_survives_the_login(visit: Visit) -> None:
    """Whoever is not logged in is asked who they are, and finds the form as they had filled it."""
    person = visit(None)
    person.ask("flights", **JANUARY, carrier="UA")
    page = person.page
    assert "/login" in page.url
    page.get_by_label("Name").fill("grace@example.com")
    page.locator("main button").click()
    values = {name: page.locator(f"main [name={name}]").input_value() for name in (*JANUARY, "carrier")}
    assert values == {**JANUARY, "carrier": "UA"}
    assert page.locator("header").get_by_text("grace@example.com").is_visible()
