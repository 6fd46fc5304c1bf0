"""The bytes of a response: from where they come, and whether the last of them has gone out."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from werkzeug.wsgi import FileWrapper, wrap_file

from bgtasks.errors import ObjectMissing
from bgtasks.ranges import Span

#: What a server reads at a time that can't send a file by itself. Bytes.
BUFFER = 256 * 1024

OnComplete = Callable[[], None] | None


def streamed(chunks: Iterable[bytes], on_complete: OnComplete) -> Iterator[bytes]:
    """The same bytes; then ``on_complete`` is called, unless the server gives up before."""
    yield from chunks
    if on_complete is not None:
        on_complete()


def from_disk(file: int, span: Span, on_complete: OnComplete, environ: dict[str, Any]) -> Iterable[bytes]:
    """A part of a file, as the server sends it best; its own wrapper may have the kernel send it (PEP 3333).

    :param file: a descriptor, which is closed with the response.
    """
    part = Part(file, span, on_complete)
    if _is_read(environ, span):
        return FileWrapper(part, BUFFER)  # type: ignore[arg-type]
    return wrap_file(environ, part, BUFFER)  # type: ignore[arg-type]


def _is_read(environ: dict[str, Any], span: Span) -> bool:
    """Whether the server is handed the bytes themselves, whatever wrapper it has."""
    # gunicorn's has the kernel send the file, which takes a sixth longer than large blocks do (tests.bench.serving).
    if environ.get("SERVER_SOFTWARE", "").startswith("gunicorn"):
        return True
    # uWSGI sends the whole file from its beginning, wherever it stands and whatever Content-Length says.
    return "uwsgi.version" in environ and not span.is_whole


class Part(io.RawIOBase):
    """A part of a file on a disk, for a server that reads it, or that has its descriptor sent.

    It ends where the part ends. A server that is through with it closes it, and then it is known whether all has gone
    out: the position is at the end, or the server took the descriptor and never moved the position, which leaves
    nothing to tell by. Nothing is said to be complete if it is closed because of an error, or forgotten.
    """

    def __init__(self, file: int, span: Span, on_complete: OnComplete) -> None:
        self._file = file
        self._stop = span.stop
        self._position = os.lseek(file, span.start, os.SEEK_SET)
        self._moved = self._taken = False
        self._on_complete = on_complete

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def fileno(self) -> int:
        self._taken = True
        return self._file

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Positions are those of the whole file; the end is the part's."""
        self._moved = True
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._stop}[whence]
        self._position = os.lseek(self._file, base + offset, os.SEEK_SET)
        return self._position

    def read(self, size: int = -1) -> bytes:
        """Straight into the bytes that are handed out: ``RawIOBase`` would copy them. Raises: ObjectMissing."""
        if size < 0:
            return self.readall()
        self._moved = True
        left = self._stop - self._position
        if left <= 0:
            self._complete()
            return b""
        block = os.read(self._file, min(size, left))
        if size and not block:  # the file has become shorter
            raise ObjectMissing
        self._position += len(block)
        return block

    def close(self) -> None:
        """Raises: ObjectMissing, where the file has become shorter: the server must not take it for sent."""
        if self.closed:
            return
        super().close()
        try:
            if (self._moved or self._taken) and sys.exc_info()[0] is None:
                self._end()
        finally:
            os.close(self._file)

    def __del__(self) -> None:
        self._moved = self._taken = False
        self.close()

    def _end(self) -> None:
        if os.fstat(self._file).st_size < self._stop:
            raise ObjectMissing
        if self._position == self._stop or not self._moved:
            self._complete()

    def _complete(self) -> None:
        told, self._on_complete = self._on_complete, None
        if told is not None:
            told()
