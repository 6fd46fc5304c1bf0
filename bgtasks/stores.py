"""The object store: finished files, streamed in and out, on a disk or in a bucket (obstore).

Nothing here may be used in a process that forks workers afterwards: obstore's threads do not
survive a fork. A worker's main process never touches the store.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore, from_url

from bgtasks.errors import ObjectMissing, TransientError

WRITE_BUFFER = 8 * 1024 * 1024  # bytes; a part of an S3 upload must have at least 5 MiB
READ_CHUNK = 1024 * 1024  # bytes


class ObjectWriter(io.RawIOBase):
    """A binary file whose bytes stream into the store; hashed and counted on the way.

    The object is invisible until ``commit()``. Leaving the block without it leaves nothing behind.
    """

    def __init__(self, writer: Any, tidy: Callable[[], None]) -> None:
        self._writer = writer
        self._tidy = tidy  # called once the object was given up
        self._digest = hashlib.sha256()
        self.size = 0  #: bytes written so far

    @property
    def sha256(self) -> str:
        """Of the bytes written so far, in hex."""
        return self._digest.hexdigest()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        """Write bytes, all of them. Raises: TransientError, if the store does not take them."""
        if self.closed:
            raise ValueError("the object is closed")
        view = memoryview(data).cast("B")
        with _translated():
            self._writer.write(view)
        self._digest.update(view)
        self.size += len(view)
        return len(view)

    def commit(self) -> None:
        """Make the object whole and visible; also after ``close()``. Raises: TransientError."""
        if self._writer is None:
            raise ValueError("the object was given up or committed before")
        with _translated():
            self._writer.close()
        self._writer = None
        self.close()

    def __exit__(self, *error: object) -> None:
        """Give the object up, unless it was committed."""
        # Not in close(): a TextIOWrapper around this file closes it when it is forgotten.
        self.close()
        if self._writer is not None:
            # Dropping obstore's writer aborts the upload and removes what it has staged.
            self._writer = None
            self._tidy()


class Store:
    """The finished files of one deployment. Keys are ``<request id>/<fence>``."""

    def __init__(self, url: str, root: Path) -> None:
        self._folder = None if "://" in url else (root / url).resolve()
        with _translated():
            self._store: Any = LocalStore(self._folder, mkdir=True) if self._folder else from_url(url)

    def open_writer(self, key: str) -> ObjectWriter:
        """A binary file to write a new object to."""
        with _translated():
            writer = obstore.open_writer(self._store, key, buffer_size=WRITE_BUFFER)
        return ObjectWriter(writer, functools.partial(self._remove_folder, key))

    def size(self, key: str) -> int:
        """Bytes. Raises: ObjectMissing."""
        with _translated():
            return int(obstore.head(self._store, key)["size"])

    def read(self, key: str) -> Iterator[bytes]:
        """The object's bytes, a chunk at a time; it is opened at once. Raises: ObjectMissing."""
        with _translated():
            reader = obstore.open_reader(self._store, key, buffer_size=READ_CHUNK)
        return _chunks(reader)

    def local_path(self, key: str) -> Path | None:
        """Where the object is on this machine's disk; None for a bucket."""
        return self._folder / key if self._folder else None

    def delete(self, key: str) -> None:
        """Remove an object; it is no error if it is gone."""
        with contextlib.suppress(ObjectMissing), _translated():
            obstore.delete(self._store, key)
        self._remove_folder(key)

    def _remove_folder(self, key: str) -> None:
        """On a disk, the folder of a request goes with its last object."""
        if self._folder:
            with contextlib.suppress(OSError):
                (self._folder / key).parent.rmdir()


def _chunks(reader: Any) -> Iterator[bytes]:
    with contextlib.closing(reader), _translated():
        while chunk := reader.read(READ_CHUNK):
            yield bytes(chunk)


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise ObjectMissing from error
    except (BaseError, OSError) as error:
        raise TransientError("The file store does not answer just now.") from error
