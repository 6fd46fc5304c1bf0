"""A bucket that takes connections and says nothing holds nobody for long, and one that is slow breaks no upload."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from bgtasks.errors import TransientError
from bgtasks.stack import HOST
from bgtasks.stores import WRITE_BUFFER, Store, opening
from bgtasks.stores.uploads import SMALL
from tests.support.brokers import silent_port
from tests.support.s3 import Bucket

KEY = "00000000-0000-4000-8000-000000000001/1"
#: Less than what an upload may take, and than what obstore would wait by itself.
SOON = 15.0


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is asked for is waited for a short while; what is sent, for as long as ever."""
    monkeypatch.setattr(opening, "ASKING", {**opening.ASKING, "read_timeout": "300ms"})
    monkeypatch.setattr(opening, "RETRIES", {"max_retries": 0})


def at(port: int, **options: Any) -> Store:
    """A bucket there."""
    usual = {"aws_endpoint": f"http://{HOST}:{port}", "allow_http": True, "aws_access_key_id": "key"}
    return Store("s3://bucket", Path(), {**usual, "aws_secret_access_key": "secret", "aws_region": "r", **options})


def write(size: int) -> Callable[[Store], object]:
    """Writes an object of so many bytes."""

    def written(store: Store) -> None:
        with store.open_writer(KEY) as writer:
            writer.write(bytes(size))
            writer.commit()

    return written


ASKED: dict[str, Callable[[Store], object]] = {
    "a small object": write(1),
    "a larger one": write(SMALL + 1),
    "one in parts": write(2 * WRITE_BUFFER + 1),
    "its size": lambda store: store.size(KEY),
    "all of it": lambda store: list(store.read(KEY)),
    "a part of it": lambda store: list(store.read(KEY, 0, 5)),
    "its removal": lambda store: store.delete(KEY),
    "all keys": lambda store: list(store.keys()),
}


def test_silence_ends_soon() -> None:
    """Whatever is asked for; each at the same time as the others."""
    ends: dict[str, tuple[type[BaseException] | None, float]] = {}

    def ask(name: str) -> None:
        began, raised = time.monotonic(), None
        try:
            ASKED[name](at(port))
        except Exception as error:
            raised = type(error)
        ends[name] = raised, time.monotonic() - began

    with silent_port() as port:
        threads = [threading.Thread(target=ask, args=(name,), daemon=True) for name in ASKED]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(2 * SOON)
        assert not at(port).is_there()
        assert not at(port).delete_all([KEY])
    assert {name: raised for name, (raised, _) in ends.items()} == dict.fromkeys(ASKED, TransientError)
    assert {name for name, (_, seconds) in ends.items() if seconds > SOON} == set()


def test_what_the_options_say_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    """For slow buckets more, for others less."""
    monkeypatch.setattr(opening, "ASKING", {"read_timeout": "60s", "timeout": "120s"})
    began = time.monotonic()
    with silent_port() as port, pytest.raises(TransientError):
        at(port, read_timeout="300ms").size(KEY)
    assert time.monotonic() - began < SOON


class Slow(BaseHTTPRequestHandler):
    """Knows no object, and takes longer over one than it may be silent for."""

    def do_HEAD(self) -> None:
        self.send_error(404)

    def do_PUT(self) -> None:
        self.rfile.read(SMALL)
        time.sleep(1)
        self.rfile.read(int(self.headers["Content-Length"]) - SMALL)
        self.send_response(200)
        self.send_header("ETag", '"1"')
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.fixture
def slow() -> Iterator[int]:
    """The port of a slow bucket."""
    server = ThreadingHTTPServer((HOST, 0), Slow)
    serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    serving.start()
    yield server.server_port
    server.shutdown()
    serving.join()
    server.server_close()


@pytest.mark.parametrize("options", [{}, {"read_timeout": "300ms"}])
def test_a_slow_upload_is_no_silence(slow: int, options: dict[str, Any]) -> None:
    """Three times as long as a bucket may be silent."""
    write(WRITE_BUFFER)(at(slow, **options))


def test_options_of_connections_leave_the_environments_in_force(bucket: Bucket) -> None:
    """obstore forgets AWS_ALLOW_HTTP and its like as soon as it is told anything else of them."""
    store = Store(bucket.url, Path(), {"pool_max_idle_per_host": "1"})
    write(3)(store)
    assert store.size(KEY) == 3
