"""What an operator sees in Flower, after somebody has asked for files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.browser.conftest import Site
from tests.browser.people import SCREENSHOTS, WIDE, Person

READY = 60_000  # milliseconds


@pytest.fixture
def page(chromium: Any, site: Site) -> Iterator[Any]:
    """A window before Flower, whose own scripts complain of nothing."""
    context = chromium.new_context(base_url=site.flower, viewport={"width": WIDE, "height": 800})
    context.set_default_timeout(20_000)
    page, complaints = context.new_page(), []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    yield page
    context.close()
    assert complaints == []


def photograph(page: Any, name: str) -> None:
    """A picture of it."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{name}.png")


def test_an_operator_sees_whose_step_it_is_and_how_it_went(visit: Callable[..., Person], site: Site, page: Any) -> None:
    """In the list of tasks: the step's name, its claim, its state; of a file in parts, each part."""
    person = visit()
    person.ask("flights_in_parts", from_date="2013-01-01", until_date="2013-03-31", carrier="UA")
    person.page.get_by_role("heading", name="Your file is ready").wait_for(timeout=READY)
    [id] = site.row("flights_in_parts", "id")
    page.goto("/tasks")
    rows = page.locator("#tasks-table tbody tr").filter(has_text=f"flights_in_parts {id[:8]}")
    done = rows.filter(has_text="SUCCESS")
    for text in ("bgtasks.build_items", f"<flights_in_parts {id[:8]} #3 part 2>", "bgtasks.attach", "bgtasks.notify"):
        done.filter(has_text=text).first.wait_for()
    photograph(page, "flower-tasks")


def test_an_operator_sees_the_workers(page: Any) -> None:
    """Each with its state; and behind its name the queues that it serves."""
    page.goto("/workers")
    page.locator("#workers-table tbody tr").filter(has_text="Online").first.wait_for()
    photograph(page, "flower-workers")
    page.locator("#workers-table tbody a").first.click()
    page.get_by_role("tab", name="Queues").or_(page.get_by_role("link", name="Queues")).first.click()
    page.locator(".tab-pane.active.show").get_by_text("files.flights", exact=True).first.wait_for()
    photograph(page, "flower-worker")
