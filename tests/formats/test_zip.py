"""Archives of several files."""

from __future__ import annotations

import gzip
import io
import struct
import zipfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import openpyxl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet
from sqlalchemy import literal, select

from bgtasks.deployment import Deployment
from bgtasks.errors import ImproperlyConfigured, InvalidCriteria, TransientError, UnwritableValue
from bgtasks.formats import Format, resolve
from bgtasks.formats.csv import Csv
from bgtasks.formats.member_names import DEPTH, MemberNames
from bgtasks.formats.zip import Zip
from bgtasks.items import Items, Member


def written(source: Any, form: Format | None = None, columns: Any = None, **options: Any) -> dict[str, bytes]:
    """The files of an archive."""
    buffer = io.BytesIO()
    (form or Zip()).write(Items(source, columns=columns), buffer, **options)
    with zipfile.ZipFile(buffer) as opened:
        assert opened.testzip() is None
        return {name: opened.read(name) for name in opened.namelist()}


def test_the_name_chooses_it() -> None:
    """``zip`` is this format with its default options."""
    assert resolve("zip") == Zip()
    assert isinstance(Zip(), Format)
    assert (Zip.suffix, Zip.content_type, Zip.max_rows) == (".zip", "application/zip", None)


def test_a_member_is_written_in_the_format_that_its_suffix_names() -> None:
    """In any letters, and compressed where it says so."""
    rows = [(1, "x")]
    found = written(
        [
            Member("2026/a.csv", rows, ("n", "t")),
            Member("b.XLSX", rows, {"n": "Number", "t": "Text"}),
            Member("c.csv.gz", rows),
            Member("d.jsonl", rows, ("n", "t")),
            Member("e.parquet", rows, ("n", "t")),
        ]
    )
    assert found["2026/a.csv"] == b"n,t\r\n1,x\r\n"
    sheet = openpyxl.load_workbook(io.BytesIO(found["b.XLSX"])).worksheets[0]
    assert list(sheet.iter_rows(values_only=True)) == [("Number", "Text"), (1, "x")]
    assert gzip.decompress(found["c.csv.gz"]) == b"1,x\r\n"
    assert found["d.jsonl"] == b'{"n":1,"t":"x"}\n'
    assert parquet.read_table(io.BytesIO(found["e.parquet"])).to_pylist() == [{"n": 1, "t": "x"}]


def test_members_may_have_options() -> None:
    """Those of the format that has their suffix."""
    found = written([Member("a.csv", [(1, 2)]), Member("b.csv.gz", [(1, 2)])], Zip(formats=(Csv(delimiter=";"),)))
    assert found["a.csv"] == b"1;2\r\n"


def _halves(data: bytes) -> list[bytes]:
    return [data[:3], data[3:]]


@pytest.mark.parametrize(
    "made",
    [bytes, bytearray, memoryview, bytes.decode, io.BytesIO, _halves, lambda data: iter([data])],
)
@pytest.mark.parametrize("name", ["a.txt", "a.csv", "a.png", "a"])
def test_bytes_are_written_as_they_are(name: str, made: Callable[[bytes], Any]) -> None:
    """Under any name, also under one of a format of rows; a text is its bytes in UTF-8."""
    assert written([Member(name, made("Größe".encode()))]) == {name: "Größe".encode()}


def test_a_large_file_is_read_in_pieces() -> None:
    """And never as a whole."""

    class Large(io.RawIOBase):
        left = 5

        def readable(self) -> bool:
            return True

        def read(self, size: int = -1) -> bytes:
            assert 0 < size <= 2**20
            self.left -= 1
            return b"x" * size if self.left else b""

    assert len(written([Member("a.bin", Large())])["a.bin"]) == 4 * 256 * 1024


def test_columns_can_not_be_chosen_of_members() -> None:
    """Each has its own: a choice that does nothing would be a lie."""
    items = Items([Member("a.csv", [(1, 2)], {"a": "A", "b": "B"})], columns={"a": "A", "b": "B"}, chosen=("a",))
    with pytest.raises(InvalidCriteria) as refused:
        Zip().write(items, io.BytesIO())
    assert refused.value.fields == {"columns": ["The columns of this file can't be chosen."]}


