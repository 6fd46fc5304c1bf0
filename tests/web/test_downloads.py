"""The files application: the right visitor gets the right bytes."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import pytest
from sqlalchemy import event
from werkzeug.http import http_date
from werkzeug.test import Client, EnvironBuilder, run_wsgi_app

from bgtasks import registry, toolbox
from bgtasks.deployment import Deployment
from bgtasks.models import Event, FileRequest
from bgtasks.states import EventKind
from bgtasks.stores import READ_CHUNK
from bgtasks.wsgi import application
from tests.support.file_types import Numbers
from tests.support.handmade import CONTENTS, REQUESTER, alter, finished, fresh

LARGE = bytes(range(256)) * (3 * READ_CHUNK // 256)


class Anyones(Numbers):
    """Files for whoever has the link."""

    file_type = "anyones"
    requester_only = False


class Shown(Numbers):
    """Files that a browser may show."""

    file_type = "shown"
    content_as_attachment = False


def ask(file_request: FileRequest, user: str | None = REQUESTER, **more: Any) -> dict[str, Any]:
    """The arguments of a request for a file, by somebody who is logged in."""
    environ = {"REMOTE_ADDR": "192.0.2.7"} | ({"REMOTE_USER": user} if user else {})
    return {"path": f"/files/{toolbox.create_token(file_request)}", "environ_overrides": environ, **more}


def downloads(parts: Deployment, file_request: FileRequest) -> list[Event]:
    """What the history says of a file's downloads."""
    return [entry for entry in parts.requests.history(file_request.id) if entry.kind == EventKind.DOWNLOADED]


def test_its_requester_gets_the_file(client: Client) -> None:
    """The answer has the exact bytes, and says everything about them that a client may rely on."""
    ready = finished()
    response = client.get(**ask(ready))
    assert response.status_code == 200
    assert response.get_data() == CONTENTS
    assert dict(response.headers) == {
        "Content-Type": "text/csv",
        "Content-Length": str(len(CONTENTS)),
        "Content-Disposition": "attachment; filename=numbers.csv",
        "Accept-Ranges": "bytes",
        "ETag": f'"{hashlib.sha256(CONTENTS).hexdigest()}"',
        "Last-Modified": http_date(ready.finished_at),
        "Repr-Digest": f"sha-256=:{base64.b64encode(hashlib.sha256(CONTENTS).digest()).decode()}:",
        "Cache-Control": "private, no-store",
        "Content-Security-Policy": "default-src 'none'; sandbox",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }


@pytest.mark.parametrize("contents", [b"", LARGE])
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_files_of_any_size_come_whole(client: Client, parts: Deployment, contents: bytes) -> None:
    """An empty file and one of many chunks are served and counted like any other."""
    ready = finished(contents)
    response = client.get(**ask(ready))
    assert response.get_data() == contents
    assert response.content_length == len(contents)
    assert len(downloads(parts, ready)) == 1


def test_a_whole_download_is_counted(client: Client, parts: Deployment) -> None:
    """A full GET counts once, and the history says who it was and from where."""
    ready = finished()
    for times in (1, 2):
        client.get(**ask(ready)).get_data()
        row = fresh(parts, ready)
        assert row.downloads == times
        assert row.last_downloaded_at is not None
    assert [(entry.actor, entry.detail) for entry in downloads(parts, ready)] == [(REQUESTER, "192.0.2.7")] * 2


