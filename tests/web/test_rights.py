"""Who may ask for a file, and who may still have it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from sqlalchemy import func, select
from werkzeug.test import Client

from bgtasks import registry, status_links, toolbox
from bgtasks.deployment import Deployment
from bgtasks.errors import NotPermitted, RequestFailed
from bgtasks.models import FileRequest
from bgtasks.states import State
from bgtasks.wsgi.views import DownloadNotPermitted, evaluate_request, serve_file
from tests.support.file_types import Numbers
from tests.support.handmade import CONTENTS, REQUESTER, finished, fresh
from tests.web.test_respond import asking
from tests.web.test_views import by

JSON = {"Accept": "application/json"}


class Guarded(Numbers):
    """Numbers for whoever is on the list."""

    file_type = "guarded"
    notifiers = ()
    allowed: set[str] = set()
    most = 10

    def may_request(self, requester: str | None, criteria: Any) -> bool:
        assert criteria.requester == requester
        return requester in self.allowed and criteria.count <= self.most

    def may_download(self, requester: str | None, file_request: FileRequest) -> bool:
        return requester in self.allowed and file_request.file_type == "guarded"


@pytest.fixture(autouse=True)
def _guarded(parts: Deployment) -> None:
    registry.register(Guarded)
    Guarded.allowed = {REQUESTER}
    Guarded.requester_only = True


@pytest.mark.parametrize(("user", "count"), [("eve@example.com", 3), (None, 3), (REQUESTER, 11)])
@pytest.mark.parametrize("delay", [True, False])
def test_who_may_not_ask_gets_nothing(parts: Deployment, user: str | None, count: int, delay: bool) -> None:
    """``may_request`` sees who asks and what was chosen, before anything is selected, written or stored."""

    class Asked(Guarded):
        def get_items(self, criteria: Any) -> Any:
            raise AssertionError("nothing is selected for who may not have it")

        def evaluate_dataset(self, dataset: Any, http_request: Any) -> None:
            dataset.delay = delay

    with pytest.raises(NotPermitted):
        Asked().respond_to(asking(user, query_string={"count": str(count)}))
    with parts.database.reading() as session:
        assert session.scalar(select(func.count()).select_from(FileRequest)) == 0


def test_a_worker_asks_again(parts: Deployment) -> None:
    """Whoever has lost the right since, or was named by a producer who did not look, gets a reason and no file."""
    asked = toolbox.add_request({}, "guarded", REQUESTER)
    Guarded.allowed = set()
    with pytest.raises(RequestFailed):
        registry.dispatch(asked.id)
    row = fresh(parts, asked)
    assert (row.state, row.error_code, row.error_message) == (
        State.FAILED,
        "not_permitted",
        "You may not have this file.",
    )
    assert row.object_key is None


@pytest.mark.parametrize("view", [evaluate_request, serve_file])
def test_a_download_asks_again(parts: Deployment, view: Any) -> None:
    """A good link in the right hands is not enough for who has lost the right since."""
    token = toolbox.create_token(finished(file_type="guarded"))
    view(by(REQUESTER), token)
    Guarded.allowed = set()
    for more in ({}, {"verify_requester": False}):
        with pytest.raises(DownloadNotPermitted):
            view(by(REQUESTER), token, **more)


def test_the_pages_ask_too(client: Client, parts: Deployment) -> None:
    """The status page and the list say so, and have no link; over HTTP it is a 403."""
    ready = finished(file_type="guarded")
    token = toolbox.create_token(ready)
    environ = {"REMOTE_USER": REQUESTER}
    assert client.get(f"/files/{token}", environ_overrides=environ).get_data() == CONTENTS
    Guarded.allowed = set()
    assert client.get(f"/files/{token}", environ_overrides=environ).status_code == 403
    path = status_links.path_of(ready)
    assert "You may not have this file any more" in client.get(path, environ_overrides=environ).text
    for address in (path, "/requests"):
        answer = client.get(address, environ_overrides=environ, headers=JSON)
        said = json.loads(answer.get_data())
        assert said.get("requests", [said])[0]["download_url"] is None


def test_a_file_for_anybody_asks_who_comes(client: Client, parts: Deployment) -> None:
    """Of a file that is not for its requester only, the visitor's own right counts."""
    Guarded.requester_only = False
    path = f"/files/{toolbox.create_general_token(finished(file_type='guarded'))}"
    assert client.get(path).status_code == 403
    assert client.get(path, environ_overrides={"REMOTE_USER": REQUESTER}).status_code == 200
