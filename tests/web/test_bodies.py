"""Files that a server sends by itself: what it is handed, and when its download is whole."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from werkzeug.wsgi import FileWrapper

from bgtasks.bodies import Part, from_disk
from bgtasks.errors import ObjectMissing
from bgtasks.ranges import Span

SIZE = 1_000_000
CONTENTS = os.urandom(SIZE)
SPANS = [Span.whole(SIZE), Span(0, 1, SIZE), Span(300_000, 700_000, SIZE), Span(SIZE - 1, SIZE, SIZE)]


class Counter:
    """Told that a download was whole."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> None:
        self.count += 1


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(CONTENTS)
    return path


@pytest.fixture
def told() -> Counter:
    return Counter()


def part(path: Path, span: Span, told: Counter) -> Part:
    """A part of a file on the disk."""
    return Part(os.open(path, os.O_RDONLY), span, told)


def expected(span: Span) -> bytes:
    """Its bytes."""
    return CONTENTS[span.start : span.stop]


@pytest.fixture(params=SPANS, ids=lambda span: f"{span.start}-{span.stop}")
def span(request: pytest.FixtureRequest) -> Span:
    """A part, or all of the file."""
    found: Span = request.param
    return found


def test_a_server_that_reads_to_the_end(path: Path, span: Span, told: Counter) -> None:
    """As in PEP 3333: blocks until an empty one. The part ends where it ends, and counts once."""
    file = part(path, span, told)
    assert b"".join(iter(lambda: file.read(8192), b"")) == expected(span)
    assert told.count == 1
    file.close()
    file.close()
    assert told.count == 1


@pytest.mark.parametrize("length", [-1, SIZE * 2])
def test_a_server_that_reads_all_at_once(path: Path, span: Span, told: Counter, length: int) -> None:
    """No more than the part comes."""
    file = part(path, span, told)
    assert file.read(length) == expected(span)
    file.close()
    assert told.count == 1


def test_a_server_that_measures_and_then_reads(path: Path, span: Span, told: Counter) -> None:
    """Some find out how long a file is by seeking to its end and back; they never read an empty block."""
    file = part(path, span, told)
    start = file.tell()
    file.seek(0, os.SEEK_END)
    left = file.tell() - start
    file.seek(start)
    assert (file.seekable(), left) == (True, span.length)
    read = b""
    while left:
        peeked = file.read(min(left, 65_536))
        file.seek(-len(peeked), os.SEEK_CUR)
        read += file.read(len(peeked))
        left -= len(peeked)
    assert read == expected(span)
    assert told.count == 0
    file.close()
    assert told.count == 1


def test_a_server_that_has_the_kernel_send_it(path: Path, span: Span, told: Counter) -> None:
    """Python's ``socket.sendfile`` from the descriptor's position; gunicorn moves the descriptor back afterwards."""
    file = part(path, span, told)
    offset = os.lseek(file.fileno(), 0, os.SEEK_CUR)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        received: list[bytes] = []
        reader = threading.Thread(target=lambda: received.extend(iter(lambda: theirs.recv(65_536), b"")))
        reader.start()
        assert ours.sendfile(file, offset=offset, count=span.length) == span.length
        ours.shutdown(socket.SHUT_RDWR)
        reader.join()
    os.lseek(file.fileno(), offset, os.SEEK_SET)
    file.close()
    assert b"".join(received) == expected(span)
    assert told.count == 1


def test_a_client_that_hangs_up_is_no_download(path: Path, told: Counter) -> None:
    """The kernel sends a part of it, and then there is nobody any more."""
    file = part(path, SPANS[0], told)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        threading.Thread(target=lambda: (theirs.recv(1000), theirs.close())).start()
        with pytest.raises(OSError, match=r"pipe|reset"):
            try:
                ours.sendfile(file, offset=0, count=SIZE)
            finally:
                file.close()
    assert told.count == 0


