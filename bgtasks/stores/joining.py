"""Several objects become one: what is the same in every store.

Every byte is read once, in the file's order, since nobody can combine the digests of parts into that of the whole.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from bgtasks.errors import ObjectMissing

if TYPE_CHECKING:
    from bgtasks.stores import Store

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PartObject:
    """An object that is to be a part of another one, and what it was when it was written."""

    key: str
    size: int  #: bytes
    sha256: str  #: in hex


@dataclass(frozen=True)
class Joined:
    """What the whole has become."""

    size: int  #: bytes
    sha256: str  #: in hex


def check_sizes(store: Store, parts: Iterable[PartObject], watch: Callable[[], None]) -> None:
    """Before anything is written. Raises: ObjectMissing, for a part that is gone or has another size."""
    for part in parts:
        watch()
        if store.size(part.key) != part.size:
            raise damaged(part)


def digested(
    parts: Iterable[PartObject], chunks: Callable[[PartObject], Iterator[bytes | memoryview]], watch: Callable[[], None]
) -> Joined:
    """Read the parts to their ends, and look whether they are what they were.

    :param chunks: a part's bytes, which it passes on to where they shall be; a chunk's memory is its own again with
        the next one.
    :param watch: called with each part and each chunk; what it raises ends it.
    Raises: ObjectMissing, for a part that has other bytes; and what `chunks` raises.
    """
    with _Digests() as digests:
        for part in parts:
            watch()
            for chunk in chunks(part):
                digests.update(chunk)
                watch()
            digests.end(part)
        return digests.joined()


def streamed(store: Store, parts: Sequence[PartObject], key: str, watch: Callable[[], None]) -> Joined:
    """The parts become an object whose bytes all pass through this process. Raises: as ``Store.join``."""
    with store.open_writer(key) as writer:

        def sent(part: PartObject) -> Iterator[bytes]:
            for chunk in store.read(part.key, 0, part.size):
                writer.write(chunk)
                yield chunk

        joined = digested(parts, sent, watch)
        writer.commit()
    return joined


def damaged(part: PartObject) -> ObjectMissing:
    """What is raised of a part that is not what it was; the log says which."""
    logger.warning("the object %s is not what was written there", part.key)
    return ObjectMissing()


class _Digests:
    """The digest of the whole, and that of each part: two are made of each byte, at the same time."""

    def __init__(self) -> None:
        self._whole, self._part = hashlib.sha256(), hashlib.sha256()
        self._size = 0
        self._aside = ThreadPoolExecutor(1, "digest")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._aside.shutdown()

    def update(self, chunk: bytes | memoryview) -> None:
        other = self._aside.submit(self._part.update, chunk)
        self._whole.update(chunk)
        self._size += len(chunk)
        other.result()

    def end(self, part: PartObject) -> None:
        if self._part.hexdigest() != part.sha256:
            raise damaged(part)
        self._part = hashlib.sha256()

    def joined(self) -> Joined:
        return Joined(self._size, self._whole.hexdigest())
