"""Joining on a disk: the kernel copies the parts into a file beside the object's, which is renamed in the end.

As with an upload (obstore's ``LocalStore``), nothing is flushed to the disk (fsync): what a machine that loses its
power may take away, it may take away of both.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from bgtasks.errors import TransientError
from bgtasks.stores.folders import Folder
from bgtasks.stores.joining import Joined, PartObject, damaged, digested
from bgtasks.stores.translating import translated

#: Bytes that are copied, and are then in memory to be digested.
CHUNK = 4 * 1024 * 1024
#: How a kernel, a file system or a container's filter says that it does not copy from one file to another.
REFUSALS = errno.EXDEV, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL, errno.EPERM


def join(folder: Path, parts: Sequence[PartObject], key: str, watch: Callable[[], None]) -> Joined:
    """Raises: as ``Store.join``."""
    with _staged(folder, key) as file:
        copier = _Copier(file)
        return digested(parts, functools.partial(_copied, folder, copier), watch)


def _copied(folder: Path, copier: _Copier, part: PartObject) -> Iterator[memoryview]:
    with translated():
        source = os.open(folder / part.key, os.O_RDONLY)
    try:
        left = part.size
        while left:
            with translated(TransientError):
                chunk = copier.copy(source, min(left, CHUNK))
            if not chunk:
                raise damaged(part)
            left -= len(chunk)
            yield chunk
    finally:
        os.close(source)


@contextlib.contextmanager
def _staged(folder: Path, key: str) -> Iterator[int]:
    """A descriptor of a file that becomes the object, or of which nothing is left."""
    path = folder / key
    with translated(TransientError):
        path.parent.mkdir(parents=True, exist_ok=True)
        file, staged = _opened(path)
    named = staged
    try:
        try:
            yield file
        finally:
            with translated(TransientError):  # some network's file systems say only now that the disk is full
                os.close(file)
        named = path  # whatever interrupts the renaming may come when it is done
        with translated(TransientError):
            staged.rename(path)
    except BaseException:
        for left in {staged, named}:
            with contextlib.suppress(OSError):
                left.unlink()
        Folder(folder).remove(key)
        raise


def _opened(path: Path) -> tuple[int, Path]:
    """A new file under the first name that is free, as obstore has it: a killed upload may have left some."""
    for number in itertools.count(1):
        staged = path.with_name(f"{path.name}#{number}")
        with contextlib.suppress(FileExistsError):
            return os.open(staged, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666), staged
    raise AssertionError  # never: one of them is free


class _Copier:
    """Appends to a file from others; the kernel does it where it can."""

    def __init__(self, file: int) -> None:
        self._file = file
        self._buffer = memoryview(bytearray(CHUNK))
        self._by_kernel = hasattr(os, "copy_file_range")  # Linux has it

    def copy(self, source: int, length: int) -> memoryview:
        """The bytes that were copied, which may be fewer; none at the source's end. Raises: OSError."""
        copied = self._copied_by_kernel(source, length) if self._by_kernel else 0
        return self._copied_back(copied) if copied else self._copied_by_hand(source, length)

    def _copied_by_kernel(self, source: int, length: int) -> int:
        try:
            copied = os.copy_file_range(source, self._file, length)
        except OSError as error:
            if error.errno not in REFUSALS:
                raise
            copied = 0
        # Some file systems refuse by copying nothing; at the source's end nothing will be read, too.
        self._by_kernel = copied > 0
        return copied

    def _copied_back(self, count: int) -> memoryview:
        """What is in the file now, so that what is digested is what the object has."""
        start, done = os.lseek(self._file, 0, os.SEEK_CUR) - count, 0
        while done < count:
            got = os.preadv(self._file, [self._buffer[done:count]], start + done)
            if not got:
                raise OSError(errno.EIO, "what was copied can't be read")
            done += got
        return self._buffer[:count]

    def _copied_by_hand(self, source: int, length: int) -> memoryview:
        chunk = self._buffer[: os.readv(source, [self._buffer[:length]])]
        rest = chunk
        while rest:
            rest = rest[os.write(self._file, rest) :]
        return chunk
