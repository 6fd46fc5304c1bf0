"""The object store: finished files, streamed in and out, on a disk or in a bucket (obstore).

Nothing here may be used in a process that forks workers afterwards: obstore's threads do not
survive a fork. A worker's main process never touches the store.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import heapq
import io
import itertools
import logging
import operator
import os
import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore, from_url

from bgtasks.errors import BgtasksError, ObjectMissing, StoreFull, TransientError
from bgtasks.object_keys import is_folder

#: How obstore words that a disk is full (ENOSPC), or what one may use of it (EDQUOT).
_FULL = re.compile(rf"os error ({errno.ENOSPC}|{errno.EDQUOT})\b")

WRITE_BUFFER = 8 * 1024 * 1024  # bytes; a part of an S3 upload must have at least 5 MiB
READ_CHUNK = 1024 * 1024  # bytes
BUCKET_CHUNK = 4 * 1024 * 1024  # bytes; there each one is a request, whose answer takes its time to begin
#: How long a bucket is tried that does not answer: a step that waits for it holds a slot.
RETRIES: Any = {"retry_timeout": timedelta(seconds=5)}
LIST_PAGE = 1000  # objects in one answer of a bucket
WALK_PAGE = 10_000  # folders of which the names are in memory at once

logger = logging.getLogger(__name__)


class ObjectWriter(io.RawIOBase):
    """A binary file whose bytes stream into the store; hashed and counted on the way.

    The object is invisible until ``commit()``. Leaving the block without it leaves nothing behind.
    """

    def __init__(self, writer: Any, tidy: Callable[[], None], watch: Callable[[], None]) -> None:
        self._writer = writer
        self._watch = watch  # called with each write
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
        self._watch()
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
        self._chunk = READ_CHUNK if self._folder else BUCKET_CHUNK
        with _translated():
            local = LocalStore(self._folder, mkdir=True) if self._folder else None
            self._store: Any = local or from_url(url, retry_config=RETRIES)

    def open_writer(self, key: str, watch: Callable[[], None] = lambda: None) -> ObjectWriter:
        """A binary file to write a new object to.

        :param watch: called with each write; what it raises ends the writing.
        """
        with _translated():
            writer = obstore.open_writer(self._store, key, buffer_size=WRITE_BUFFER)
        return ObjectWriter(writer, functools.partial(self._remove_folder, key), watch)

    def size(self, key: str) -> int:
        """Bytes. Raises: ObjectMissing."""
        with _translated():
            return int(obstore.head(self._store, key)["size"])

    def read(self, key: str, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        """The object's bytes, or a part of them, a chunk at a time; the first one is read at once.

        Nothing but that part is read, and a client that is slow holds no connection to a bucket.
        Raises: ObjectMissing, also where the object ends too early, and TransientError.
        """
        chunks = self._chunks(key, start, self.size(key) if length is None else start + length)
        return itertools.chain([first] if (first := next(chunks, None)) else [], chunks)

    def _chunks(self, key: str, start: int, stop: int) -> Iterator[bytes]:
        while start < stop:
            with _translated():
                chunk = bytes(obstore.get_range(self._store, key, start=start, end=min(start + self._chunk, stop)))
            if not chunk:
                raise ObjectMissing
            yield chunk
            start += len(chunk)

    def open_local(self, key: str) -> int | None:
        """A descriptor of the object on a disk; None for a bucket. Raises: ObjectMissing, TransientError."""
        with _translated():
            return os.open(self._folder / key, os.O_RDONLY) if self._folder else None

    def sign(self, key: str, seconds: int) -> str:
        """A URL by which anybody may read the object of a bucket for so long. Raises: TransientError."""
        with _translated(TransientError):
            return str(obstore.sign(self._store, "GET", key, timedelta(seconds=seconds)))

    def local_path(self, key: str) -> Path | None:
        """Where the object is on this machine's disk; None for a bucket."""
        return self._folder / key if self._folder else None

    def delete(self, key: str) -> None:
        """Remove an object, or on a disk what a killed upload has left of one; it is no error if it is gone."""
        with contextlib.suppress(ObjectMissing), _translated():
            if self._folder:
                (self._folder / key).unlink()  # obstore takes no key#1
            else:
                obstore.delete(self._store, key)
        self._remove_folder(key)

    def keys(self, start: str = "") -> Iterator[str]:
        """Every object's key in order, read in pages; on a disk ``key#1`` too, which a killed upload has left.

        On a disk the empty folders of requests go at the same time, since nobody else would find them.

        :param start: the id of the request to begin with.
        Raises: TransientError.
        """
        return self._walked(start) if self._folder else self._listed(start)

    def is_there(self) -> bool:
        """Whether the store answers."""
        try:
            next(self.keys(), None)
        except TransientError:
            return False
        return True

    def _listed(self, start: str) -> Iterator[str]:
        with _translated(TransientError):
            for page in obstore.list(self._store, offset=start or None, chunk_size=LIST_PAGE):
                yield from (found["path"] for found in page)

    def _walked(self, start: str) -> Iterator[str]:
        folders = self._folders(functools.partial(operator.le, start))
        while folders:
            for folder in folders:
                yield from self._files(folder)
            folders = self._folders(functools.partial(operator.lt, folders[-1]))

    def _folders(self, wanted: Callable[[str], bool]) -> list[str]:
        """The requests' next folders: of millions no more than these are in memory."""
        with _translated(TransientError), os.scandir(self._folder) as entries:
            names = (entry.name for entry in entries if is_folder(entry.name) and entry.is_dir(follow_symlinks=False))
            return heapq.nsmallest(WALK_PAGE, filter(wanted, names))

    def _files(self, folder: str) -> list[str]:
        try:
            with os.scandir(f"{self._folder}/{folder}") as entries:
                names = [entry.name for entry in entries if entry.is_file(follow_symlinks=False)]
        except FileNotFoundError:  # removed meanwhile
            return []
        except OSError as error:  # one that can't be read hides no other
            logger.warning("the folder of request %s is left out: %s", folder, error.strerror)
            return []
        if not names:
            self._remove_folder(folder)
        return [f"{folder}/{name}" for name in sorted(names)]

    def _remove_folder(self, key: str) -> None:
        """On a disk, the folder of a request goes with its last object."""
        if self._folder:
            with contextlib.suppress(OSError):
                (self._folder / key.partition("/")[0]).rmdir()


@contextlib.contextmanager
def _translated(missing: type[BgtasksError] = ObjectMissing) -> Iterator[None]:
    """:param missing: what it is if something is not there."""
    try:
        yield
    except (BaseError, OSError) as error:
        if isinstance(error, FileNotFoundError) and missing is not TransientError:
            raise missing from error
        if _FULL.search(str(error)):
            raise StoreFull from error
        raise TransientError("The file store does not answer just now.") from error
