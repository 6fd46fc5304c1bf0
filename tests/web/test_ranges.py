"""Parts of a file, and conditions (RFC 9110, 13 and 14)."""

from __future__ import annotations

import base64
import hashlib
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from werkzeug.http import http_date
from werkzeug.test import Client, EnvironBuilder, TestResponse
from werkzeug.wrappers import Request

from bgtasks import ranges, toolbox
from bgtasks.deployment import Deployment
from bgtasks.errors import RangeNotSatisfiable
from bgtasks.models import FileRequest
from bgtasks.ranges import Span, Validators
from tests.conftest import new_sqlite
from tests.support.handmade import REQUESTER, alter, finished, fresh

CONTENTS = bytes(range(100))
ETAG = f'"{hashlib.sha256(CONTENTS).hexdigest()}"'


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    """One kind is enough here."""
    return new_sqlite(tmp_path)


@pytest.fixture
def ready(parts: Deployment) -> FileRequest:
    """A file of a hundred bytes."""
    return finished(CONTENTS)


def ask(client: Client, ready: FileRequest, method: str = "GET", **headers: str) -> TestResponse:
    """What its requester gets.

    :param headers: with ``_`` for ``-``.
    """
    said = {name.replace("_", "-"): value for name, value in headers.items()}
    path = f"/files/{toolbox.create_token(ready)}"
    return client.open(path, method=method, headers=said, environ_overrides={"REMOTE_USER": REQUESTER})


@pytest.mark.parametrize(
    ("asked", "start", "stop"),
    [
        ("bytes=0-9", 0, 10), ("bytes=10-", 10, 100), ("bytes=-10", 90, 100), ("bytes=99-99", 99, 100),
        ("bytes=0-99", 0, 100), ("bytes=50-5000", 50, 100), ("bytes=-5000", 0, 100), ("bytes=0-", 0, 100),
        ("Bytes = 3-4", 3, 5), ("bytes=007-008", 7, 9),
    ],
)  # fmt: skip
def test_a_range_brings_that_part(client: Client, ready: FileRequest, asked: str, start: int, stop: int) -> None:
    """The bytes, their place, and the digest of the whole; a range that is the whole file is answered with it."""
    response = ask(client, ready, Range=asked)
    assert response.get_data() == CONTENTS[start:stop]
    assert response.content_length == stop - start
    assert response.headers["Accept-Ranges"] == "bytes"
    assert response.headers["ETag"] == ETAG
    assert (
        response.headers["Repr-Digest"] == f"sha-256=:{base64.b64encode(hashlib.sha256(CONTENTS).digest()).decode()}:"
    )
    assert response.headers["Content-Type"] == "text/csv"
    is_part = stop - start < len(CONTENTS)
    assert response.status_code == (206 if is_part else 200)
    assert response.headers.get("Content-Range") == (f"bytes {start}-{stop - 1}/100" if is_part else None)


@pytest.mark.parametrize(
    "asked",
    [
        "bytes=0-9,20-29", "bytes=0-9, 5-20", "bytes=5-2", "bytes=", "bytes=-", "bytes=a-b", "bytes", "lines=0-9",
        "=0-9", "bytes=0-9;", "bytes=+1-2", "bytes=1_0-20", "bytes=-0", "bytes=--5", "", "bytes=0x1-5",
        f"bytes={'9' * 5000}-",
    ],
)  # fmt: skip
def test_what_is_no_single_range_is_ignored(client: Client, ready: FileRequest, asked: str) -> None:
    """Several ranges, other units and nonsense get the whole file, as RFC 9110 (14.2) allows."""
    response = ask(client, ready, Range=asked)
    assert (response.status_code, response.get_data()) == (200, CONTENTS)
    assert "Content-Range" not in response.headers


@pytest.mark.parametrize("asked", ["bytes=100-", "bytes=100-200", "bytes=99999999999999999999-"])
@pytest.mark.parametrize("accept", ["text/html", "application/json"])
def test_a_part_that_is_not_there(client: Client, ready: FileRequest, asked: str, accept: str) -> None:
    """416 says how long the file is, so that a client that has all of it knows."""
    response = ask(client, ready, Range=asked, Accept=accept)
    assert response.status_code == 416
    assert response.headers["Content-Range"] == "bytes */100"
    assert "no such part" in response.get_data(as_text=True)
    assert "no-store" in response.headers["Cache-Control"]


@pytest.mark.parametrize("asked", ["bytes=0-", "bytes=0-0", "bytes=-5", "bytes=7-"])
def test_an_empty_file_has_no_parts(client: Client, parts: Deployment, asked: str) -> None:
    """No Content-Range could name one: whoever adds a range to every request gets the empty file."""
    empty = finished(b"")
    response = ask(client, empty, Range=asked)
    assert (response.status_code, response.content_length, response.get_data()) == (200, 0, b"")
    assert fresh(parts, empty).downloads == 1