def test_members_are_made_as_they_are_written() -> None:
    """The archive streams: nothing of the next one is asked for before the one before is written."""
    buffer, told = io.BytesIO(), []

    def members() -> Iterator[Member]:
        for name in ("a.txt", "b.txt"):
            told.append((name, len(buffer.getvalue())))
            yield Member(name, b"x" * 10)

    Zip().write(Items(members()), buffer)
    assert [name for name, _ in told] == ["a.txt", "b.txt"]
    assert told[0][1] == 0 < told[1][1]


def test_rows_are_counted_over_all_members() -> None:
    """So that a limit holds for the archive, and progress goes on."""
    items, seen = Items([Member("a.csv", [(1,)] * 3), Member("b.csv", [(1,)] * 2)]), list[int]()
    items.watch = seen.append
    Zip().write(items, io.BytesIO())
    assert seen == [3, 5]


def test_times_are_the_requesters() -> None:
    """In each member."""
    moment = datetime(2026, 7, 1, 12, tzinfo=UTC)
    assert written([Member("a.csv", [(moment,)])], zone=ZoneInfo("Europe/Zurich")) == {
        "a.csv": b"2026-07-01 14:00:00+02:00\r\n"
    }


def test_a_select_may_be_a_member(parts: Deployment) -> None:
    """And all of the items."""
    one = select(literal(1).label("n"))
    assert written([Member("a.csv", one)]) == {"a.csv": b"n\r\n1\r\n"}
    assert written(one) == {"rows.csv": b"n\r\n1\r\n"}


@pytest.mark.parametrize("rows", [[(1, 2), (3, 4)], ((n, n + 1) for n in (1, 3))])
def test_items_that_are_rows_are_one_file(rows: Any) -> None:
    """Whose name and format are an option."""
    assert written(rows, columns=("a", "b")) == {"rows.csv": b"a,b\r\n1,2\r\n3,4\r\n"}
    assert list(written([{"a": 1}], Zip(rows="orders.xlsx"))) == ["orders.xlsx"]


def test_no_members_make_an_empty_archive() -> None:
    """And a member without rows is a file of headings."""
    assert written([]) == {}
    assert written(iter(())) == {}
    assert written([Member("a.csv", [], ("n",)), Member("b.csv", iter(())), Member("c.bin", iter(()))]) == {
        "a.csv": b"n\r\n", "b.csv": b"", "c.bin": b""
    }  # fmt: skip


@pytest.mark.parametrize("source", [iter([Member("a.txt", b"x")]), iter([(1,)])])
def test_what_can_be_read_only_once_is_not_written_twice(source: Any) -> None:
    """An archive without what is used up would be taken for the whole."""
    items = Items(source)
    Zip().write(items, io.BytesIO())
    with pytest.raises(TransientError, match="only once"):
        Zip().write(items, io.BytesIO())


def test_what_can_be_read_again_is_written_again() -> None:
    """A list of rows, or of members."""
    for source in ([(1,)], [Member("a.txt", b"x")]):
        items, first, second = Items(source), io.BytesIO(), io.BytesIO()
        Zip().write(items, first)
        Zip().write(items, second)
        assert first.getvalue() == second.getvalue()


def test_a_fault_names_the_member() -> None:
    """Besides the row and the column."""
    with pytest.raises(UnwritableValue) as refused:
        written([Member("ok.csv", [("x",)]), Member("2026/b.csv", [("x",), ("\ud83d",)], ("t",))])
    assert (refused.value.member, refused.value.row, refused.value.column) == ("2026/b.csv", 2, "t")
    assert str(refused.value) == "A text is not valid Unicode (2026/b.csv, row 2, column t)."


def test_what_the_users_code_raises_says_in_which_member() -> None:
    """For whoever reads the log."""

    def rows() -> Iterator[tuple[int]]:
        yield (1,)
        raise ZeroDivisionError("the source is gone")

    with pytest.raises(ZeroDivisionError) as raised:
        written([Member("a.csv", rows())])
    assert raised.value.__notes__ == ["This was while 'a.csv' was written into the archive."]


