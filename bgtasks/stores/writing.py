"""The binary file that a step writes to, and whose bytes become an object."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from typing import Any, Protocol


class Upload(Protocol):
    """An object on its way into a store. Any of its methods may raise TransientError."""

    def write(self, data: memoryview) -> None:
        """Take these bytes; the memory is the caller's again afterwards."""

    def finish(self) -> None:
        """Make the object whole and visible."""

    def give_up(self) -> None:
        """Leave nothing of it in the store."""


class ObjectWriter(io.RawIOBase):
    """A binary file whose bytes stream into the store; hashed and counted on the way.

    The object is invisible until ``commit()``. Leaving the block without it leaves nothing behind.
    """

    def __init__(self, upload: Upload, tidy: Callable[[], None], watch: Callable[[], None]) -> None:
        self._upload: Upload | None = upload
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
        if self.closed or self._upload is None:
            raise ValueError("the object is closed")
        self._watch()
        view = memoryview(data).cast("B")
        self._upload.write(view)
        self._digest.update(view)
        self.size += len(view)
        return len(view)

    def commit(self) -> None:
        """Make the object whole and visible; also after ``close()``. Raises: TransientError."""
        if self._upload is None:
            raise ValueError("the object was given up or committed before")
        self._upload.finish()
        self._upload = None
        self.close()

    def __exit__(self, *error: object) -> None:
        """Give the object up, unless it was committed."""
        # Not in close(): a TextIOWrapper around this file closes it when it is forgotten.
        self.close()
        if self._upload is not None:
            upload, self._upload = self._upload, None
            upload.give_up()
            self._tidy()
