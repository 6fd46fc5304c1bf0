"""A file type's formats: what can be asked for, and what the file is then called."""

from __future__ import annotations

import gzip
import io
import json
import sys
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import openpyxl
import pytest
import zstandard
from werkzeug.test import EnvironBuilder
from werkzeug.wrappers import Request, Response

from bgtasks import registry, toolbox
from bgtasks.deployment import Deployment
from bgtasks.errors import ImproperlyConfigured, RequestFailed, TooManyRows, UnknownFormat
from bgtasks.file_types import Dataset, FileType
from bgtasks.formats.csv import Csv
from bgtasks.formats.xlsx import sheets
from bgtasks.items import Member
from bgtasks.states import State
from tests.support.file_types import rows
from tests.support.handmade import REQUESTER, fresh

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

ROWS = [{"number": number, "name": name} for number, name in rows(3)]
CSV = b"number;name\r\n0;name 0\r\n1;name 1\r\n2;name 2\r\n"


class Many(FileType):
    """Numbers, in any format."""

    file_type = "many"
    formats = (Csv(delimiter=";"), "xlsx", "jsonl", "parquet", "zip")
    notifiers = ()

    def get_items(self, criteria: Any) -> Any:
        if self.get_format().name == "zip":
            return (Member(name, rows(2), ("number", "name")) for name in ("a.csv", "b/c.jsonl"))
        return iter(ROWS)

    def evaluate_dataset(self, dataset: Dataset, http_request: Any) -> None:
        dataset.delay = False


def asking(**query: str) -> Request:
    """Somebody asks in a web page."""
    return Request(EnvironBuilder(query_string=query, environ_overrides={"REMOTE_USER": REQUESTER}).get_environ())


def body(response: Response) -> bytes:
    """What is sent."""
    with response:
        return b"".join(response.iter_encoded())


def made(parts: Deployment, cls: type[FileType], **asked: Any) -> tuple[Any, bytes]:
    """The row and the file, made as a worker makes it."""
    registry.register(cls)
    row = toolbox.add_request({}, cls.file_type, REQUESTER, **asked)
    assert registry.dispatch(row.id)
    ended = fresh(parts, row)
    assert (ended.state, ended.size) == (State.READY, parts.store.size(str(ended.object_key)))
    return ended, b"".join(parts.store.read(str(ended.object_key)))


def from_json(contents: bytes) -> list[Any]:
    """The lines of a JSON Lines file."""
    return [json.loads(line) for line in contents.splitlines()]


def from_xlsx(contents: bytes) -> list[Any]:
    """The first sheet's rows, as mappings."""
    heading, *found = openpyxl.load_workbook(io.BytesIO(contents)).worksheets[0].iter_rows(values_only=True)
    return [dict(zip(heading, row, strict=True)) for row in found]


def from_parquet(contents: bytes) -> list[Any]:
    """The rows of a Parquet file, as mappings."""
    parquet = pytest.importorskip("pyarrow.parquet")
    found: list[Any] = parquet.read_table(io.BytesIO(contents)).to_pylist()
    return found


def from_zip(contents: bytes) -> dict[str, bytes]:
    """The files in an archive."""
    with zipfile.ZipFile(io.BytesIO(contents)) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


def from_zst(contents: bytes) -> bytes:
    """What was compressed."""
    return zstandard.ZstdDecompressor().stream_reader(contents).read()


HEADING = '{"number":%d,"name":"name %d"}\n'
IN_A_ZIP = {
    "a.csv": b"number,name\r\n0,name 0\r\n1,name 1\r\n",
    "b/c.jsonl": "".join(HEADING % (number, number) for number in range(2)).encode(),
}

#: format: its name's suffix, its media type, how it is read, and what it holds.
FORMATS: dict[str, tuple[str, str, Callable[[bytes], Any], Any]] = {
    "csv": (".csv", "text/csv; charset=utf-8", bytes, CSV),
    "csv.gz": (".csv.gz", "application/gzip", gzip.decompress, CSV),
    "csv.zst": (".csv.zst", "application/zstd", from_zst, CSV),
    "jsonl": (".jsonl", "application/jsonl", from_json, ROWS),
    "jsonl.zst": (".jsonl.zst", "application/zstd", lambda contents: from_json(from_zst(contents)), ROWS),
    "xlsx": (".xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", from_xlsx, ROWS),
    "parquet": (".parquet", "application/vnd.apache.parquet", from_parquet, ROWS),
    "zip": (".zip", "application/zip", from_zip, IN_A_ZIP),
}


