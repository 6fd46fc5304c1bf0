"""The columns of a new request, from what a caller says of it; and what is wrong with them."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
import uuid
from collections.abc import Iterator
from typing import Any

from bgtasks import periods
from bgtasks.claims import request_id
from bgtasks.criteria import dump
from bgtasks.filenames import safe
from bgtasks.locales import N_, Sentence, gettext, told

#: The columns of an index: PostgreSQL takes no entry over 2,704 bytes, and these three share one.
INDEXED = ("requester", "file_type", "idempotency_key")
LONGEST = 800  # bytes
NO_TEXT = N_("has a character that no text has")

_ADDRESS = re.compile(r"[^@\s\x00-\x1f\x7f<>,;]+@[^@\s\x00-\x1f\x7f<>,;]+")
#: In place of criteria that JSON can't express, and of a key for a time span that there is not.
_NO_JSON, _NO_KEY = object(), object()


def columns_of(
    criteria: Any = "",
    file_type: str = "",
    requester: Any = None,
    content_type: str = "",
    description: str = "",
    language: str | None = None,
    tz: str | None = None,
    *,
    format: str = "",
    filename: str | None = None,
    requester_email: str | None = None,
    idempotency_key: Any = None,
    columns: Any = None,
    once_per: Any = None,
    id: str | None = None,
) -> dict[str, Any]:
    """The columns of a new request, from what a caller says of it. Raises: InvalidRequestId."""
    requester = None if requester is None else str(requester)
    address = str(requester_email or requester or "")
    key = None if idempotency_key in (None, "") else str(idempotency_key)
    columns = (list(columns) if isinstance(columns, tuple) else columns) or None
    asked = {
        "id": request_id(id or uuid.uuid4()),
        "criteria": _dumped(criteria),
        "file_type": file_type,
        "requester": requester,
        "requester_email": address if _ADDRESS.fullmatch(address) else None,
        "content_type": content_type,
        "description": description,
        "language": language,
        "timezone": tz,
        "format": format,
        "columns": columns,
        "filename": safe(str(filename)) if filename else "",
        "idempotency_key": key,
    }
    return {**asked, "idempotency_key": _recurring(asked, once_per)} if once_per else asked


def _recurring(asked: dict[str, Any], once_per: Any) -> Any:
    """The key of a recurring request, another one each hour, day, week …"""
    if once_per not in periods.UNITS:
        return _NO_KEY
    named = asked["idempotency_key"] or _digest(asked)
    return f"{named} {periods.occurrence(once_per, asked['timezone'])}"


def _digest(asked: dict[str, Any]) -> str:
    what = {name: asked[name] for name in ("criteria", "format", "columns", "language", "timezone")}
    return hashlib.sha256(json.dumps(what, sort_keys=True, default=repr).encode()).hexdigest()


def _dumped(criteria: Any) -> Any:
    try:
        return dump(criteria)
    except (ValueError, RecursionError):  # pydantic's errors are ValueErrors
        return _NO_JSON


def faults_in(columns: dict[str, Any], most: int | None) -> dict[str, list[str]]:
    """What can't be stored, by column, in the language in force.

    :param most: the largest size of the criteria, and of the choice of columns, in bytes of JSON.
    """
    own = {"criteria": _fault_in_criteria, "columns": _fault_in_choice, "idempotency_key": _fault_in_key}
    faults = {
        name: own[name](value, most) if name in own else _fault_in_text(name, value) for name, value in columns.items()
    }
    return {name: [fault] for name, fault in faults.items() if fault}


def _fault_in_choice(columns: Any, most: int | None) -> str | None:
    if columns is None:
        return None
    if not isinstance(columns, list) or not all(isinstance(name, str) for name in columns):
        return gettext("must be a list of names")
    return _fault_in_criteria(columns, most)


def _fault_in_key(key: Any, _: int | None) -> str | None:
    if key is _NO_KEY:
        return told(Sentence("once_per must be one of these: %(units)s", {"units": ", ".join(periods.UNITS)}))
    return _fault_in_text("idempotency_key", key)


def _fault_in_criteria(criteria: Any, most: int | None) -> str | None:
    if criteria is _NO_JSON:
        return gettext("can't be written as JSON, or are nested too deeply")
    if not all(map(_is_text, _texts(criteria))):
        return gettext(NO_TEXT)
    size = len(json.dumps(criteria))
    if most is not None and size > most:
        return told(Sentence("are too big: %(size)s bytes, where %(most)s are the most", {"size": size, "most": most}))
    return None


def _fault_in_text(name: str, value: Any) -> str | None:
    if not isinstance(value, str | None):
        return gettext("must be a text")
    if not _is_text(value or ""):
        return gettext(NO_TEXT)
    if name in INDEXED and len((value or "").encode()) > LONGEST:
        return told(Sentence("is longer than %(most)s bytes", {"most": LONGEST}))
    return None


def _texts(value: Any) -> Iterator[str]:
    """Every text in a JSON value, the keys too."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for part in itertools.chain(value, value.values() if isinstance(value, dict) else ()):
            yield from _texts(part)


def _is_text(text: str) -> bool:
    """No database keeps NUL, or halves of characters, as text."""
    return "\0" not in text and not any("\ud800" <= character <= "\udfff" for character in text)
