"""A text format behind gzip or Zstandard, streamed; the same rows make the same bytes."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, tzinfo
from typing import Any, BinaryIO, ClassVar, cast

from isal import isal_zlib

from bgtasks.errors import ImproperlyConfigured
from bgtasks.extras import needs
from bgtasks.formats import Format, is_text, part_of
from bgtasks.items import Items

CHUNK = 256 * 1024  # bytes that are compressed at once, however many a format writes: the result depends on it

#: Of ISA-L's levels 0 to 3, and of Zstandard's 1 to 22: a step up costs more time than it saves bytes.
GZIP_LEVEL, ZSTANDARD_LEVEL = 1, 1
GZIP_WINDOW = 16 + 15  # as zlib has it: a gzip header, without a name and a time, and the largest window


@dataclass(frozen=True)
class Compressed:
    """A file for programs, and for mails: it is saved as it is, compressed."""

    is_text: ClassVar[bool] = False  # not twice

    #: What is compressed, with its options.
    format: Format
    #: ``gz`` or ``zst`` (which needs the extra ``zstd``).
    compression: str = "gz"

    def __post_init__(self) -> None:
        if self.compression not in _METHODS:
            raise ImproperlyConfigured(f"a file is compressed as one of {', '.join(_METHODS)}")
        if not is_text(self.format):
            raise ImproperlyConfigured(f"{self.format.name} is no text, and not to be compressed")

    @property
    def name(self) -> str:
        """Such as ``csv.gz``."""
        return f"{self.format.name}.{self.compression}"

    @property
    def content_type(self) -> str:
        """Of RFC 6713 or RFC 8878. It is no content encoding, which a browser would undo."""
        return _METHODS[self.compression][0]

    @property
    def suffix(self) -> str:
        """Such as ``.csv.gz``."""
        return f"{self.format.suffix}.{self.compression}"

    @property
    def max_rows(self) -> int | None:
        """As many as without."""
        return self.format.max_rows

    def part(self, number: int) -> Compressed:
        """Of what is compressed: several gzip members (RFC 1952, 2.2) or Zstandard frames (RFC 8878, 3) are a file.

        Raises: ImproperlyConfigured, where that has no parts.
        """
        return replace(self, format=part_of(self.format, number))

    def write(self, items: Items, buffer: BinaryIO, zone: tzinfo = UTC) -> None:
        """Stream the items. Raises: as the format."""
        compressing = _Compressing(_METHODS[self.compression][1](), buffer)
        self.format.write(items, cast("BinaryIO", compressing), zone)
        compressing.finish()


class _Compressing(io.BufferedIOBase):
    """A binary file whose bytes go on compressed. To close it ends nothing: half a file has no end."""

    def __init__(self, compressor: Any, buffer: BinaryIO) -> None:
        self._compressor = compressor
        self._buffer = buffer
        self._waiting = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        with memoryview(data) as view:
            self._waiting += view
            size = view.nbytes
        self._go_on(len(self._waiting) // CHUNK * CHUNK)
        return size

    def finish(self) -> None:
        """What is still waiting, and the end, by which a reader knows that the file is whole."""
        self._go_on(len(self._waiting))
        self._buffer.write(self._compressor.flush())

    def _go_on(self, size: int) -> None:
        for begin in range(0, size, CHUNK):
            if compressed := self._compressor.compress(self._waiting[begin : min(begin + CHUNK, size)]):
                self._buffer.write(compressed)
        del self._waiting[:size]


def _gzip() -> Any:
    return isal_zlib.compressobj(GZIP_LEVEL, wbits=GZIP_WINDOW)


def _zstandard() -> Any:
    zstandard = needs("zstd", "zstandard")
    return zstandard.ZstdCompressor(level=ZSTANDARD_LEVEL, write_checksum=True).compressobj()


#: The media type, and what compresses.
_METHODS: dict[str, tuple[str, Callable[[], Any]]] = {
    "gz": ("application/gzip", _gzip),
    "zst": ("application/zstd", _zstandard),
}