@pytest.mark.parametrize("format", FORMATS)
def test_a_request_has_its_format_in_a_worker_and_at_once(parts: Deployment, format: str) -> None:
    """The same bytes, name and media type on both ways; text may be asked for compressed, with the same options."""
    suffix, content_type, read, expected = FORMATS[format]
    row, contents = made(parts, Many, format=format)
    assert read(contents) == expected
    assert (row.filename, row.content_type, row.format) == (f"many{suffix}", content_type, format)
    assert (row.rows_total, row.rows_written) == (None, 4 if format == "zip" else 3)
    _, response = Many().respond_to(asking(format=format))
    assert body(response) == contents
    assert response.content_type == content_type
    assert response.headers["Content-Disposition"] == f"attachment; filename=many{suffix}"


@pytest.mark.parametrize(
    "format", ["csv.bz2", "csv.", ".gz", "csv.gz.gz", "xlsx.gz", "zip.gz", "parquet.zst", "gz", "a.b"]
)
def test_what_no_format_is_is_refused(parts: Deployment, format: str) -> None:
    """Only text is compressed, once, in one of two ways."""
    with pytest.raises(UnknownFormat):
        Many().respond_to(asking(format=format))
    registry.register(Many)
    row = toolbox.add_request({}, "many", REQUESTER, format=format)
    with pytest.raises(RequestFailed):
        registry.dispatch(row.id)
    assert fresh(parts, row).error_code == "unknown_format"


class Packed(Many):
    """Declares a compression."""

    file_type = "packed"
    formats = ("csv.gz", "csv")
    columns = ("number", "name")
    content_type = "text/x-numbers"

    def get_items(self, criteria: Any) -> Any:
        return rows(1)


@pytest.mark.parametrize(
    ("format", "name", "content_type"),
    [
        ("", "packed.csv.gz", "application/gzip"),
        ("csv", "packed.csv", "text/x-numbers"),
        ("csv.zst", "packed.csv.zst", "application/zstd"),
    ],
)
def test_a_type_may_declare_a_compression(parts: Deployment, format: str, name: str, content_type: str) -> None:
    """As its default, say. Its own media type is that of the text."""
    row, _ = made(parts, Packed, format=format)
    assert (row.filename, row.content_type) == (name, content_type)


@pytest.mark.parametrize(
    ("filename", "format", "expected"),
    [
        ("report.csv", "", "report.csv"),
        ("report.csv", "csv.gz", "report.csv.gz"),
        ("report.csv", "xlsx", "report.xlsx"),
        ("report.csv.gz", "csv", "report.csv"),
        ("report.xlsx", "jsonl.zst", "report.jsonl.zst"),
        ("report", "csv.gz", "report"),
        ("report.txt", "csv.gz", "report.txt"),
        ("x" * 300 + ".csv", "csv.gz", "x" * 193 + ".csv.gz"),
    ],
)
def test_a_name_has_the_suffix_of_the_format(parts: Deployment, filename: str, format: str, expected: str) -> None:
    """Whether the request or the type has given it; a name without one, or with one of its own, is kept."""
    row, _ = made(parts, Many, format=format, filename=filename)
    assert row.filename == expected
    named = type("Named", (Many,), {"file_type": "named", "filename": filename})
    assert made(parts, named, format=format)[0].filename == expected


# -- limits ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("format", "most"), [("csv.gz", 2), ("zip", 3)])
def test_too_many_rows_are_refused_in_every_format(parts: Deployment, format: str, most: int) -> None:
    """Of an archive, the rows of all its files count."""
    few = type("Few", (Many,), {"file_type": "few", "max_rows": most})
    registry.register(few)
    row = toolbox.add_request({}, "few", REQUESTER, format=format)
    with pytest.raises(RequestFailed):
        registry.dispatch(row.id)
    assert fresh(parts, row).error_code == "too_many_rows"
    assert list(parts.store.keys()) == []
    with pytest.raises(TooManyRows):
        few().respond_to(asking(format=format))


