"""Every page: good to look at, and to be heard."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.browser.people import Person

Visit = Callable[..., Person]

PAGES = {
    "home": "/",
    "form": "/ask/survey",
    "login": "/login?next=/requests",
    "my-files": "/requests",
    "missing": "/nothing",
    "bad-link": "/files/forged",
    "bad-status": "/requests/forged",
}


@pytest.mark.parametrize("name", PAGES)
def test_a_page(visit: Visit, name: str) -> None:
    """It has what ``photograph`` asks of every page; ``visit`` holds that nothing is wrong in its console."""
    person = visit()
    person.page.goto(PAGES[name])
    person.photograph(name)


def test_nothing_runs_that_did_not_come_with_the_page(visit: Visit) -> None:
    """Markup in a name is text: the policy would stop it, and it is not even there."""
    person = visit("<img src=x onerror=alert(1)>\"'")
    page = person.page
    page.goto("/requests")
    assert page.locator("img").count() == 0
    assert "<img src=x" in page.locator("main").inner_text()