def test_head_has_the_same_headers_and_counts_nothing(client: Client, parts: Deployment) -> None:
    """HEAD tells what GET would bring (RFC 9110, 9.3.2), and is no download."""
    ready = finished()
    head, got = client.head(**ask(ready)), client.get(**ask(ready))
    assert (head.status_code, head.get_data()) == (200, b"")
    assert head.headers == got.headers
    assert fresh(parts, ready).downloads == 0  # nor does a GET that nobody has read yet
    got.get_data()
    assert fresh(parts, ready).downloads == 1


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_an_aborted_download_is_not_counted(parts: Deployment) -> None:
    """Whoever goes away before the last byte has no file."""
    ready = finished(LARGE)
    environ = EnvironBuilder(**ask(ready)).get_environ()
    chunks, status, _ = run_wsgi_app(application, environ)
    assert status.startswith("200")
    assert next(iter(chunks))
    chunks.close()  # type: ignore[attr-defined]
    assert fresh(parts, ready).downloads == 0
    assert downloads(parts, ready) == []


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_file_for_anybody(client: Client, parts: Deployment) -> None:
    """A type that is not for its requester only is served to whoever holds a general link."""
    registry.register(Anyones)
    ready = finished(file_type="anyones", requester=None)
    path = f"/files/{toolbox.create_general_token(ready)}"
    assert client.get(path).get_data() == CONTENTS
    assert client.get(path, environ_overrides={"REMOTE_USER": "eve@example.com"}).get_data() == CONTENTS
    assert [entry.actor for entry in downloads(parts, ready)] == [None, "eve@example.com"]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_general_link_is_not_enough_for_a_requesters_file(client: Client) -> None:
    """Whether a requester is needed is the file type's decision, and never the token's."""
    path = f"/files/{toolbox.create_general_token(finished())}"
    assert client.get(path, environ_overrides={"REMOTE_USER": REQUESTER}).status_code == 400


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_file_type_says_whether_it_is_shown(client: Client) -> None:
    """``content_as_attachment`` off lets a browser show the file, in a sandbox."""
    registry.register(Shown)
    response = client.get(**ask(finished(file_type="shown")))
    assert response.headers["Content-Disposition"] == "inline; filename=numbers.csv"
    assert "sandbox" in response.headers["Content-Security-Policy"]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_file_type_that_is_not_known_here_is_served_strictly(client: Client) -> None:
    """A web process that lacks the type's code serves its files to their requesters only, to be saved."""
    ready = finished(file_type="unheard_of")
    response = client.get(**ask(ready))
    assert response.get_data() == CONTENTS
    assert response.headers["Content-Disposition"].startswith("attachment")
    assert client.get(**ask(ready, "eve@example.com")).status_code == 403


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_count_that_fails_breaks_nothing_off(
    client: Client, parts: Deployment, caplog: pytest.LogCaptureFixture
) -> None:
    """A visitor who has every byte is not punished for a database that is away."""
    ready = finished()
    response = client.get(**ask(ready))
    parts.database.engine.dispose()
    event.listen(parts.database.engine, "connect", lambda connection, _: connection.execute("PRAGMA query_only = ON"))
    assert response.get_data() == CONTENTS
    assert "could not be counted" in caplog.text


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("conf", [{"bgtasks_sendfile": "/protected"}, {"bgtasks_sendfile": "/protected/"}])
def test_the_web_server_in_front_may_send_the_file(client: Client, parts: Deployment) -> None:
    """``X-Accel-Redirect`` names the object and nothing that a user typed; handing over counts, and HEAD does not."""
    ready = finished()
    answer = client.get(**ask(ready))
    assert answer.headers["X-Accel-Redirect"] == f"/protected/{ready.object_key}"
    assert answer.headers["Content-Disposition"] == "attachment; filename=numbers.csv"
    assert answer.get_data() == b""
    client.head(**ask(ready))
    assert len(downloads(parts, ready)) == 1
    parts.store.delete(str(ready.object_key))
    assert client.get(**ask(ready)).status_code == 404


@pytest.mark.parametrize("content_type", ["text/plain; x=€", "text/html\r\nX-Injected: 1\r\n\r\n<b>", "text/html\0"])
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_type_that_no_header_can_have_is_left_out(client: Client, parts: Deployment, content_type: str) -> None:
    """An application may take it from what somebody has uploaded: the file is handed out all the same."""
    row = alter(parts, finished(), content_type=content_type)
    response = client.get(**ask(row))
    assert (response.status_code, response.get_data()) == (200, CONTENTS)
    assert response.headers["Content-Type"] == toolbox.DEFAULT_CONTENT_TYPE
    assert "X-Injected" not in response.headers
