"""The name under which a browser saves a file (RFC 6266, RFC 8187)."""

from __future__ import annotations

import re
from collections.abc import Callable
from email.message import EmailMessage
from email.policy import HTTP
from urllib.parse import unquote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from werkzeug.http import parse_options_header

from bgtasks.filenames import MAX_BYTES, safe
from bgtasks.serving import disposition

HOSTILE = 'a";\r\nSet-Cookie: a=b\r\n\r\n<script>.csv'


@pytest.mark.parametrize(
    ("filename", "header"),
    [
        ("numbers.csv", "attachment; filename=numbers.csv"),
        ("some numbers.csv", 'attachment; filename="some numbers.csv"'),
        ("Zürich.csv", "attachment; filename=Zurich.csv; filename*=UTF-8''Z%C3%BCrich.csv"),
        ("数.csv", "attachment; filename=file.csv; filename*=UTF-8''%E6%95%B0.csv"),
        ("📊📈", "attachment; filename=file; filename*=UTF-8''%F0%9F%93%8A%F0%9F%93%88"),
        ("50%41.csv", "attachment; filename=50%41.csv; filename*=UTF-8''50%2541.csv"),
        ("o'neill.csv", "attachment; filename=o'neill.csv"),
        ("", "attachment; filename=file"),
        ("../../etc/passwd", "attachment; filename=etc_passwd"),
        ("C:\\a\\b.csv", "attachment; filename=C_a_b.csv"),
        ('a "b" c.csv', 'attachment; filename="a _b_ c.csv"'),
    ],
)
def test_the_header(filename: str, header: str) -> None:
    """A plain name for every program; one in UTF-8 beside it where the plain one can't say it all."""
    assert disposition(filename) == header


def test_shown_or_saved() -> None:
    """A file that may be shown has its name too, for when it is saved."""
    assert disposition("a.csv", attachment=False) == "inline; filename=a.csv"


def by_werkzeug(header: str) -> tuple[str, str | None]:
    """What one parser makes of the header."""
    kind, options = parse_options_header(header)
    return kind, options.get("filename")


def by_email(header: str) -> tuple[str, str | None]:
    """What another one makes of it, which takes the first form that it meets: the extended one, where there is one."""
    header = re.sub(r"filename=(\"[^\"]*\"|[^;]*); (?=filename\*)", "", header)
    message = EmailMessage(policy=HTTP)
    message["Content-Disposition"] = header
    return message.get_content_disposition() or "", message.get_filename()


NAMES = [
    "Zürich.csv",
    "naïve café.xlsx",
    "数据 2013.csv",
    "📊.csv",
    "📊📈",
    "عربى.csv",
    "o'neill & co; 50%; a=b, c.csv",
    'a "b".csv',
    "C:\\Windows\\a.csv",
    "../../etc/passwd",
    HOSTILE,
    "long " * 60 + ".csv",
    "é" * 300 + ".csv",
    "..",
    "\u202egnp.exe",
]


@pytest.mark.parametrize("parse", [by_werkzeug, by_email])
@pytest.mark.parametrize("filename", NAMES)
def test_programs_read_the_name_back(parse: Callable[[str], tuple[str, str | None]], filename: str) -> None:
    """Two independent parsers find the safe form of the name, and no other."""
    assert parse(disposition(filename)) == ("attachment", safe(filename))


@given(filename=st.text(max_size=300))
@example(filename=HOSTILE)
@example(filename="\uff0e\uff0e\uff0fa")
@example(filename="\ud800")
def test_any_text_makes_one_clean_line(filename: str) -> None:
    """Whatever somebody calls a file, the header is one printable ASCII line that decodes to its safe name."""
    header = disposition(filename)
    assert header.isascii()
    assert header.isprintable()
    _, options = parse_options_header(header)
    assert options["filename"] == safe(filename)
    assert len(options["filename"].encode()) <= MAX_BYTES
    assert not set(options["filename"]) & set('/\\"<>|:*?')
    assert options["filename"] not in ("", ".", "..")
    if "filename*" in header:
        assert unquote(header.rpartition("''")[2]) == safe(filename)
