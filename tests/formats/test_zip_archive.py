"""The container that workbooks and archives are written in, read back by ``zipfile`` and Info-ZIP."""

from __future__ import annotations

import io
import os
import shutil
import struct
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bgtasks.formats import archive as archive_module
from bgtasks.formats.archive import Archive
from tests.support.services import missing

GIB = 2**30


class Unseekable(io.RawIOBase):
    """A file as the store's, which may drop what it is given."""

    def __init__(self) -> None:
        self.kept = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.kept += data
        return len(data)


def written(*entries: tuple[str, list[bytes]], **options: Any) -> bytes:
    """The bytes of an archive."""
    buffer = Unseekable()
    archive = Archive(buffer)  # type: ignore[arg-type]
    for name, chunks in entries:
        with archive.entry(name, **options) as entry:
            entry.writelines(chunks)
    archive.close()
    return bytes(buffer.kept)


def read(data: bytes) -> dict[str, bytes]:
    """Its entries."""
    with zipfile.ZipFile(io.BytesIO(data)) as opened:
        return {name: opened.read(name) for name in opened.namelist()}


names = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="/\\"), min_size=1, max_size=20)


@settings(max_examples=50)
@given(
    st.dictionaries(names, st.lists(st.binary(max_size=300), max_size=4), max_size=5), st.booleans(), st.booleans()
)  # fmt: skip
def test_what_is_written_is_read_back(entries: dict[str, list[bytes]], deflate: bool, zip64: bool) -> None:
    """Names in any alphabet, bytes of any kind, deflated or kept, of any size or below 4 GiB."""
    found = read(written(*entries.items(), deflate=deflate, zip64=zip64))
    assert found == {name: b"".join(chunks) for name, chunks in entries.items()}


def test_an_empty_archive_is_one() -> None:
    """It has no entries, and that is all."""
    assert read(written()) == {}


def test_an_entry_may_be_known_whole() -> None:
    """Then its sizes stand before it, and nothing follows."""
    buffer = io.BytesIO()
    archive = Archive(buffer)
    archive.add("ä.txt", b"contents")
    archive.close()
    [entry] = zipfile.ZipFile(buffer).infolist()
    assert (entry.compress_type, entry.flag_bits, entry.file_size) == (zipfile.ZIP_STORED, 1 << 11, 8)
    assert read(buffer.getvalue()) == {"ä.txt": b"contents"}


def test_the_same_entries_make_the_same_bytes() -> None:
    """Each is dated 1980, readable by all, and nobody's."""
    data = written(("a", [b"x"]))
    assert data == written(("a", [b"x"]))
    [entry] = zipfile.ZipFile(io.BytesIO(data)).infolist()
    assert entry.date_time == (1980, 1, 1, 0, 0, 0)
    assert entry.external_attr >> 16 == 0o100644


@given(st.lists(st.integers(1, 400_000), max_size=5))
@settings(max_examples=20)
def test_it_does_not_matter_how_much_is_written_at_once(sizes: list[int]) -> None:
    """The same bytes are compressed in the same way, in one piece or in many."""
    contents = b"".join(b"%d so many words " % number for number in range(60_000))
    pieces, rest = list[bytes](), contents
    for size in sizes:
        pieces.append(rest[:size])
        rest = rest[size:]
    assert written(("a", [*pieces, rest])) == written(("a", [contents]))


def test_bytes_that_are_compressed_are_kept() -> None:
    """They grow by next to nothing; others shrink."""
    noise = os.urandom(1_000_000)
    assert len(written(("a", [noise]), deflate=False)) < 1_000_700
    assert len(written(("a", [b"so many words " * 100_000]))) < 20_000


@pytest.mark.parametrize("zip64", [True, False])
def test_headers_agree(zip64: bool) -> None:
    """The version needed, the flags and the method stand in both headers of an entry."""
    data = written(("a", [b"x"]), ("b", [b"y"]), zip64=zip64)
    for entry in zipfile.ZipFile(io.BytesIO(data)).infolist():
        version, flags, method = struct.unpack_from("<HHH", data, entry.header_offset + 4)
        assert (version, flags, method) == (entry.extract_version, entry.flag_bits, entry.compress_type)
        assert version == (45 if zip64 else 20)


def test_there_may_be_more_entries_than_65535(monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as the number of entries, where it does not fit into 16 bits; here, already beyond a few."""
    monkeypatch.setattr(archive_module, "MOST_ENTRIES", 3)
    data = written(*((f"{number}", [b"x" * number]) for number in range(5)))
    assert b"PK\6\6" in data
    # A reader goes by what the plain end says: as if there were more entries than it has room for.
    end = data.rindex(b"PK\5\6")
    marked = data[: end + 8] + b"\xff\xff\xff\xff" + data[end + 12 :]
    assert len(read(marked)) == 5


def test_an_entry_may_be_larger_than_4_gib(tmp_path: Path) -> None:
    """Its sizes are told after it, and so is the place of the next one; it is read as a stream and from the end."""
    zeros = bytes(64 * 1024 * 1024)
    path = tmp_path / "large.zip"
    with path.open("wb") as file:
        archive = Archive(file)
        with archive.entry("zeros") as entry:
            for _ in range(4 * GIB // len(zeros) + 1):
                entry.write(zeros)
        with archive.entry("after") as entry:
            entry.write(b"the end")
        archive.close()
    with zipfile.ZipFile(path) as opened:
        assert opened.getinfo("zeros").file_size == 4 * GIB + len(zeros)
        assert opened.read("after") == b"the end"
    if not shutil.which("unzip"):
        missing("unzip")
    listed = subprocess.run(["unzip", "-tq", path, "after"], capture_output=True, text=True, check=False)
    assert listed.returncode == 0, listed.stdout + listed.stderr


def test_an_offset_may_be_beyond_4_gib() -> None:
    """What stands there is found: the archive before it is not written here, only counted."""
    buffer = Unseekable()
    archive = Archive(buffer)  # type: ignore[arg-type]
    archive._offset = 5 * GIB
    with archive.entry("far", zip64=False) as entry:
        entry.write(b"x")
    archive.close()
    central = bytes(buffer.kept[buffer.kept.index(b"PK\1\2") :])
    assert central[6:8] == buffer.kept[4:6] == struct.pack("<H", 45)
    (offset,) = struct.unpack_from("<I", central, 42)
    assert (offset, struct.unpack_from("<HHQ", central, 46 + 3)) == (0xFFFFFFFF, (1, 8, 5 * GIB))
    assert b"PK\6\6" in central


def test_half_an_archive_is_none() -> None:
    """An entry that fails has no end, and neither has the archive."""
    buffer = io.BytesIO()
    archive = Archive(buffer)
    with pytest.raises(RuntimeError), archive.entry("a") as entry:
        entry.write(b"x")
        raise RuntimeError
    assert not zipfile.is_zipfile(buffer)
