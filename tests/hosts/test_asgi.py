"""A response's bytes on an event loop: behind a real server, whose clients are slow, go away, or are let down."""

from __future__ import annotations

import asyncio
import http.client
import io
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.authentication import AuthCredentials, AuthenticationBackend, SimpleUser
from starlette.datastructures import FormData, UploadFile
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from bgtasks import toolbox
from bgtasks.contrib import asgi
from bgtasks.deployment import Deployment
from bgtasks.errors import BgtasksError
from bgtasks.stack import HOST, free_port, wait_for
from tests.hosts.visitor import DATA, Visitor
from tests.support.file_types import Numbers
from tests.support.handmade import CONTENTS, REQUESTER, finished
from tests.web.test_streams import writers

pytestmark = [
    pytest.mark.usefixtures("parts"),
    pytest.mark.parametrize("database_url", ["sqlite"], indirect=True),
]


class Inline(Numbers):
    """Numbers at once, which can stop, or fail, after so many."""

    file_type = "inline"
    made = 0
    before: Callable[[int], None] = staticmethod(lambda number: None)

    def evaluate_dataset(self, dataset: Any, http_request: Any) -> None:
        dataset.delay = False

    def get_items(self, criteria: Any) -> Iterator[tuple[int, str]]:
        for number in range(criteria.count):
            type(self).made = number
            type(self).before(number)
            yield number, "x" * 1000


class Basic(AuthenticationBackend):
    """Whoever says a name."""

    async def authenticate(self, connection: Any) -> Any:
        name = connection.headers.get("x-user")
        return (AuthCredentials(), SimpleUser(name)) if name else None


async def at_once(request: Request) -> Any:
    return (await asgi.respond_to(Inline, request))[1]


async def later(request: Request) -> Any:
    return (await asgi.respond_to("numbers", request, requester_email="ada@mail.example.com"))[1]


async def for_eve(request: Request) -> Any:
    return (await asgi.respond_to(Numbers(), request, requester="eve"))[1]


async def read_before(request: Request) -> Any:
    await request.body()
    return await at_once(request)


async def download(request: Request) -> Any:
    return await asgi.serve_file(request, request.path_params["token"])


async def alive(request: Request) -> Any:
    return PlainTextResponse("alive")


async def through(request: Request, call_next: Any) -> Any:
    return await call_next(request)


ROUTES = [
    Route("/at-once", at_once, methods=["GET", "POST"]),
    Route("/read-before", read_before, methods=["POST"]),
    Route("/later", later, methods=["GET", "POST"]),
    Route("/for-eve", for_eve),
    Route("/own/{token}", download),
    Route("/alive", alive),
    Mount("/exports", asgi.application),
]


@pytest.fixture(params=[(), (Middleware(BaseHTTPMiddleware, dispatch=through),)], ids=["plain", "middleware"])
def server(request: pytest.FixtureRequest) -> Iterator[int]:
    """The port of a real server in this process; with and without middleware that handles responses."""
    Inline.made, Inline.before = 0, staticmethod(lambda number: None)
    site = Starlette(routes=ROUTES, middleware=[Middleware(AuthenticationMiddleware, backend=Basic()), *request.param])
    yield from running(site)


def running(site: Any) -> Iterator[int]:
    port = free_port()
    made = uvicorn.Server(uvicorn.Config(site, host=HOST, port=port, log_level="critical", lifespan="off"))
    thread = threading.Thread(target=made.run, daemon=True)
    thread.start()
    wait_for(lambda: made.started, "the server has not started", 10)
    yield port
    made.should_exit = True
    thread.join(10)
    assert not thread.is_alive()
    wait_for(lambda: not writers(), "a writer is left", 5)


