"""What only Django's example project has: transactions, and forms that Django's own checks have read before us."""

from __future__ import annotations

from typing import Any

import pytest

from bgtasks.stack import wait_for
from tests.hosts.sites import DJANGO, MANY, Site
from tests.hosts.visitor import DATA, Visitor

pytestmark = pytest.mark.parametrize("site", DJANGO, indirect=True, ids=str)


def requests_of(visitor: Visitor) -> list[Any]:
    """What "my files" lists."""
    found: list[Any] = visitor.get("/exports/requests", DATA).data["requests"]
    return found


def test_a_file_is_asked_for_with_the_transaction_or_not_at_all(site: Site) -> None:
    """The commit has it made; after a rollback there is no request, and the one of before is still there."""
    grace = site.visitor("grace")
    fields = {**MANY, "csrfmiddlewaretoken": grace.get("/").field("csrfmiddlewaretoken")}
    first = grace.post("/close/", fields)
    assert first.status == 202
    where = first.headers["Location"]
    wait_for(lambda: grace.get(where, DATA).data["state"] == "ready", "the file is not ready", 30)
    (known,) = requests_of(grace)
    again = grace.post("/close/", fields)
    assert again.status == 409
    # What is over is tidied up once the answer is sent.
    wait_for(lambda: [each["id"] for each in requests_of(grace)] == [known["id"]], "there is another request", 5)


def test_a_forms_own_rules_are_beside_its_fields(site: Site) -> None:
    """What the form's ``clean()`` finds is shown as it is without us."""
    page = site.ask(site.visitor("ada"), {"from_date": "2013-02-01", "until_date": "2013-01-01"})
    assert page.status == 400
    assert page.error_of("until_date") == "This is before the first day."


def test_django_logs_no_token_of_ours(site: Site) -> None:
    """Django logs the path of what is refused; but not where the path holds a token."""
    ada = site.visitor("ada")
    path = ada.get(site.ask(ada, MANY).headers["Location"], DATA).data["status_url"]
    assert site.visitor("grace").get(path).status == 403
    assert site.visitor("grace").get("/close/").status == 405
    wait_for(lambda: "Method Not Allowed (GET): /close/" in site.web.output(), "Django logs nothing", 5)
    assert "forbidden: " not in site.web.output().lower()
