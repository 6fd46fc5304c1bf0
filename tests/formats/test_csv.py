"""CSV as RFC 4180 has it."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgtasks.errors import ImproperlyConfigured, UnwritableValue
from bgtasks.formats import Format, resolve
from bgtasks.formats.csv import Csv
from bgtasks.items import BATCH, Items

#: Everything that UTF-8 can hold.
texts = st.text(st.characters(exclude_categories=["Cs"]))


class Written(io.RawIOBase):
    """A binary file that can't seek, as the store's are."""

    def __init__(self) -> None:
        self.chunks: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.chunks.append(bytes(data))
        return len(data)


def written(source: Any, form: Format | None = None, columns: Any = None, **options: Any) -> bytes:
    """The bytes of a file."""
    buffer = Written()
    (form or Csv()).write(Items(source, columns=columns), buffer, **options)  # type: ignore[arg-type]
    return b"".join(buffer.chunks)


def read(content: bytes, **options: Any) -> list[list[str]]:
    """What a program reads from a file."""
    return list(csv.reader(io.StringIO(content.decode(), newline=""), **options))


def test_the_name_chooses_it() -> None:
    """``csv`` is this format with its default options, and says what it is."""
    assert resolve("csv") == Csv()
    assert isinstance(Csv(), Format)
    assert (Csv.content_type, Csv.suffix, Csv.max_rows) == ("text/csv; charset=utf-8", ".csv", None)


def test_the_bytes_are_those_of_the_rfc() -> None:
    """Commas between cells, CRLF after each line, quotes only where they are needed, and doubled within."""
    rows = [(1, "plain", None), (2, 'a "b", c', "d\r\ne")]
    assert written(rows, columns=("id", "text", "more, or less")) == (
        b'id,text,"more, or less"\r\n'  # the headings
        b"1,plain,\r\n"
        b'2,"a ""b"", c","d\r\ne"\r\n'
    )


@given(st.lists(st.lists(texts, min_size=1, max_size=4), max_size=6), st.sampled_from(",;\t|"))
def test_texts_read_back_as_they_were(rows: list[list[str]], delimiter: str) -> None:
    """Commas, quotes, line ends, blanks and any Unicode survive."""
    content = written(rows, Csv(delimiter=delimiter, neutralise=False))
    assert read(content, delimiter=delimiter) == rows


@given(texts)
def test_only_an_apostrophe_is_added_to_what_would_run(text: str) -> None:
    """A neutralised text reads back whole, behind its apostrophe."""
    [[cell]] = read(written([[text]]))
    assert cell in (text, "'" + text)
    assert not cell.startswith(("=", "+", "-", "@", "\t", "\r"))


def test_formulas_are_neutralised_and_numbers_are_not() -> None:
    """Headings too: they may come from what users have typed."""
    content = written([("=1+1", -1, -1.5, "@x"), ("a", 1, 2.5, "\tb")], columns=("=h", "-1", "+c", "ok"))
    assert read(content) == [["'=h", "'-1", "'+c", "ok"], ["'=1+1", "-1", "-1.5", "'@x"], ["a", "1", "2.5", "'\tb"]]


def test_neutralising_can_be_switched_off() -> None:
    """For programs that read the file."""
    content = written([("=1+1", "-x")], Csv(neutralise=False), columns=("=h", "@i"))
    assert read(content) == [["=h", "@i"], ["=1+1", "-x"]]


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        (Csv(), b"name\r\n\xc3\xbc\r\n"),
        (Csv(bom=True), b"\xef\xbb\xbfname\r\n\xc3\xbc\r\n"),
        (Csv(header=False), b"\xc3\xbc\r\n"),
        (Csv(header=False, bom=True), b"\xef\xbb\xbf\xc3\xbc\r\n"),
    ],
)
def test_the_byte_order_mark_and_the_headings_are_options(form: Csv, expected: bytes) -> None:
    """UTF-8 in any case; the mark comes first."""
    assert written([{"name": "ü"}], form) == expected


@pytest.mark.parametrize(
    ("form", "columns", "expected"),
    [
        (Csv(), None, b""),
        (Csv(), ("a", "b"), b"a,b\r\n"),
        (Csv(bom=True), None, b"\xef\xbb\xbf"),
        (Csv(bom=True), ("a",), b"\xef\xbb\xbfa\r\n"),
    ],
)
def test_no_rows_make_a_file_of_headings(form: Csv, columns: Any, expected: bytes) -> None:
    """An empty export is a file like any other."""
    assert written([], form, columns) == expected


def test_a_single_empty_cell_is_a_row() -> None:
    """Not an empty line, which readers skip."""
    assert written([(None,), ("",)]) == b'""\r\n""\r\n'


def test_aware_times_are_in_the_given_zone() -> None:
    """And in UTC where none is given."""
    moment = datetime(2024, 7, 1, 12, tzinfo=UTC)
    assert written([(moment,)]) == b"2024-07-01 12:00:00+00:00\r\n"
    assert written([(moment,)], zone=ZoneInfo("America/New_York")) == b"2024-07-01 08:00:00-04:00\r\n"


@pytest.mark.parametrize("delimiter", ["", ",,", '"', "\r", "\n", "\0", "\ud800"])
def test_what_is_no_delimiter_is_refused_when_it_is_declared(delimiter: str) -> None:
    """A wrong option is said at once, not by a worker at night."""
    with pytest.raises(ImproperlyConfigured, match="delimiter"):
        Csv(delimiter=delimiter)


def test_a_text_that_is_no_unicode_is_refused_by_row_and_column() -> None:
    """Half of a surrogate pair can't be encoded; whoever has to mend it is told where it is."""
    rows = ((number, "half \ud83d" if number == BATCH + 5 else "whole") for number in range(1, 2 * BATCH))
    with pytest.raises(UnwritableValue) as refused:
        written(rows, columns=("id", "text"))
    assert (refused.value.row, refused.value.column) == (BATCH + 5, "text")
    assert str(refused.value) == "A text is not valid Unicode (row 2,005, column text)."


def test_a_heading_that_is_no_unicode_is_refused() -> None:
    """As cells are."""
    with pytest.raises(UnwritableValue, match="A heading is not valid Unicode"):
        written([(1,)], columns=("\ud800",))


def test_bytes_leave_before_the_last_row_is_read() -> None:
    """A file is never in memory as a whole."""
    buffer, seen = Written(), []

    def rows() -> Iterator[tuple[int]]:
        for number in range(3 * BATCH):
            seen.append(sum(map(len, buffer.chunks)))
            yield (number,)

    Csv().write(Items(rows()), buffer)  # type: ignore[arg-type]
    assert seen[BATCH + 1] > 0
    assert seen[2 * BATCH + 1] > seen[BATCH + 1]