def test_a_workbook_goes_on_in_the_next_sheet(parts: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where one is full, each with the chosen headings; the rows of all of them are counted."""
    monkeypatch.setattr(sheets, "SHEET_ROWS", 2)
    chosen = type("Chosen", (Many,), {"file_type": "chosen", "columns": {"number": "No.", "name": "Name"}})
    row, contents = made(parts, chosen, format="xlsx", columns=["name"])
    book = openpyxl.load_workbook(io.BytesIO(contents))
    assert [list(sheet.values) for sheet in book] == [[("Name",), (f"name {number}",)] for number in range(3)]
    assert row.rows_written == 3


# -- at once -----------------------------------------------------------------------------------------


class Broken(Many):
    """Fails after many rows."""

    file_type = "broken"

    def get_items(self, criteria: Any) -> Any:
        contents = self._rows()
        return [Member("a.csv", contents, ("number", "name"))] if self.get_format().name == "zip" else contents

    def _rows(self) -> Iterator[tuple[int, str]]:
        # Each row is another: some of it is sent before the end, compressed or not.
        yield from ((number, f"{hash((number, 1)):x}" * 60) for number in range(20_000))
        raise LookupError("the source is gone")


@pytest.mark.parametrize("format", ["csv", "csv.gz", "csv.zst", "jsonl.gz", "zip"])
def test_a_file_that_fails_midway_is_broken_off(parts: Deployment, format: str) -> None:
    """The error reaches the server, and what was sent has no end that would make it look whole."""
    _, response = Broken().respond_to(asking(format=format))
    assert response.content_length is None
    sent = bytearray()
    with pytest.raises(LookupError):
        for chunk in response.iter_encoded():
            sent += chunk
    assert sent
    for end, whole in ((".gz", gzip.decompress), ("zip", lambda part: zipfile.ZipFile(io.BytesIO(part)))):
        if format.endswith(end):
            with pytest.raises((EOFError, zipfile.BadZipFile)):
                whole(bytes(sent))


@pytest.mark.parametrize("format", ["csv.gz", "jsonl.zst", "parquet", "zip"])
def test_in_http_1_0_it_is_written_first(parts: Deployment, format: str) -> None:
    """There it needs a length: whole or not at all, with the same bytes."""
    http_request = asking(format=format)
    whole = body(Many().respond_to(http_request)[1])
    http_request.environ["SERVER_PROTOCOL"] = "HTTP/1.0"
    response = Many().respond_to(http_request)[1]
    assert int(response.headers["Content-Length"]) == len(whole)
    assert body(response) == whole
    http_request = asking(format=format if format != "parquet" else "csv")
    http_request.environ["SERVER_PROTOCOL"] = "HTTP/1.0"
    with pytest.raises(LookupError):
        Broken().respond_to(http_request)


# -- without an extra --------------------------------------------------------------------------------

#: format: the module that is not there, and the extra that has it.
EXTRAS = {"parquet": ("pyarrow", "arrow"), "jsonl": ("msgspec", "jsonl"), "csv.zst": ("zstandard", "zstd")}


@pytest.fixture(params=EXTRAS)
def lacking(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """A format and its extra, which is not installed."""
    module, extra = EXTRAS[request.param]
    for name in [module, *(name for name in sys.modules if name.startswith(f"{module}."))]:
        monkeypatch.setitem(sys.modules, name, None)
    return request.param, extra


def test_a_type_serves_what_it_can_without_an_extra(parts: Deployment, lacking: tuple[str, str]) -> None:
    """It registers, and makes its other formats."""
    _, contents = made(parts, Many)
    assert contents == CSV
    assert body(Many().respond_to(asking())[1]) == CSV


def test_an_extra_that_is_missing_is_said_at_once(parts: Deployment, lacking: tuple[str, str]) -> None:
    """In a web request, before anything is sent."""
    format, extra = lacking
    with pytest.raises(ImproperlyConfigured, match=rf"pip install 'celery-bgtasks\[{extra}\]'"):
        Many().respond_to(asking(format=format))


def test_an_extra_that_a_worker_misses_is_in_its_log(
    parts: Deployment, lacking: tuple[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    """The requester learns that there is no file, and the operators why."""
    format, extra = lacking
    registry.register(Many)
    row = toolbox.add_request({}, "many", REQUESTER, format=format)
    with pytest.raises(RequestFailed):
        registry.dispatch(row.id)
    ended = fresh(parts, row)
    assert (ended.state, ended.error_code) == (State.FAILED, "improperly_configured")
    assert "pip" not in str(ended.error_message)
    assert f"pip install 'celery-bgtasks[{extra}]'" in caplog.text
