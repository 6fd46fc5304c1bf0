"""``%(name)s`` texts over a request's fields: subjects, mails and URLs that a file type declares."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from datetime import UTC, datetime, tzinfo
from typing import Any

from bgtasks import locales
from bgtasks.catalogues import Blank
from bgtasks.errors import ImproperlyConfigured
from bgtasks.models import COLUMNS, FileRequest

#: What a text may name: the row's fields, and these.
LINK_FIELDS = ("token", "download_url")
FIELDS = frozenset({*COLUMNS, *LINK_FIELDS, "base_url"})

_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


def zone_of(file_request: FileRequest | None) -> tzinfo:
    """The time zone of a row's requester, or else the one in force; UTC where none is known."""
    return (locales.known_zone(file_request.timezone) or UTC) if file_request else locales.current().zone


def fields_of(file_request: FileRequest, **link: str) -> dict[str, str]:
    """The row's fields and the link's, as a person would write them where the language in force is spoken."""
    shown = {name: _shown(getattr(file_request, name)) for name in COLUMNS}
    shown["size"] = locales.size(file_request.size)
    shown["columns"] = ", ".join(file_request.columns or ())
    shown["description"] = locales.gettext(file_request.description)
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


def check(owner: str, name: str, text: str | None) -> None:
    """See that a text names only what there is. Raises: ImproperlyConfigured."""
    try:
        fill(text or "", Blank.fromkeys(FIELDS, ""))
    except KeyError as unknown:
        raise ImproperlyConfigured(f"{owner}.{name} names {unknown}, which is not a field of a request") from None
    except (ValueError, TypeError) as malformed:
        raise ImproperlyConfigured(f"{owner}.{name} is not a %(name)s string: {malformed}") from None


def _shown(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return locales.when(value)
    return locales.number(value) if isinstance(value, int) else str(value)
