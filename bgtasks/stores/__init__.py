"""The object store: finished files, streamed in and out, on a disk or in a bucket (obstore).

Nothing here may be used in a process that forks workers afterwards: obstore's threads do not
survive a fork. A worker's main process never touches the store.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import obstore

from bgtasks.errors import ObjectMissing, TransientError
from bgtasks.stores import bucket_joining, folder_joining, s3
from bgtasks.stores.folders import Folder
from bgtasks.stores.joining import Joined, PartObject, check_sizes, streamed
from bgtasks.stores.opening import opened_bucket, opened_folder
from bgtasks.stores.pieces import planned
from bgtasks.stores.reading import ahead
from bgtasks.stores.translating import translated
from bgtasks.stores.uploads import WRITE_BUFFER, BucketUpload, FolderUpload
from bgtasks.stores.writing import ObjectWriter

__all__ = ["BUCKET_CHUNK", "READ_CHUNK", "WRITE_BUFFER", "Joined", "ObjectWriter", "PartObject", "Store"]

READ_CHUNK = 1024 * 1024  # bytes
BUCKET_CHUNK = 4 * 1024 * 1024  # bytes; there each one is a request, whose answer takes its time to begin
LIST_PAGE = 1000  # objects in one answer of a bucket

logger = logging.getLogger(__name__)


class Store:
    """One place of finished files. Keys are ``<request id>/<fence>``.

    :param url: a folder, or ``s3://…``, ``gs://…``, ``az://…``.
    :param root: where a relative path starts.
    :param options: of the bucket, as ``store_urls.options_of`` has them.
    :param is_patient: whether a bucket may take as long to answer as a worker waits; False: two seconds.
    Raises: ImproperlyConfigured, for a bucket that can't be opened like this; TransientError, for a folder that can't.
    A bucket is not asked for anything yet.
    """

    def __init__(
        self, url: str, root: Path, options: Mapping[str, Any] | None = None, *, is_patient: bool = True
    ) -> None:
        self.url = url  #: as it was given
        self._folder = None if "://" in url else (root / url).resolve()
        self._chunk = READ_CHUNK if self._folder else BUCKET_CHUNK
        self._options = options or {}
        self._store: Any = (
            opened_folder(self._folder) if self._folder else opened_bucket(url, self._options, is_patient=is_patient)
        )

    @property
    def folder(self) -> Path | None:
        """Where it is on this machine's disk; None for a bucket."""
        return self._folder

    @property
    def config(self) -> dict[str, Any]:
        """The options that a bucket was opened with, by obstore's short names; without those of the environment."""
        return {} if self._folder else dict(self._store.config)

    def open_writer(self, key: str, watch: Callable[[], None] = lambda: None) -> ObjectWriter:
        """A binary file to write a new object to.

        :param watch: called with each write; what it raises ends the writing.
        """
        upload = FolderUpload(self._store, key) if self._folder else BucketUpload(self._store, self._for_parts, key)
        return ObjectWriter(upload, functools.partial(self._remove_folder, key), watch)

    @functools.cached_property
    def _for_parts(self) -> Any:
        """The same bucket, for what takes its time to be sent."""
        return opened_bucket(self.url, self._options, sends=True)

    def join(self, parts: Sequence[PartObject], key: str, watch: Callable[[], None] = lambda: None) -> Joined:
        """Make one new object of several, in their order; they stay as they are.

        It is invisible until it is whole, and nothing is left of it if this raises. On a disk the kernel copies the
        bytes, in S3 the service; elsewhere they are sent. They are all read once, for the digests, and never more than
        some chunks of them are in memory.

        :param watch: called with each chunk, or at least twice a second; what it raises ends the joining.
        Raises: ObjectMissing, for a part that is gone or has other bytes than it was written with; TransientError.
        """
        check_sizes(self, parts, watch)
        if self._folder:
            return folder_joining.join(self._folder, parts, key, watch)
        return self._joined_there(parts, key, watch) or streamed(self, parts, key, watch)

    def _joined_there(self, parts: Sequence[PartObject], key: str, watch: Callable[[], None]) -> Joined | None:
        """By a bucket's service; None: it can't."""
        pieces = planned(parts)
        place = s3.place(self.url, self._store) if pieces else None
        if place is None:
            return None
        try:
            return bucket_joining.join(place, pieces, parts, key, self._whole, watch)
        except bucket_joining.Refused as error:
            logger.info("the parts of %s are sent, since the service does not join them: %s", key, error)
            return None

    def _whole(self, part: PartObject) -> Iterator[bytes]:
        return self.read(part.key, 0, part.size)

    def size(self, key: str) -> int:
        """Bytes. Raises: ObjectMissing."""
        with translated():
            return int(obstore.head(self._store, key)["size"])

    def read(self, key: str, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        """The object's bytes, or a part of them, a chunk at a time; the first one is read at once.

        Nothing but that part is read, and a client that is slow holds no connection to a bucket, of which one chunk
        is fetched ahead.
        Raises: ObjectMissing, also where the object ends too early, and TransientError.
        """
        stop = self.size(key) if length is None else start + length
        chunks = self._chunks(key, start, stop)
        first = next(chunks, b"")
        if self._folder or start + len(first) >= stop:
            return itertools.chain([first] if first else [], chunks)
        return ahead(first, chunks)

    def _chunks(self, key: str, start: int, stop: int) -> Iterator[bytes]:
        while start < stop:
            with translated():
                chunk = bytes(obstore.get_range(self._store, key, start=start, end=min(start + self._chunk, stop)))
            if not chunk:
                raise ObjectMissing
            yield chunk
            start += len(chunk)

    def open_local(self, key: str) -> int | None:
        """A descriptor of the object on a disk; None for a bucket. Raises: ObjectMissing, TransientError."""
        with translated():
            return os.open(self._folder / key, os.O_RDONLY) if self._folder else None

    def sign(self, key: str, seconds: int) -> str:
        """A URL by which anybody may read the object of a bucket for so long. Raises: TransientError."""
        with translated(TransientError):
            return str(obstore.sign(self._store, "GET", key, timedelta(seconds=seconds)))

    def local_path(self, key: str) -> Path | None:
        """Where the object is on this machine's disk; None for a bucket."""
        return self._folder / key if self._folder else None

    def delete(self, key: str) -> None:
        """Remove an object, or on a disk what a killed upload has left of one; it is no error if it is gone."""
        with contextlib.suppress(ObjectMissing), translated():
            if self._folder:
                (self._folder / key).unlink()  # obstore takes no key#1
            else:
                obstore.delete(self._store, key)
        self._remove_folder(key)

    def delete_all(self, keys: Sequence[str]) -> bool:
        """Remove objects with one request. False: on a disk, or not all could be removed; ``delete`` says which."""
        if self._folder:
            return False
        try:
            with translated(TransientError):
                obstore.delete(self._store, keys)
        except TransientError:
            return False
        return True

    def keys(self, start: str = "") -> Iterator[str]:
        """Every object's key in order, read in pages; on a disk ``key#1`` too, which a killed upload has left.

        On a disk the empty folders of requests go at the same time, since nobody else would find them.

        :param start: the id of the request to begin with.
        Raises: TransientError.
        """
        return Folder(self._folder).keys(start) if self._folder else self._listed(start)

    def is_there(self) -> bool:
        """Whether the store answers."""
        try:
            next(self.keys(), None)
        except TransientError:
            return False
        return True

    def _listed(self, start: str) -> Iterator[str]:
        with translated(TransientError):
            for page in obstore.list(self._store, offset=start or None, chunk_size=LIST_PAGE):
                yield from (found["path"] for found in page)

    def _remove_folder(self, key: str) -> None:
        if self._folder:
            Folder(self._folder).remove(key)
