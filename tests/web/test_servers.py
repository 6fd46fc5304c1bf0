"""Downloads over a real gunicorn: with http.client, and with the real curl."""

from __future__ import annotations

import hashlib
import http.client
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bgtasks import toolbox
from bgtasks.deployment import Deployment
from bgtasks.models import FileRequest
from bgtasks.stack import HOST, wait_for
from bgtasks.stores import READ_CHUNK
from tests.conftest import new_sqlite
from tests.support.handmade import REQUESTER, finished, fresh
from tests.support.s3 import Bucket
from tests.support.services import missing
from tests.support.site import USER, Site, ask

#: More than a connection's buffers take: nobody has sent it before somebody reads it.
LARGE = os.urandom(20 * READ_CHUNK)
WORKERS = {
    "sync": ("-k", "sync"),
    "gthread": ("-k", "gthread", "--threads", "4"),
}
#: What curl calls a transfer that ended too early.
PARTIAL_FILE = 18


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    """One kind is enough here."""
    return new_sqlite(tmp_path)


@pytest.fixture
def conf(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The files are in a folder, unless a test wants them in a bucket."""
    bucket = getattr(request, "param", None) == "bucket"
    return {"bgtasks_store_url": request.getfixturevalue("bucket").url} if bucket else {}


@pytest.fixture
def site(parts: Deployment, database_url: str, tmp_path: Path) -> Iterator[Site]:
    """The test's own deployment, for servers in front of it."""
    made = Site.beside(tmp_path, database_url)
    yield made
    made.stop()


@pytest.fixture(params=WORKERS)
def port(request: pytest.FixtureRequest, site: Site) -> int:
    """Where a gunicorn with one of these workers listens."""
    return site.start(*WORKERS[request.param])


def path_of(ready: FileRequest) -> str:
    """Where the file is."""
    return f"/files/{toolbox.create_token(ready)}"


def count(parts: Deployment, ready: FileRequest) -> int:
    """How many downloads are on the row."""
    return fresh(parts, ready).downloads


def test_files_and_parts_of_them(site: Site, parts: Deployment, port: int) -> None:
    """Every byte and no more, by each kind of gunicorn's workers; one connection serves many requests."""
    ready = finished(LARGE)
    whole = ask(port, path_of(ready))
    assert (whole.status, whole.sha256) == (200, ready.sha256)
    assert whole.headers["Accept-Ranges"] == "bytes"
    wait_for(lambda: count(parts, ready) == 1, "the download is counted", 5)
    head = ask(port, path_of(ready), "HEAD")
    assert (head.status, head.body, head.headers["Content-Length"]) == (200, b"", str(len(LARGE)))
    connection = http.client.HTTPConnection(HOST, port, timeout=20)
    for start, stop in [(0, 1), (5_000_000, 15_000_000), (len(LARGE) - 7, len(LARGE)), (3, 4)]:
        said = {"Range": f"bytes={start}-{stop - 1}", USER: REQUESTER}
        connection.request("GET", path_of(ready), headers=said)
        response = connection.getresponse()
        assert (response.status, response.read() == LARGE[start:stop]) == (206, True)
    connection.close()
    wait_for(lambda: count(parts, ready) == 2, "the last byte is counted", 5)
    assert ask(port, path_of(finished(b""))).body == b""
    assert "Traceback" not in site.log()


def test_who_hangs_up_has_no_download(parts: Deployment, port: int) -> None:
    """A client that reads the beginning and goes; the server goes on with the next one."""
    ready = finished(LARGE)
    for _ in range(3):
        with socket.create_connection((HOST, port)) as connection:
            connection.sendall(f"GET {path_of(ready)} HTTP/1.1\r\nHost: x\r\n{USER}: {REQUESTER}\r\n\r\n".encode())
            assert connection.recv(100).startswith(b"HTTP/1.1 200")
    assert ask(port, path_of(ready)).sha256 == ready.sha256
    wait_for(lambda: count(parts, ready) == 1, "the whole download is counted", 5)


@pytest.mark.parametrize("version", ["1.1", "1.0"])
def test_a_file_that_is_cut_off_on_the_disk(
    site: Site, parts: Deployment, port: int, tmp_path: Path, version: str
) -> None:
    """The file becomes shorter while it is sent: the client is told that its file is not whole."""
    ready = finished(LARGE)
    with socket.create_connection((HOST, port), timeout=20) as connection:
        asked = f"GET {path_of(ready)} HTTP/{version}\r\nHost: x\r\n{USER}: {REQUESTER}\r\n\r\n"
        connection.sendall(asked.encode())
        response = http.client.HTTPResponse(connection)
        response.begin()
        assert (response.status, response.length) == (200, len(LARGE))
        os.truncate(tmp_path / "files" / str(ready.object_key), len(LARGE) - 5)
        with pytest.raises(http.client.IncompleteRead):
            response.read()
    wait_for(lambda: "ObjectMissing" in site.log(), "the log says why", 5)
    assert count(parts, ready) == 0


@pytest.mark.parametrize("conf", ["bucket"], indirect=True)
@pytest.mark.parametrize("worker", ["sync", "gthread"])
def test_an_object_that_goes_from_its_bucket(site: Site, parts: Deployment, worker: str, bucket: Bucket) -> None:
    """Removed while it is streamed: the client is told that its file is not whole, and so is the log."""
    site.settings |= {**bucket.environ, "BGTASKS_STORE_URL": bucket.url}
    port, ready = site.start(*WORKERS[worker]), finished(LARGE)
    assert ask(port, path_of(ready), Range="bytes=5000000-9999999").body == LARGE[5_000_000:10_000_000]
    connection = http.client.HTTPConnection(HOST, port, timeout=20)
    connection.request("GET", path_of(ready), headers={USER: REQUESTER})
    response = connection.getresponse()
    assert (response.status, response.length) == (200, len(LARGE))
    parts.store.delete(str(ready.object_key))
    with pytest.raises(http.client.IncompleteRead):
        response.read()
    connection.close()
    assert ask(port, path_of(ready)).status == 404
    wait_for(lambda: "ObjectMissing" in site.log(), "the log says why", 5)
    assert count(parts, ready) == 0


# -- files that are made while they are sent ---------------------------------------------------------


@pytest.mark.parametrize("rows", [10, 3000])
@pytest.mark.parametrize("worker", ["sync", "gthread"])
def test_a_file_at_once_over_http(site: Site, rows: int, worker: str) -> None:
    """In chunks for HTTP/1.1; in HTTP/1.0, which has none, with its length, so that its end can be told."""
    port = site.start(*WORKERS[worker])
    chunked = ask(port, f"/inline?count={rows}")
    assert chunked.headers["Transfer-Encoding"] == "chunked"
    assert len(chunked.body.splitlines()) == rows + 1
    old = curl(port, f"/inline?count={rows}", "--http1.0", "--include")
    headers, body = old.stdout.split(b"\r\n\r\n", 1)
    assert f"Content-Length: {len(chunked.body)}".encode() in headers
    assert body == chunked.body


@pytest.mark.parametrize("worker", ["sync", "gthread"])
def test_a_file_at_once_that_fails_midway(site: Site, worker: str, tmp_path: Path) -> None:
    """HTTP/1.1: the last chunk never comes, and curl says so. HTTP/1.0: there is an error instead of half a file."""
    port = site.start(*WORKERS[worker])
    target = "/inline?count=3000&since=2000-01-01"
    with pytest.raises(http.client.IncompleteRead):
        ask(port, target)
    broken = curl(port, target, "--output", str(tmp_path / "half"))
    assert broken.returncode == PARTIAL_FILE
    assert 0 < (tmp_path / "half").stat().st_size < 3000 * 1000
    old = curl(port, target, "--http1.0", "--fail")
    assert old.returncode == 22  # an HTTP status of 400 or above
    assert b"500" in old.stderr
    assert "the source is gone" in site.log()
    assert len(ask(port, "/inline?count=5").body.splitlines()) == 6


# -- curl --------------------------------------------------------------------------------------------


def curl(port: int, target: str, *options: str, user: str = REQUESTER) -> subprocess.CompletedProcess[bytes]:
    """Run curl."""
    return subprocess.run(command(port, target, *options, user=user), capture_output=True, check=False, timeout=60)


def command(port: int, target: str, *options: str, user: str = REQUESTER) -> list[str]:
    """How to run it."""
    program = shutil.which("curl")
    if program is None:
        missing("curl")
    said = ["--silent", "--show-error", "--max-time", "30", "--header", f"{USER}: {user}"]
    return [program, *said, *options, f"http://{HOST}:{port}{target}"]


def size(path: Path) -> int:
    """Bytes; none, where there is no file yet."""
    return path.stat().st_size if path.exists() else 0


def sha256(path: Path) -> str:
    """Of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_curl_goes_on_where_it_was_broken_off(parts: Deployment, port: int, tmp_path: Path) -> None:
    """``curl -C -`` brings the rest, and the file is the row's; broken off twice and finished, it is one download."""
    # curl takes some 10 MB before it slows down, and a connection 5 MB more.
    ready, saved = finished(5 * LARGE), tmp_path / "saved"
    for _ in range(2):
        before = size(saved)
        slow = subprocess.Popen(command(port, path_of(ready), "-C", "-", "-o", str(saved), "--limit-rate", "500k"))
        wait_for(lambda before=before: size(saved) > before, "curl gets something", 10)
        slow.kill()
        slow.wait()
        assert before < size(saved) < 4 * len(LARGE)
    assert count(parts, ready) == 0
    assert curl(port, path_of(ready), "-C", "-", "-o", str(saved)).returncode == 0
    assert sha256(saved) == ready.sha256
    wait_for(lambda: count(parts, ready) == 1, "the resumed download is counted", 5)
    again = curl(port, path_of(ready), "-C", "-", "-o", str(saved))  # it has everything: 416
    assert sha256(saved) == ready.sha256, again
    assert count(parts, ready) == 1


def test_curl_takes_the_whole_of_another_file(parts: Deployment, site: Site, tmp_path: Path) -> None:
    """``If-Range`` with this file's tag brings the part, and with any other tag the whole."""
    port, ready = site.start(), finished(LARGE)
    part = ["--range", "1000-", "-w", "%{http_code} %{size_download}", "-o", str(tmp_path / "saved")]
    same = curl(port, path_of(ready), "-H", f'If-Range: "{ready.sha256}"', *part)
    assert same.stdout.decode() == f"206 {len(LARGE) - 1000}"
    other = curl(port, path_of(ready), "-H", 'If-Range: "another"', *part)
    assert other.stdout.decode() == f"200 {len(LARGE)}"
    assert sha256(tmp_path / "saved") == ready.sha256


def test_curl_saves_it_under_its_name(site: Site, parts: Deployment, tmp_path: Path) -> None:
    """``--remote-header-name`` takes the name of Content-Disposition; and nobody else gets anything."""
    port, ready = site.start(), finished(LARGE[:1000], 'Zoë\'s "flights".csv')
    saved: dict[str, Any] = {"-O": None, "--remote-header-name": None, "--output-dir": str(tmp_path / "saved")}
    options = [text for pair in saved.items() for text in pair if text]
    (tmp_path / "saved").mkdir()
    assert curl(port, path_of(ready), *options).returncode == 0
    [file] = (tmp_path / "saved").iterdir()
    assert (file.name, sha256(file)) == ("Zoe's _flights_.csv", ready.sha256)
    assert b"403" in curl(port, path_of(ready), "--fail", user="eve@example.com").stderr
