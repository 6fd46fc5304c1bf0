"""A response that is written while it is read."""

from __future__ import annotations

import contextvars
import csv
import gc
import io
import threading
import tracemalloc
from collections.abc import Iterator
from typing import Any, BinaryIO

import pytest
from celery import Celery

from bgtasks import settings, streams
from bgtasks.stack import wait_for
from bgtasks.streams import CHUNK, CHUNKS, spooled, written_by


@pytest.fixture(autouse=True)
def _an_app() -> None:
    """A writer goes on in its reader's Celery app; these need none in particular."""
    Celery("streams", broker="memory://").set_current()


def writers() -> list[threading.Thread]:
    """The writers that are at work."""
    return [thread for thread in threading.enumerate() if thread.name == "bgtasks response"]


@pytest.fixture(autouse=True)
def _no_writer_stays() -> Iterator[None]:
    """Every writer ends, whatever became of its reader."""
    yield
    wait_for(lambda: not writers(), "a writer is left", 5)


class Counted:
    """Writes a number of blocks, and knows how far it has come."""

    def __init__(self, blocks: int, block: bytes = b"x" * CHUNK) -> None:
        self.blocks, self.block, self.written = blocks, block, 0

    def __call__(self, buffer: BinaryIO) -> None:
        for _ in range(self.blocks):
            buffer.write(self.block)
            self.written += 1


def has_settled(counted: Counted) -> bool:
    """Whether the writer waits for its reader: it has come to the same place twice."""
    before = counted.written
    threading.Event().wait(0.1)
    return counted.written == before


def test_what_is_written_is_read() -> None:
    """All bytes, in order, whatever the sizes of the writes."""
    pieces = [bytes([size % 256]) * size for size in (0, 1, 10, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK, 5)]

    def write(buffer: BinaryIO) -> None:
        for piece in pieces:
            assert buffer.write(piece) == len(piece)

    assert b"".join(written_by(write)) == b"".join(pieces)


def test_nothing_at_all_is_an_empty_file() -> None:
    """A writer that writes nothing is no error."""
    assert b"".join(written_by(lambda _: None)) == b""


def test_a_slow_reader_holds_the_writer_back() -> None:
    """Never more than a few chunks are under way, however much there is."""
    counted = Counted(blocks=200)
    reading = written_by(counted)
    for taken in range(1, 201):
        next(reading)
        if taken % 50 == 0:
            wait_for(lambda: has_settled(counted), "the writer runs on", 5)
            assert counted.written <= taken + CHUNKS + 2
    assert b"".join(reading) == b""
    assert counted.written == 200


def test_one_large_write_is_taken_in_pieces() -> None:
    """A writer that hands over everything at once does not fill the memory a second time."""
    large = bytes(64 * 1024 * 1024)
    tracemalloc.start()
    try:
        assert sum(map(len, written_by(lambda buffer: buffer.write(large) and None))) == len(large)
        assert tracemalloc.get_traced_memory()[1] < (2 * CHUNKS + 4) * CHUNK
    finally:
        tracemalloc.stop()


def test_an_error_before_the_first_byte_is_raised_at_once() -> None:
    """What fails at once fails before a response has begun, and not as the half of a file."""

    def write(buffer: BinaryIO) -> None:
        buffer.write(b"number,name\r\n")
        raise LookupError("no such table")

    with pytest.raises(LookupError, match="no such table"):
        written_by(write)


@pytest.mark.parametrize("error", [LookupError("gone"), BrokenPipeError("the writer's own"), SystemExit(3)])
def test_an_error_midway_is_raised_from_the_iterator(error: BaseException) -> None:
    """The server breaks the connection off, so that the half of a file can't be taken for the whole."""

    def write(buffer: BinaryIO) -> None:
        buffer.write(b"x" * 3 * CHUNK)
        raise error

    reading = written_by(write)
    with pytest.raises(type(error)):
        list(reading)


@pytest.mark.parametrize("chunks", [0, 1, 5])
def test_closing_stops_the_writer(chunks: int) -> None:
    """A server closes the response when its client goes away, also before the first chunk; the writer ends."""
    counted = Counted(blocks=10_000)
    reading = written_by(counted)
    for _ in range(chunks):
        next(reading)
    assert writers()
    reading.close()  # type: ignore[attr-defined]
    wait_for(lambda: not writers(), "the writer goes on", 5)
    assert counted.written < chunks + 2 * CHUNKS


def test_a_response_that_is_forgotten_stops_the_writer() -> None:
    """A server that closes nothing leaves no thread behind either."""
    reading = written_by(Counted(blocks=10_000))
    next(reading)
    del reading
    gc.collect()
    wait_for(lambda: not writers(), "the writer goes on", 5)


def test_closing_does_not_wait_for_the_writer() -> None:
    """A writer in the middle of a long query holds up nobody: it is told at its next write."""
    go_on = threading.Event()

    def write(buffer: BinaryIO) -> None:
        buffer.write(b"x" * 2 * CHUNK)
        buffer.flush()
        go_on.wait(30)
        buffer.write(b"x" * 2 * CHUNK)

    reading = written_by(write)
    reading.close()  # type: ignore[attr-defined]
    assert writers()
    go_on.set()


def test_a_wrapper_may_close_its_buffer() -> None:
    """Text wrappers and archives close what they wrap, at the latest when they are forgotten."""

    def write(buffer: BinaryIO) -> None:
        text = io.TextIOWrapper(buffer, "utf-8", newline="")
        csv.writer(text).writerows([["a", "é"]] * 3)

    assert b"".join(written_by(write)) == "a,é\r\n".encode() * 3


@pytest.mark.parametrize("size", [0, 1, CHUNK, 3 * CHUNK + 5])
def test_a_file_may_be_written_before_it_is_sent(size: int) -> None:
    """Where a client could not tell the end otherwise: all of it, and how long it is."""
    file, length = spooled(written_by(lambda buffer: buffer.write(b"x" * size) and None))
    with file:
        assert (length, file.read()) == (size, b"x" * size)


def test_what_is_written_before_is_not_in_memory() -> None:
    """It waits on the disk."""
    tracemalloc.start()
    try:
        file, length = spooled(written_by(Counted(blocks=400)))
        assert tracemalloc.get_traced_memory()[1] < (2 * CHUNKS + 4) * CHUNK
    finally:
        tracemalloc.stop()
    with file:
        assert length == 400 * CHUNK


def test_an_error_midway_leaves_no_file_that_is_sent() -> None:
    """There is no response yet: the view answers with the error."""

    def write(buffer: BinaryIO) -> None:
        buffer.write(b"x" * 3 * CHUNK)
        raise LookupError("gone")

    with pytest.raises(LookupError):
        spooled(written_by(write))


language = contextvars.ContextVar("language", default="en")


def test_the_writer_has_the_readers_context() -> None:
    """Context variables and Celery's current app are those of the thread that answers the request."""
    language.set("de")
    seen: list[Any] = []
    list(written_by(lambda _: seen.extend([language.get(), settings.this_app(), threading.current_thread()])))
    assert seen[:2] == ["de", settings.this_app()]
    assert seen[2] is not threading.current_thread()
    assert streams.CHUNK * streams.CHUNKS <= 4 * 1024 * 1024
