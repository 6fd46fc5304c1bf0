"""Which part of a file an HTTP request asks for, and whether it wants any of it (RFC 9110, 13 and 14)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Self

from werkzeug.http import http_date, quote_etag
from werkzeug.wrappers import Request

from bgtasks.errors import PreconditionFailed, RangeNotSatisfiable
from bgtasks.models import FileRequest


@dataclass(frozen=True)
class Span:
    """The bytes of a file from ``start`` up to ``stop``, which is not among them."""

    start: int
    stop: int
    size: int  #: of the whole file

    @classmethod
    def whole(cls, size: int) -> Self:
        """All of a file."""
        return cls(0, size, size)

    @property
    def length(self) -> int:
        """Bytes."""
        return self.stop - self.start

    @property
    def is_whole(self) -> bool:
        """Whether it is all of the file."""
        return self.length == self.size

    @property
    def has_end(self) -> bool:
        """Whether the last byte is among them."""
        return self.stop == self.size

    @property
    def content_range(self) -> str:
        """As the header says it."""
        return f"bytes {self.start}-{self.stop - 1}/{self.size}"


@dataclass(frozen=True)
class Validators:
    """What tells one file from another. Both are strong: a request's file never changes."""

    sha256: str  #: in hex
    modified: datetime | None  #: in whole seconds: HTTP knows no others

    @classmethod
    def of(cls, file_request: FileRequest) -> Self:
        """A finished request's."""
        finished_at = file_request.finished_at
        return cls(file_request.sha256 or "", finished_at and finished_at.replace(microsecond=0))

    @property
    def etag(self) -> str:
        """As the header says it."""
        return quote_etag(self.sha256)

    @property
    def last_modified(self) -> str | None:
        """As the header says it."""
        return http_date(self.modified) if self.modified else None


def is_fresh(http_request: Request, validators: Validators) -> bool:
    """Whether the client has this file already: 304. Raises: PreconditionFailed. (RFC 9110, 13.2.2)"""
    _require_match(http_request, validators)
    if "If-None-Match" in http_request.headers:
        return http_request.if_none_match.contains_weak(validators.sha256)
    since = http_request.if_modified_since
    return bool(since and validators.modified and validators.modified <= since)


def _require_match(http_request: Request, validators: Validators) -> None:
    if "If-Match" in http_request.headers:
        matches = http_request.if_match.contains(validators.sha256)
    else:
        until = http_request.if_unmodified_since
        matches = not (until and validators.modified and validators.modified > until)
    if not matches:
        raise PreconditionFailed


def span(http_request: Request, validators: Validators, size: int) -> Span:
    """The part that is asked for. Raises: RangeNotSatisfiable.

    The whole file is the answer to several ranges (RFC 9110, 14.2 leaves that to the server), to a range that can't be
    read, to a method other than GET, to an ``If-Range`` of another file; and an empty file has no parts.
    """
    asked = http_request.range if http_request.method == "GET" and size else None
    if asked is None or asked.units != "bytes" or len(asked.ranges) != 1 or not _is_in_range(http_request, validators):
        return Span.whole(size)
    start, stop = asked.ranges[0]
    if start >= size:
        raise RangeNotSatisfiable(size)
    # A negative start is so many bytes before the end, and all of them where there are fewer.
    return Span(start if start >= 0 else max(size + start, 0), size if stop is None else min(stop, size), size)


def _is_in_range(http_request: Request, validators: Validators) -> bool:
    """What ``If-Range`` says, by strong comparison (RFC 9110, 13.1.5); Werkzeug's parser drops that a tag is weak."""
    given = http_request.headers.get("If-Range")
    return given is None or given.strip() in (validators.etag, validators.last_modified)