def test_a_generator_tidies_up_at_once() -> None:
    """The members' own, and that of the members."""
    closed = list[str]()

    def rows() -> Iterator[tuple[str]]:
        try:
            yield ("\ud83d",)
        finally:
            closed.append("rows")

    def members() -> Iterator[Member]:
        try:
            yield Member("a.csv", rows())
        finally:
            closed.append("members")

    with pytest.raises(UnwritableValue):
        written(members())
    assert closed == ["rows", "members"]


@pytest.mark.parametrize("name", ["a.docx", "a", "a.csv.bz2", "a.xlsx.gz"])
def test_rows_need_a_format(name: str) -> None:
    """No suffix is guessed; and where it is an option, that is said when it is declared."""
    with pytest.raises(ImproperlyConfigured, match="no format writes rows"):
        written([Member(name, [(1,)])])
    with pytest.raises(ImproperlyConfigured, match="no format writes rows"):
        Zip(rows=name)


def test_compressed_members_are_not_deflated_again() -> None:
    """Their bytes are in the archive as they are, which costs no time; others are deflated."""
    buffer, data = io.BytesIO(), b"so many words " * 1000
    Zip().write(Items([Member("a.png", data), Member("b.txt", data)]), buffer)
    kept, deflated = zipfile.ZipFile(buffer).infolist()
    assert kept.compress_size > len(data) > 10 * deflated.compress_size
    assert data in buffer.getvalue()
    assert struct.pack("<H", 8) == buffer.getvalue()[8:10]  # in blocks whose end a stream's reader sees


# -- names -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("a/b/c.csv", "a/b/c.csv"),
        ("../../etc/passwd", "etc/passwd"),
        ("/etc/passwd", "etc/passwd"),
        (r"C:\Windows\a.csv", "Windows/a.csv"),
        (r"\\host\share\a.csv", "host/share/a.csv"),
        ("a/./../b.csv", "a/b.csv"),
        ("a\x00\n\u202eb.csv", "a_b.csv"),
        ("con/nul.csv", "con_/nul_.csv"),
        ("a//b.csv/", "a/b.csv"),
        ("Größe/山.csv", "Größe/山.csv"),
        ("", "file"),
        ("../..", "file"),
        (".htaccess", "file.htaccess"),
    ],
)
def test_a_name_leads_nowhere_else(given: str, expected: str) -> None:
    """Whatever somebody has typed: no absolute paths, no drives, no way up, no devices."""
    assert MemberNames()(given) == expected


def test_no_name_is_there_twice() -> None:
    """Neither on systems to which small and capital letters are the same; nor is a file a folder as well."""
    names = MemberNames()
    given = ["a.csv", "A.csv", "a.csv", "x.csv.gz", "x.csv.gz", "b/c.txt", "b", "d", "d/e.txt", "a (2).csv", ".."]
    assert [names(name) for name in given] == [
        "a.csv", "A (2).csv", "a (3).csv", "x.csv.gz", "x (2).csv.gz", "b/c.txt", "b (2)", "d", "d (2)/e.txt",
        "a (2) (2).csv", "file",
    ]  # fmt: skip


def test_as_many_as_there_are_may_have_one_name() -> None:
    """Each takes as long as the first: an archive of 70,000 photos, which all are ``photo.jpg``, would not end."""
    names, count = MemberNames(), 30_000
    assert len({names("2026/photo.jpg") for _ in range(count)}) == count
    assert names("2026/Photo.jpg") == f"2026/Photo ({count + 1}).jpg"
    assert names("2026/photo.jpg/a") == f"2026/photo ({count + 2}).jpg/a"


@given(st.lists(st.text(st.sampled_from("aAbß./\\: \x00é\u0301"), max_size=8), max_size=12))
def test_names_are_safe_and_unique(given: list[str]) -> None:
    """For any names."""
    names = MemberNames()
    made = [names(name) for name in given]
    assert len({name.casefold() for name in made}) == len(made)
    for name in made:
        parts = name.split("/")
        assert len(parts) <= DEPTH
        assert all(part and part.strip(". ") == part and not set(part) & set("\\:\x00") for part in parts)
    folders = {name.casefold().rsplit("/", depth)[0] for name in made for depth in range(1, name.count("/") + 1)}
    assert not folders & {name.casefold() for name in made}
