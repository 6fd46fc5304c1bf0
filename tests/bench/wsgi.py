"""What else a web server can do with a file: as little as possible."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

CHUNK = 256 * 1024  # bytes
#: How a client of the benchmark says who it is. No deployment should believe such a header.
USER = "X-Test-User"


def who(environ: dict[str, Any]) -> str | None:
    """``bgtasks_identify``."""
    return environ.get("HTTP_X_TEST_USER")


def iterator(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """The file in chunks."""
    _begin(start_response)
    return _chunks()


def wrapper(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """The file as the server wants to send it."""
    _begin(start_response)
    wrapped: Iterable[bytes] = environ["wsgi.file_wrapper"](_file().open("rb"), CHUNK)
    return wrapped


def _begin(start_response: Callable[..., Any]) -> None:
    headers = [("Content-Type", "application/octet-stream"), ("Content-Length", str(_file().stat().st_size))]
    start_response("200 OK", headers)


def _chunks() -> Iterator[bytes]:
    with _file().open("rb") as file:
        while chunk := file.read(CHUNK):
            yield chunk


def _file() -> Path:
    return Path(os.environ["BENCH_FILE"])