def test_a_client_that_hangs_up_before_the_first_byte_is_no_download(path: Path, told: Counter) -> None:
    """A small file is read whole and then can't be sent: its position alone would say that it was."""
    file = part(path, Span(SIZE - 1, SIZE, SIZE), told)
    ours, theirs = socket.socketpair()
    theirs.close()
    with ours, pytest.raises(OSError, match=r"pipe|reset"):
        try:
            ours.sendfile(file, offset=SIZE - 1, count=1)
        finally:
            file.close()
    assert told.count == 0


def test_a_server_that_takes_the_descriptor(path: Path, span: Span, told: Counter) -> None:
    """It sends the file by itself and moves no position of ours: that it closes the file is all there is to see."""
    file = part(path, span, told)
    assert os.pread(file.fileno(), span.length, span.start) == expected(span)
    file.close()
    assert told.count == 1


@pytest.mark.parametrize("read", [0, 1, SIZE - 1])
def test_a_file_that_is_closed_before_its_end_is_no_download(path: Path, told: Counter, read: int) -> None:
    """Whoever goes away before the last byte has no file; nor has whoever never began."""
    file = part(path, SPANS[0], told)
    if read:
        file.read(read)
    file.close()
    assert told.count == 0


def test_a_file_that_is_forgotten_is_no_download(path: Path, told: Counter) -> None:
    """Nobody has said that it was sent; and its descriptor is closed."""
    file = part(path, SPANS[0], told)
    descriptor = file.fileno()
    file.read(SIZE)
    del file
    assert told.count == 0
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


def test_an_empty_file_is_a_download(tmp_path: Path, told: Counter) -> None:
    """There is no last byte to wait for."""
    (tmp_path / "empty").write_bytes(b"")
    file = part(tmp_path / "empty", Span.whole(0), told)
    assert file.read() == b""
    file.close()
    assert told.count == 1


@pytest.mark.parametrize("left", [0, 1, SIZE // 2])
def test_a_file_that_becomes_shorter_while_it_is_read(path: Path, told: Counter, left: int) -> None:
    """The server gets an error, and so breaks the connection off."""
    file = part(path, SPANS[0], told)
    os.truncate(path, left)
    with pytest.raises(ObjectMissing):
        while file.read(8192):
            pass
    with pytest.raises(ObjectMissing):
        file.close()
    assert told.count == 0


@pytest.mark.parametrize("left", [0, 1, SIZE // 2])
def test_a_file_that_becomes_shorter_while_the_kernel_sends_it(path: Path, told: Counter, left: int) -> None:
    """The kernel stops in silence: it is noticed when the server closes the file, which is still soon enough."""
    file = part(path, SPANS[0], told)
    file.fileno()
    os.truncate(path, left)
    with pytest.raises(ObjectMissing):
        file.close()
    assert told.count == 0


class Wrapper:
    """A server's own ``wsgi.file_wrapper``."""

    def __init__(self, file: Any, size: int) -> None:
        self.file = file

    def __iter__(self) -> Iterator[bytes]:
        return iter(lambda: self.file.read(8192), b"")

    def close(self) -> None:
        self.file.close()


@pytest.mark.parametrize(
    ("environ", "kind"),
    [
        ({}, FileWrapper),
        ({"wsgi.file_wrapper": Wrapper}, Wrapper),
        ({"wsgi.file_wrapper": Wrapper, "uwsgi.version": b"2.0"}, None),
        ({"wsgi.file_wrapper": Wrapper, "SERVER_SOFTWARE": "gunicorn/27.0.1"}, FileWrapper),
    ],
)
def test_whose_wrapper_it_is(path: Path, span: Span, told: Counter, environ: dict[str, Any], kind: Any) -> None:
    """The server's, where it has one; but uWSGI's sends the whole file, not a part, and gunicorn's is slow."""
    made = from_disk(os.open(path, os.O_RDONLY), span, told, environ)
    assert type(made) is (kind or (Wrapper if span.is_whole else FileWrapper))
    assert b"".join(made) == expected(span)
    made.close()  # type: ignore[attr-defined]
    assert told.count == 1