def begin(port: int, count: int) -> socket.socket:
    """Ask for so many rows, and read nothing yet."""
    client = socket.create_connection((HOST, port))
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
    client.sendall(f"GET /at-once?count={count} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    return client


def has_settled() -> bool:
    """Whether no more rows are made."""
    before = Inline.made
    time.sleep(0.2)
    return before > 0 and Inline.made == before


def test_a_slow_client_makes_the_producer_wait(server: int) -> None:
    """What nobody has taken yet is a few chunks, and not the file."""
    with begin(server, 1_000_000) as client:
        wait_for(has_settled, "the producer goes on and on", 10)
        assert Inline.made < 50_000
        assert client.recv(10)


def test_a_client_that_goes_away_stops_the_producer(server: int) -> None:
    """The writer's thread ends, and so does the file's reader."""
    with begin(server, 1_000_000) as client:
        client.recv(1000)
        wait_for(writers, "nobody writes", 5)
    wait_for(lambda: not writers(), "the writer goes on", 10)
    assert Inline.made < 999_999


def test_a_failure_midway_breaks_the_connection_off(server: int) -> None:
    """The last chunk, which says that this was all, does not come."""

    def fail(number: int) -> None:
        if number == 5000:
            raise LookupError("the source is gone")

    Inline.before = staticmethod(fail)
    with Visitor(server).opened("GET", "/at-once?count=9000") as response:
        assert response.status == 200
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            response.read()


def test_the_loop_never_waits_for_a_row(server: int) -> None:
    """While one file's source is slow, others are answered."""
    stop = threading.Event()
    Inline.before = staticmethod(lambda number: number == 2000 and stop.wait(30))
    with begin(server, 3000):
        wait_for(lambda: Inline.made == 2000, "the source is not slow", 5)
        assert Visitor(server).get("/alive").text == "alive"
        stop.set()


@pytest.mark.parametrize("path", ["/at-once", "/read-before"])
@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", DATA])
def test_what_was_chosen_arrives_however_it_is_sent(server: int, path: str, kind: str) -> None:
    """A form or JSON, whether or not the view has read it before."""
    body = b'{"count": 1}' if kind == DATA else b"count=1"
    with Visitor(server).opened("POST", path, body, {"Content-Type": kind}) as response:
        assert response.read() == b"number,name\r\n0," + b"x" * 1000 + b"\r\n"


def test_a_form_that_the_view_has_read_is_taken_from_starlette() -> None:
    """The bytes are gone, and the fields are not; a file among them is no criterion."""
    headers = [(b"content-type", b"multipart/form-data; boundary=x"), (b"content-length", b"99")]
    request = Request(
        {"type": "http", "method": "POST", "path": "/", "query_string": b"", "http_version": "1.1", "headers": headers}
    )
    request._stream_consumed = True
    request._form = FormData([("count", "1"), ("tag", "a"), ("tag", "ü"), ("file", UploadFile(io.BytesIO()))])
    http_request = asyncio.run(asgi.werkzeug_request(request))
    assert http_request.form.to_dict(flat=False) == {"count": ["1"], "tag": ["a", "ü"]}


def test_who_asks_is_the_scopes_user_or_whom_the_view_names(server: int, parts: Deployment) -> None:
    """No header of the client's."""
    ada, nobody = {"X-User": REQUESTER}, {"Remote-User": "mallory", "Bgtasks-Requester": "mallory"}
    assert Visitor(server).get("/later", **ada).status == 202
    (row,) = parts.requests.of(REQUESTER, 9)
    assert row.requester_email == "ada@mail.example.com"
    assert Visitor(server).get("/for-eve", **ada).status == 202
    assert len(parts.requests.of("eve", 9)) == 1
    assert Visitor(server).get("/later", **nobody).status == 202
    assert parts.requests.of("mallory", 9) == []


def test_a_download_is_for_its_requester(server: int) -> None:
    """From what is mounted, and from a view; a refusal is our page or problem details."""
    token = toolbox.create_token(finished())
    for path in (f"/exports/files/{token}", f"/own/{token}"):
        ada = Visitor(server).get(path, **{"X-User": REQUESTER})
        assert (ada.status, ada.body) == (200, CONTENTS)
        assert Visitor(server).get(path, **{"X-User": "eve"}).status == 403
        anonymous = Visitor(server).get(path, DATA)
        assert (anonymous.status, anonymous.data["status"]) == (401, 401)
        assert anonymous.headers["WWW-Authenticate"] == "Session"
    assert Visitor(server).get("/exports/requests", **{"X-User": REQUESTER}).status == 200


@pytest.mark.parametrize("length", [[(b"content-length", b"100")], []])
def test_who_goes_away_while_sending_a_form_fills_no_log(parts: Deployment, length: list[Any]) -> None:
    """It is nothing that a server should report with a traceback."""
    events = [{"type": "http.request", "body": b"a=1", "more_body": True}, {"type": "http.disconnect"}]
    sent: list[Any] = []

    async def receive() -> Any:
        return events.pop(0)

    async def send(event: Any) -> None:
        sent.append(event)

    scope = {"type": "http", "method": "POST", "path": "/requests/x/cancel", "headers": length, "query_string": b""}
    asyncio.run(asgi.application({**scope, "http_version": "1.1"}, receive, send))
    assert (sent, events) == ([], [])


def test_an_error_is_starlettes_too_and_can_be_answered_our_way(server: int) -> None:
    """By its status and its sentence; or with the exception handler that we have."""
    plain = Visitor(server).get("/later?count=many")
    assert plain.status == 400
    assert "count" in plain.text
    handlers = {BgtasksError: asgi.problem}
    for port in running(Starlette(routes=ROUTES, exception_handlers=handlers)):
        ours = Visitor(port).get("/later?count=many", DATA)
        assert ours.status == 400
        assert "count" in ours.data["errors"]
        assert ours.headers["Content-Type"] == "application/problem+json"
