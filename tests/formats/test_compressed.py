"""Text formats behind gzip and Zstandard."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from bgtasks.errors import ImproperlyConfigured, UnknownFormat
from bgtasks.formats import Format, resolve, with_compression
from bgtasks.formats.compressed import CHUNK, Compressed
from bgtasks.formats.csv import Csv
from bgtasks.formats.jsonl import JsonLines
from bgtasks.formats.parquet import Parquet
from bgtasks.items import Items
from tests.formats.roads import texts, written


def unzstandard(content: bytes) -> bytes:
    """The content of a file that is whole."""
    with zstandard.ZstdDecompressor().stream_reader(content, read_across_frames=False) as reader:
        return reader.read()


READERS: dict[str, Callable[[bytes], bytes]] = {"gz": gzip.decompress, "zst": unzstandard}


@pytest.mark.parametrize(
    ("name", "suffix", "content_type"),
    [
        ("csv.gz", ".csv.gz", "application/gzip"),
        ("csv.zst", ".csv.zst", "application/zstd"),
        ("jsonl.gz", ".jsonl.gz", "application/gzip"),
        ("jsonl.zst", ".jsonl.zst", "application/zstd"),
    ],
)
def test_the_name_chooses_it(name: str, suffix: str, content_type: str) -> None:
    """It is saved as it is: its media type is that of the compression."""
    chosen = resolve(name)
    assert isinstance(chosen, Format)
    assert (chosen.name, chosen.suffix, chosen.content_type, chosen.max_rows) == (name, suffix, content_type, None)


@pytest.mark.parametrize(
    "name", ["csv.", "csv.bz2", "csv.gz.gz", "csv.csv", "xlsx.gz", "parquet.zst", "nothing.gz", ".gz"]
)
def test_what_is_not_to_be_compressed_is_no_format(name: str) -> None:
    """Other compressions, twice, or what is compressed itself."""
    with pytest.raises(UnknownFormat):
        resolve(name)


def test_a_format_with_options_can_be_compressed_too() -> None:
    """It keeps them."""
    assert with_compression(Csv(delimiter=";"), "gz") == Compressed(Csv(delimiter=";"), "gz")
    with pytest.raises(UnknownFormat):
        with_compression(Compressed(Csv()), "zst")


@pytest.mark.parametrize(("form", "compression"), [(Parquet(), "gz"), (Csv(), "bz2"), (Compressed(Csv()), "gz")])
def test_a_wrong_declaration_is_refused_at_once(form: Any, compression: str) -> None:
    """Not by a worker at night."""
    with pytest.raises(ImproperlyConfigured):
        Compressed(form, compression)


@pytest.mark.parametrize("compression", READERS)
@pytest.mark.parametrize("form", [Csv(bom=True), JsonLines()])
@given(rows=st.lists(st.tuples(texts, st.integers())))
def test_what_is_read_back_is_the_plain_file(form: Any, compression: str, rows: list[Any]) -> None:
    """And the same rows make the same bytes: no name and no time of day is in them."""
    content = written(Items(rows), Compressed(form, compression))
    assert READERS[compression](content) == written(Items(rows), form)
    assert written(Items(rows), Compressed(form, compression)) == content
    if compression == "gz":
        assert content[3:8] == bytes(5)  # RFC 1952: no flags, no time


@pytest.mark.parametrize("compression", READERS)
def test_large_files_are_streamed(compression: str) -> None:
    """What is written is in memory only until there is enough of it."""
    buffer, before = io.BytesIO(), []

    def rows() -> Iterator[tuple[str]]:
        for number in range(3 * CHUNK // 8):
            before.append(buffer.tell())
            yield (f"{number * 7919 % 10**8:08d}",)

    Compressed(Csv(), compression).write(Items(rows()), buffer)
    assert 0 < before[len(before) // 2] < before[-1]
    assert READERS[compression](buffer.getvalue()) == written(Items(rows()), Csv())


class Lines:
    """A format that writes through a text file, a few characters at once, and may break down."""

    name, suffix, content_type, max_rows, is_text = "lines", ".txt", "text/plain", None, True

    def write(self, items: Items, buffer: Any, zone: Any = None) -> None:
        text = io.TextIOWrapper(buffer, encoding="utf-8", write_through=True)
        with items.open() as rows:
            for batch in rows.batches:
                text.writelines(f"{value}\n" for row in batch for value in row)
        text.close()


@pytest.mark.parametrize("compression", READERS)
def test_a_format_may_close_what_it_writes_to(compression: str) -> None:
    """As a text file does with what is below it."""
    content = written(Items([("é",), (2,)]), Compressed(Lines(), compression))  # type: ignore[arg-type]
    assert READERS[compression](content).decode() == "é\n2\n"


class Pieces:
    """A format that writes pieces of any size."""

    name, suffix, content_type, max_rows, is_text = "pieces", ".txt", "text/plain", None, True

    def write(self, items: Items, buffer: Any, zone: Any = None) -> None:
        buffer.writelines(items.source)


@pytest.mark.parametrize("compression", READERS)
def test_the_bytes_are_the_same_however_they_were_written(compression: str) -> None:
    """From tuples or from Arrow's batches."""
    plain = b"".join(b"%d," % (number * 7919 % 10**6) for number in range(CHUNK // 2))
    cut = [
        [plain],
        [plain[begin : begin + 1000] for begin in range(0, len(plain), 1000)],
        [plain[:CHUNK], plain[CHUNK:]],
    ]
    made = {written(Items(pieces), Compressed(Pieces(), compression)) for pieces in cut}  # type: ignore[arg-type]
    [content] = made
    assert READERS[compression](content) == plain


def _is_whole(content: bytes, compression: str) -> bool:
    reader = zlib.decompressobj(16 + 15) if compression == "gz" else zstandard.ZstdDecompressor().decompressobj()
    reader.decompress(content)
    return reader.eof


@pytest.mark.parametrize("compression", READERS)
@pytest.mark.parametrize("form", [Csv(), Lines()])
def test_half_a_file_has_no_end(compression: str, form: Any) -> None:
    """A reader of a file that broke off must notice."""
    buffer, rows = io.BytesIO(), [(str(number),) for number in range(CHUNK)]

    def breaking() -> Iterator[tuple[str]]:
        yield from rows
        raise LookupError

    with pytest.raises(LookupError):
        Compressed(form, compression).write(Items(breaking()), buffer)
    assert buffer.getvalue()
    assert not _is_whole(buffer.getvalue(), compression)
    assert _is_whole(written(Items(rows), Compressed(form, compression)), compression)
