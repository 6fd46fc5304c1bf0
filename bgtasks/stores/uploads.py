"""How an object gets into a store: on a disk by obstore's own file, into a bucket in parts that a thread sends."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Iterator
from typing import Any

import obstore
from obstore.exceptions import BaseError, GenericError

from bgtasks.errors import ImproperlyConfigured, ObjectMissing, TransientError
from bgtasks.stores.translating import translated

WRITE_BUFFER = 8 * 1024 * 1024  # bytes; a part of an S3 upload must have at least 5 MiB, and 10,000 are allowed
#: Parts that are under way to a bucket at once: each is in memory until it has arrived.
AT_ONCE = 4
#: Bytes that are sent at once, within the time that a bucket may be silent: 0.8 Mbit/s are enough.
SMALL = 1024 * 1024


class FolderUpload:
    """Into a file beside the object's, which is renamed in the end."""

    def __init__(self, store: Any, key: str) -> None:
        with translated():
            self._file: Any = obstore.open_writer(store, key, buffer_size=WRITE_BUFFER)

    def write(self, data: memoryview) -> None:
        with translated():
            self._file.write(data)

    def finish(self) -> None:
        with translated():
            self._file.close()

    def give_up(self) -> None:
        self._file = None  # obstore removes what it has staged when its file is dropped


class _GivenUp(Exception):
    """What the thread raises within obstore, so that it aborts the upload."""


class BucketUpload:
    """One part: a plain request when it is whole. More: a multi-part upload, which is aborted if it is given up.

    obstore's own file for writing would leave an unfinished upload in the bucket when it is dropped, which costs money
    and which nobody sees; ``obstore.put`` aborts it where its source raises. So a thread puts what this one hands it.

    What is large may take long, and a bucket that is silent is not told from a slow one while it is sent. So the bucket
    is asked for something first.

    :param store: obstore's, which does not wait for an answer for long.
    :param for_parts: the same bucket, for what may.
    """

    def __init__(self, store: Any, for_parts: Any, key: str) -> None:
        self._store, self._for_parts, self._key = store, for_parts, key
        self._block = bytearray()
        self._sending: _Sending | None = None
        self._is_finishing = False

    def write(self, data: memoryview) -> None:
        """Raises: TransientError."""
        for start in range(0, len(data), WRITE_BUFFER):
            self._block += data[start : start + WRITE_BUFFER]
            if len(self._block) > WRITE_BUFFER:  # there is more than one part
                self._send(bytes(memoryview(self._block)[:WRITE_BUFFER]))
                del self._block[:WRITE_BUFFER]

    def finish(self) -> None:
        """Raises: TransientError."""
        rest, self._block = bytes(self._block), bytearray()
        if self._sending is None:
            self._put(rest)
            return
        self._is_finishing = True
        self._send(rest)
        self._sending.finish()

    def give_up(self) -> None:
        if self._sending is not None:
            self._sending.give_up()
        if self._is_finishing:  # which was interrupted, maybe only after the object was whole
            with contextlib.suppress(ImproperlyConfigured, ObjectMissing, TransientError), translated():
                obstore.delete(self._store, self._key)

    def _put(self, whole: bytes) -> None:
        if is_large := len(whole) > SMALL:
            self._hear()
        self._is_finishing = True
        with translated():
            obstore.put(self._for_parts if is_large else self._store, self._key, whole, use_multipart=False)

    def _send(self, part: bytes) -> None:
        if self._sending is None:
            self._hear()
            self._sending = _Sending(self._for_parts, self._key)
        self._sending.send(part)

    def _hear(self) -> None:
        """Whether the bucket answers, whatever it says. Raises: TransientError, ImproperlyConfigured."""
        with translated():
            try:
                obstore.head(self._store, self._key)
            except (FileNotFoundError, BaseError) as answer:
                if isinstance(answer, GenericError):  # it is none
                    raise


class _Sending:
    """The thread that puts the parts of an object into a bucket, and hears of no more than one ahead."""

    def __init__(self, store: Any, key: str) -> None:
        self._parts: queue.Queue[bytes | None | _GivenUp] = queue.Queue(maxsize=1)
        self._error: BaseException | None = None
        self._is_over = False  # nothing more will come
        # Whatever interrupts the writing (a signal, a limit) comes to the thread of the step, and never here.
        self._thread = threading.Thread(target=self._run, args=(store, key), name=f"upload {key}", daemon=True)
        self._thread.start()

    def send(self, part: bytes) -> None:
        """Raises: TransientError, ImproperlyConfigured, if an earlier one could not be sent."""
        self._raise()
        self._parts.put(part)

    def finish(self) -> None:
        """Wait until the object is whole. Raises: TransientError."""
        self._parts.put(None)
        self._thread.join()
        self._raise()

    def give_up(self) -> None:
        """Wait until the upload is aborted."""
        self._parts.put(_GivenUp())
        self._thread.join()

    def _raise(self) -> None:
        if self._error is not None:
            with translated():
                raise self._error

    def _run(self, store: Any, key: str) -> None:
        try:
            obstore.put(
                store, key, self._received(), use_multipart=True, chunk_size=WRITE_BUFFER, max_concurrency=AT_ONCE
            )
        except BaseException as error:  # raised where the writing goes on
            self._error = error
            with contextlib.suppress(_GivenUp):
                while not self._is_over:  # or whoever writes would wait for a place that nobody makes
                    self._next()

    def _received(self) -> Iterator[bytes]:
        while (part := self._next()) is not None:
            yield part

    def _next(self) -> bytes | None:
        part = self._parts.get()
        self._is_over = not isinstance(part, bytes)
        if isinstance(part, _GivenUp):
            raise part
        return part
