"""A ZIP archive that streams into a file that can't seek (PKWARE's APPNOTE 6.3.10).

``zipfile`` does the same with zlib, at a tenth of the speed. The same entries make the same bytes: each is dated 1980.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from struct import pack
from typing import Any, BinaryIO

from isal import isal_zlib

#: ISA-L's level 2 is as small, and 3 takes three times as long; zlib's level 0 keeps bytes as they are, in blocks.
LEVEL, KEEP = 1, 0
RAW = -zlib.MAX_WBITS
#: Bytes that are compressed at once, whatever is written at once: on that depends how they are compressed.
CHUNK = 256 * 1024

#: What fits into the fields of a plain archive; beyond it they say so, and an extra field has the number.
MOST_BYTES, MOST_ENTRIES = 0xFFFFFFFF, 0xFFFF
STORED, DEFLATED = 0, 8
PLAIN, ZIP64 = 20, 45  # versions needed to extract: 2.0 and 4.5
UNIX = 3 << 8
SIZES_FOLLOW, UTF_8 = 1 << 3, 1 << 11
MIDNIGHT, FIRST_DAY = 0, (1 << 5) | 1  # of 1 January 1980, as MS-DOS has it
PERMISSIONS = 0o100644 << 16


@dataclass(frozen=True)
class _Header:
    """What an entry's two headers have in common, which readers compare."""

    name: bytes
    method: int
    flags: int
    version: int
    offset: int

    @property
    def descriptor(self) -> str:
        """How the sizes follow the bytes."""
        return "<IQQ" if self.version == ZIP64 else "<III"

    def local(self, crc: int = 0, packed: int = 0, size: int = 0) -> bytes:
        """Before the bytes; with zeros where the sizes follow them."""
        extra = b""
        if self.version == ZIP64:
            extra, packed, size = pack("<HHQQ", 1, 16, size, packed), MOST_BYTES, MOST_BYTES
        return b"PK\3\4" + self._common(crc, packed, size, extra) + self.name + extra

    def central(self, crc: int, packed: int, size: int) -> bytes:
        """In the directory at the end."""
        large = [number for number in (size, packed, self.offset) if number >= MOST_BYTES]
        extra = pack(f"<HH{len(large)}Q", 1, 8 * len(large), *large) if large else b""
        common = self._common(crc, min(packed, MOST_BYTES), min(size, MOST_BYTES), extra)
        rest = pack("<HHHII", 0, 0, 0, PERMISSIONS, min(self.offset, MOST_BYTES))
        return b"PK\1\2" + pack("<H", UNIX | self.version) + common + rest + self.name + extra

    def _common(self, crc: int, packed: int, size: int, extra: bytes) -> bytes:
        lengths = len(self.name), len(extra)
        kind = self.version, self.flags, self.method
        return pack("<HHHHHIIIHH", *kind, MIDNIGHT, FIRST_DAY, crc, packed, size, *lengths)


class Archive:
    """An archive that is written entry by entry; without ``close()`` it is no archive."""

    def __init__(self, buffer: BinaryIO) -> None:
        self._buffer = buffer
        self._offset = 0  # bytes written so far
        self._directory: list[bytes] = []

    def add(self, name: str, contents: bytes) -> None:
        """An entry that is known whole, kept as it is."""
        header, crc = self._header(name, STORED, 0), isal_zlib.crc32(contents)
        sizes = len(contents), len(contents)
        self._write(header.local(crc, *sizes))
        self._write(contents)
        self._directory.append(header.central(crc, *sizes))

    @contextmanager
    def entry(self, name: str, *, deflate: bool = True, zip64: bool = True) -> Iterator[Entry]:
        """A binary file for the bytes of a new entry.

        :param deflate: no: they are compressed already.
        :param zip64: whether there may be 4 GiB of them; some readers don't know such an entry.
        """
        # Also what is kept is in deflate's blocks: who reads an archive as a stream sees only by them where it ends.
        header = self._header(name, DEFLATED, SIZES_FOLLOW, zip64=zip64)
        self._write(header.local())
        entry = Entry(self._write, deflate)
        yield entry
        entry.finish()
        self._write(b"PK\7\10" + pack(header.descriptor, entry.crc, entry.packed, entry.size))
        self._directory.append(header.central(entry.crc, entry.packed, entry.size))

    def close(self) -> None:
        """The directory, and the end."""
        start, entries = self._offset, len(self._directory)
        for header in self._directory:
            self._write(header)
        size = self._offset - start
        if max(start, size) >= MOST_BYTES or entries >= MOST_ENTRIES:
            end = self._offset
            self._write(pack("<4sQHHIIQQQQ", b"PK\6\6", 44, UNIX | ZIP64, ZIP64, 0, 0, entries, entries, size, start))
            self._write(pack("<4sIQI", b"PK\6\7", 0, end, 1))
        shown = min(entries, MOST_ENTRIES)
        places = min(size, MOST_BYTES), min(start, MOST_BYTES)
        self._write(pack("<4sHHHHIIH", b"PK\5\6", 0, 0, shown, shown, *places, 0))

    def _header(self, name: str, method: int, flags: int, *, zip64: bool = False) -> _Header:
        utf_8 = 0 if name.isascii() else UTF_8
        version = ZIP64 if zip64 or self._offset >= MOST_BYTES else PLAIN
        return _Header(name.encode(), method, flags | utf_8, version, self._offset)

    def _write(self, data: bytes) -> None:
        self._buffer.write(data)
        self._offset += len(data)


class Entry(io.RawIOBase):
    """The bytes of one entry, on their way into the archive."""

    def __init__(self, write: Any, deflate: bool) -> None:
        self._write = write
        self._compressor: Any = (
            isal_zlib.compressobj(LEVEL, isal_zlib.DEFLATED, RAW)
            if deflate
            else zlib.compressobj(KEEP, zlib.DEFLATED, RAW)
        )
        self._waiting = bytearray()
        self.crc = 0
        self.packed = 0  #: bytes, compressed
        self.size = 0  #: bytes

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        self.crc = isal_zlib.crc32(view, self.crc)
        self.size += len(view)
        self._waiting += view
        if len(self._waiting) >= CHUNK:
            self._go_on()
        return len(view)

    def finish(self) -> None:
        """The last of the compressed bytes."""
        self._pass_on(self._compressor.compress(self._waiting))
        self._pass_on(self._compressor.flush())

    def _go_on(self) -> None:
        whole = len(self._waiting) // CHUNK * CHUNK
        with memoryview(self._waiting) as waiting:
            for start in range(0, whole, CHUNK):
                self._pass_on(self._compressor.compress(waiting[start : start + CHUNK]))
        del self._waiting[:whole]

    def _pass_on(self, packed: bytes) -> None:
        if packed:
            self.packed += len(packed)
            self._write(packed)
