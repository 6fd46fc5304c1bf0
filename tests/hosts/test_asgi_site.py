"""What only FastAPI's example project has: a way to ask for programs, whose errors FastAPI answers."""

from __future__ import annotations

import json

import pytest

from tests.hosts.sites import FASTAPI, MANY, Site
from tests.hosts.visitor import DATA, PAGE, Visitor

pytestmark = pytest.mark.parametrize("site", [FASTAPI], indirect=True, ids=str)


def test_a_program_asks_with_json(site: Site) -> None:
    """And is told in JSON where to look."""
    answer = site.visitor("ada").send("/visits", MANY)
    assert answer.status == 202
    assert answer.data["status_url"] == answer.headers["Location"]
    assert answer.data["state"] == "pending"


def test_what_a_view_lets_pass_is_answered_by_fastapi(site: Site) -> None:
    """An error of ours is an HTTPException of Starlette's too, with its status and sentence."""
    answer = site.visitor("ada").send("/visits", {**MANY, "from_date": "yesterday"})
    assert answer.status == 400
    assert "from_date" in answer.data["detail"]


def test_a_body_without_end_is_refused(site: Site) -> None:
    """No more of it is read than criteria may have, whether its length is announced or not."""
    ada = site.visitor("ada")
    body = json.dumps({"from_date": "x" * 2_000_000}).encode()
    asked = {"Content-Type": DATA, "Accept": PAGE}
    with ada.opened("POST", "/visits", body, asked) as response:
        assert response.status == 413, response.read()
    with chunked(ada, body, asked) as response:
        assert response.status == 413, response.read()


def chunked(visitor: Visitor, body: bytes, headers: dict[str, str]):
    """The same request with ``Transfer-Encoding: chunked``."""
    pieces = (body[start : start + 65_536] for start in range(0, len(body), 65_536))
    return visitor.opened("POST", "/visits", pieces, headers)  # type: ignore[arg-type]