def test_head_knows_no_ranges(client: Client, parts: Deployment, ready: FileRequest) -> None:
    """GET alone has them (RFC 9110, 14.2): HEAD describes the whole file, with the headers of a GET, and no body."""
    head, whole = ask(client, ready, "HEAD", Range="bytes=500-"), ask(client, ready)
    assert (head.status_code, head.get_data()) == (200, b"")
    assert head.headers == whole.headers
    assert head.content_length == 100
    assert fresh(parts, ready).downloads == 0


def test_head_reads_nothing(
    client: Client, parts: Deployment, ready: FileRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bucket is asked for an object's size, and for none of its bytes."""
    opened: list[str] = []
    monkeypatch.setattr(parts.store, "open_local", opened.append, raising=True)
    monkeypatch.setattr(parts.store, "read", lambda *asked: opened.append(asked[0]) or iter(()))
    assert ask(client, ready, "HEAD").content_length == 100
    assert opened == []
    ask(client, ready).get_data()
    assert opened


# -- conditions --------------------------------------------------------------------------------------


def modified(ready: FileRequest, seconds: int = 0) -> str:
    """So long after the file was finished, as a header."""
    assert ready.finished_at is not None
    return http_date(ready.finished_at + timedelta(seconds=seconds))


def test_a_file_says_when_it_was_finished(client: Client, ready: FileRequest) -> None:
    """In whole seconds, which are all that HTTP knows."""
    assert ask(client, ready).headers["Last-Modified"] == modified(ready)


@pytest.mark.parametrize(
    ("condition", "is_same"),
    [
        (ETAG, True), (ETAG.strip('"'), False), (f"W/{ETAG}", False), ('"another"', False), ("*", False),
        ("", False), (0, True), (-1, False), (1, False), ("no date", False),
    ],
)  # fmt: skip
def test_a_range_of_the_same_file_only(client: Client, ready: FileRequest, condition: Any, is_same: bool) -> None:
    """``If-Range`` compares strongly: the very tag or the very date; otherwise the whole file comes."""
    said = modified(ready, condition) if isinstance(condition, int) else condition
    response = ask(client, ready, Range="bytes=10-", If_Range=said)
    assert response.status_code == (206 if is_same else 200)
    assert response.get_data() == CONTENTS[10 if is_same else 0 :]
    unsatisfiable = ask(client, ready, Range="bytes=100-", If_Range=said)
    assert unsatisfiable.status_code == (416 if is_same else 200)


def test_if_range_without_a_range_is_nothing(client: Client, ready: FileRequest) -> None:
    """The whole file was asked for, and comes."""
    assert ask(client, ready, If_Range='"another"').get_data() == CONTENTS


CONDITIONS: list[tuple[int, dict[str, Any]]] = [
    (304, {"If_None_Match": ETAG}),
    (304, {"If_None_Match": f'"another", W/{ETAG}'}),
    (304, {"If_None_Match": "*"}),
    (200, {"If_None_Match": '"another"'}),
    (200, {"If_None_Match": "nonsense,,"}),
    (304, {"If_Modified_Since": 0}),
    (304, {"If_Modified_Since": 60}),
    (200, {"If_Modified_Since": -1}),
    (200, {"If_Modified_Since": "yesterday"}),
    (200, {"If_None_Match": '"another"', "If_Modified_Since": 60}),  # the tag is the better witness
    (200, {"If_Match": ETAG}),
    (200, {"If_Match": f'"another", {ETAG}'}),
    (200, {"If_Match": "*"}),
    (412, {"If_Match": '"another"'}),
    (412, {"If_Match": f"W/{ETAG}"}),
    (200, {"If_Unmodified_Since": 0}),
    (412, {"If_Unmodified_Since": -1}),
    (200, {"If_Unmodified_Since": "yesterday"}),
    (200, {"If_Match": ETAG, "If_Unmodified_Since": -60}),
    (412, {"If_Match": '"another"', "If_None_Match": ETAG}),
    (304, {"If_Match": ETAG, "If_None_Match": ETAG}),
    (304, {"If_None_Match": ETAG, "Range": "bytes=10-"}),
    (412, {"If_Match": '"another"', "Range": "bytes=500-"}),
    (206, {"If_None_Match": '"another"', "Range": "bytes=10-"}),
]


@pytest.mark.parametrize(("status", "conditions"), CONDITIONS)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_conditions(
    client: Client, parts: Deployment, ready: FileRequest, status: int, conditions: dict[str, Any], method: str
) -> None:
    """In the order of RFC 9110 (13.2.2); a file that the client has is not sent again, and nothing is counted."""
    said = {name: modified(ready, value) if isinstance(value, int) else value for name, value in conditions.items()}
    response = ask(client, ready, method, **said)
    assert response.status_code == (200 if method == "HEAD" and status == 206 else status)
    body = response.get_data()
    if status in (304, 412) or method == "HEAD":
        assert fresh(parts, ready).downloads == 0
    if status == 304:
        assert body == b""
        assert response.headers["ETag"] == ETAG
        assert response.headers["Cache-Control"] == "private, no-store"
        assert not {"Content-Type", "Content-Length", "Content-Disposition"} & set(response.headers.keys())
    elif method == "GET" and status == 412:
        assert b"not the one that was asked for" in body


def test_conditions_do_not_matter_where_there_is_no_file(client: Client, parts: Deployment, ready: FileRequest) -> None:
    """A file that is gone is a 404, whatever the client has of it (RFC 9110, 13.2.1)."""
    parts.store.delete(str(ready.object_key))
    for said in ({"If_None_Match": ETAG}, {"If_Match": '"another"'}, {"Range": "bytes=500-"}):
        assert ask(client, ready, **said).status_code == 404


@pytest.mark.parametrize("size", [99, 101])
def test_an_object_of_another_size_is_not_the_file(
    client: Client, parts: Deployment, ready: FileRequest, size: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Damaged in the store: no part of it is sent, and the log names the request."""
    alter(parts, ready, size=size)
    assert ask(client, ready).status_code == 404
    assert f"has 100 bytes instead of {size}" in caplog.text
    assert ready.id in caplog.text


# -- what is counted ---------------------------------------------------------------------------------


def test_only_the_part_with_the_last_byte_is_a_download(client: Client, parts: Deployment, ready: FileRequest) -> None:
    """A file that is fetched in ten parts, in any order, counts once; asking for its end again counts again."""
    for start in (90, 0, 50, 10, 20, 30, 40, 60, 70, 80):
        assert ask(client, ready, Range=f"bytes={start}-{start + 9}").get_data() == CONTENTS[start : start + 10]
    assert fresh(parts, ready).downloads == 1
    ask(client, ready, Range="bytes=0-98").get_data()
    assert fresh(parts, ready).downloads == 1
    ask(client, ready, Range="bytes=-1").get_data()
    assert fresh(parts, ready).downloads == 2


def test_what_was_not_sent_is_not_counted(client: Client, parts: Deployment, ready: FileRequest) -> None:
    """Neither a part that is not there nor a file that the client has nor one that nobody has read."""
    ask(client, ready, Range="bytes=100-").get_data()
    ask(client, ready, If_None_Match=ETAG).get_data()
    ask(client, ready)
    assert fresh(parts, ready).downloads == 0


@pytest.mark.parametrize("conf", [{"bgtasks_sendfile": "/protected"}], indirect=True)
@pytest.mark.parametrize(
    ("said", "count"),
    [
        ({}, 1), ({"Range": "bytes=0-9"}, 1), ({"Range": "bytes=10-"}, 0), ({"Range": "bytes=-10"}, 0),
        ({"Range": "bytes=500-"}, 0), ({"Range": "bytes=10-", "If_Range": '"another"'}, 1),
        ({"Range": "bytes=0-9,20-"}, 1),
    ],
)  # fmt: skip
def test_what_another_server_sends_counts_where_it_begins(
    client: Client, parts: Deployment, ready: FileRequest, said: dict[str, str], count: int
) -> None:
    """nginx does the ranges, so that its end is not seen: a resumed download is none of its own."""
    response = ask(client, ready, **said)
    assert response.status_code == 200
    assert response.headers["X-Accel-Redirect"] == f"/protected/{ready.object_key}"
    assert (response.get_data(), response.content_length) == (b"", 0)
    assert fresh(parts, ready).downloads == count


@pytest.mark.parametrize("conf", [{"bgtasks_sendfile": "/protected"}], indirect=True)
def test_conditions_are_looked_at_before_a_file_is_handed_over(client: Client, ready: FileRequest) -> None:
    """By us, whose ETag the client has; what nginx would compare with its own is not left to it."""
    assert ask(client, ready, If_None_Match=ETAG).status_code == 304
    assert ask(client, ready, If_Match='"another"').status_code == 412
    for said in ({"If_Match": ETAG}, {"If_Unmodified_Since": modified(ready)}):
        streamed = ask(client, ready, Range="bytes=10-19", **said)
        assert "X-Accel-Redirect" not in streamed.headers
        assert (streamed.status_code, streamed.get_data()) == (206, CONTENTS[10:20])


# -- any range at all --------------------------------------------------------------------------------


@settings(max_examples=300)
@given(size=st.integers(0, 50), text=st.from_regex(r"bytes=[0-9 ,-]{0,12}", fullmatch=True))
@example(size=10, text="bytes=-0")
def test_any_range_lies_within_the_file(size: int, text: str) -> None:
    """Whatever is asked for: a part that is not empty and within the file, the whole file, or an error."""
    http_request = Request(EnvironBuilder(headers={"Range": text}).get_environ())
    try:
        found = ranges.span(http_request, Validators("", None), size)
    except RangeNotSatisfiable:
        assert size
        return
    assert 0 <= found.start <= found.stop <= size
    assert found.length > 0 or found == Span(0, 0, 0)
