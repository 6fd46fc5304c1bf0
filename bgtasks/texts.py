"""``%(name)s`` texts over a request's fields: subjects, mails and URLs that a file type declares."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from datetime import UTC, datetime, tzinfo
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from bgtasks.errors import ImproperlyConfigured
from bgtasks.models import COLUMNS, FileRequest

#: What a text may name: the row's fields, and these.
LINK_FIELDS = ("token", "download_url")
FIELDS = frozenset({*COLUMNS, *LINK_FIELDS, "base_url"})

_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_UNITS = ("bytes", "kB", "MB", "GB", "TB")


def zone_of(file_request: FileRequest | None) -> tzinfo:
    """The requester's time zone; UTC where none is known."""
    name = file_request.timezone if file_request else None
    try:
        return ZoneInfo(name) if name else UTC
    except (ZoneInfoNotFoundError, ValueError, OSError):  # the name of a folder, or one too long for a file
        return UTC


def fields_of(file_request: FileRequest, **link: str) -> dict[str, str]:
    """The row's fields and the link's, as a person would write them."""
    zone = zone_of(file_request)
    shown = {name: _shown(getattr(file_request, name), zone) for name in COLUMNS}
    shown["size"] = size(file_request.size)
    return {**dict.fromkeys(FIELDS, ""), **shown, **link}


def fill(text: str, fields: Mapping[str, str]) -> str:
    """A plain text with its fields filled in."""
    return str(text) % fields


def fill_html(text: str, fields: Mapping[str, str]) -> str:
    """The same for HTML: values are escaped."""
    return str(text) % {name: html.escape(value) for name, value in fields.items()}


def fill_header(text: str, fields: Mapping[str, str]) -> str:
    """The same for a header: one line, with no control characters."""
    return one_line(fill(text, fields))


def one_line(text: str) -> str:
    """A text without line breaks and controls."""
    return " ".join(_CONTROLS.sub(" ", text).split())


class _Blank(dict[str, str]):
    """Every field, empty. ``%s`` without a name would show them all, and so refuses."""

    def __repr__(self) -> str:
        raise TypeError("a placeholder has no name")


def check(owner: str, name: str, text: str | None) -> None:
    """See that a text names only what there is. Raises: ImproperlyConfigured."""
    try:
        fill(text or "", _Blank.fromkeys(FIELDS, ""))
    except KeyError as unknown:
        raise ImproperlyConfigured(f"{owner}.{name} names {unknown}, which is not a field of a request") from None
    except (ValueError, TypeError) as malformed:
        raise ImproperlyConfigured(f"{owner}.{name} is not a %(name)s string: {malformed}") from None


def size(count: int | None) -> str:
    """Bytes as people say them: ``12.3 MB``."""
    if count is None:
        return ""
    value, unit = float(count), 0
    while value >= 1000 and unit < len(_UNITS) - 1:
        value, unit = value / 1000, unit + 1
    return f"{value:.1f} {_UNITS[unit]}" if unit else f"{count} bytes"


def _shown(value: Any, zone: tzinfo) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.astimezone(zone).strftime("%Y-%m-%d %H:%M %Z")
    return f"{value:,}" if isinstance(value, int) else str(value)
