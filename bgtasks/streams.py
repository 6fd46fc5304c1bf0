"""From a function that writes to an iterator that is read: a bounded pipe between two threads."""

from __future__ import annotations

import contextlib
import contextvars
import io
import queue
import tempfile
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any, BinaryIO, cast

from celery import Celery

from bgtasks import settings

CHUNK = 256 * 1024  # bytes
CHUNKS = 8  # chunks under way: what bounds the memory


class _Pipe(io.RawIOBase):
    """The writing end. Its writer is told when nobody reads any more."""

    def __init__(self) -> None:
        self.chunks: queue.Queue[bytes | BaseException | None] = queue.Queue(CHUNKS)
        self.abandoned = threading.Event()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        taken = bytes(data[:CHUNK])  # a writer of more than that is called again with the rest
        self.put(taken)
        return len(taken)

    def put(self, item: bytes | BaseException | None) -> None:
        while not self.abandoned.is_set():
            try:
                return self.chunks.put(item, timeout=0.5)
            except queue.Full:
                continue
        raise BrokenPipeError("the client has gone")


class _Chunks(Iterator[bytes]):
    """The reading end. A server closes it when the response is over, however that has come about."""

    def __init__(self, first: bytes, rest: Generator[bytes]) -> None:
        self._first: bytes | None = first
        self._rest = rest

    def __next__(self) -> bytes:
        first, self._first = self._first, None
        return next(self._rest) if first is None else first

    def close(self) -> None:
        """Tell the writer that nobody reads any more."""
        self._rest.close()


def written_by(write: Callable[[BinaryIO], None]) -> Iterator[bytes]:
    """What a function writes, as it is written; never more than a few chunks in memory.

    The function runs in a thread of its own. Its error is raised here: at once, if it comes before
    the first byte; from the iterator otherwise, so that a server breaks the connection off and the
    half of a file can't be taken for the whole.
    """
    chunks = _read(write)
    return _Chunks(next(chunks, b""), chunks)  # what fails at once fails before a response has begun


def spooled(chunks: Iterable[bytes]) -> tuple[BinaryIO, int]:
    """The same bytes as a file, which is on the disk until it is closed, and their number."""
    file = tempfile.TemporaryFile()  # noqa: SIM115 - whoever reads it closes it
    try:
        for chunk in chunks:
            file.write(chunk)
        size = file.tell()
        file.seek(0)
    except BaseException:
        file.close()
        raise
    return cast("BinaryIO", file), size


def _read(write: Callable[[BinaryIO], None]) -> Generator[bytes]:
    pipe = _Pipe()
    # The writer goes on in the reader's context: its request, its language, its Celery app.
    run, app = contextvars.copy_context().run, settings.this_app()
    threading.Thread(target=run, args=(_fill, pipe, write, app), name="bgtasks response", daemon=True).start()
    try:
        while (item := pipe.chunks.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        # The writer finds out at its next write. It is not waited for: it may be in the middle of a long query.
        pipe.abandoned.set()


def _fill(pipe: _Pipe, write: Callable[[BinaryIO], None], app: Celery) -> None:
    app.set_current()  # Celery's current app is a thread's own
    buffer = io.BufferedWriter(pipe, CHUNK)
    # Closed before the buffer is: what an error has left in it must not be sent as if all were well.
    with contextlib.closing(pipe), contextlib.suppress(BrokenPipeError):
        try:
            write(cast("BinaryIO", buffer))
            if not buffer.closed:  # a TextIOWrapper, say, closes what it wraps
                buffer.flush()
            pipe.put(None)
        except BaseException as error:
            pipe.put(error)
