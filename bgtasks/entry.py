"""``request_file``: how any producer asks for a file."""

from __future__ import annotations

import itertools
import re
import uuid
from collections.abc import Iterator
from typing import Any

from celery import Task, shared_task
from celery.exceptions import Ignore
from celery.worker.request import Request

from bgtasks import deployment, publishing, registry, results
from bgtasks.canvas import QUEUE
from bgtasks.claims import request_id
from bgtasks.criteria import dump
from bgtasks.errors import InvalidCriteria, UnknownFileType
from bgtasks.filenames import safe
from bgtasks.states import LIVE

#: What is shown of a request_file's arguments, everywhere: criteria and requester are nobody's business.
HIDDEN = "(hidden)"

_ADDRESS = re.compile(r"[^@\s\x00-\x1f\x7f<>,;]+@[^@\s\x00-\x1f\x7f<>,;]+")


def new_request(*args: Any, **kwargs: Any) -> dict[str, Any]:
    """The columns of a new request, checked; the arguments are those of ``columns_of``.

    Raises: InvalidRequestId; InvalidCriteria, which names the arguments that can't be stored.
    """
    columns = columns_of(*args, **kwargs)
    if faults := faults_in(columns):
        raise InvalidCriteria(faults)
    return columns


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
    id: str | None = None,
) -> dict[str, Any]:
    """The columns of a new request, from what a caller says of it. Raises: InvalidRequestId."""
    requester = None if requester is None else str(requester)
    address = str(requester_email or requester or "")
    return {
        "id": request_id(id or uuid.uuid4()),
        "criteria": dump(criteria),
        "file_type": file_type,
        "requester": requester,
        "requester_email": address if _ADDRESS.fullmatch(address) else None,
        "content_type": content_type,
        "description": description,
        "language": language,
        "timezone": tz,
        "format": format,
        "filename": safe(str(filename)) if filename else "",
    }


def faults_in(columns: dict[str, Any]) -> dict[str, list[str]]:
    """What can't be stored, by column: no database keeps NUL, or halves of characters, as text."""
    faults = {}
    for name, value in columns.items():
        if name != "criteria" and not isinstance(value, str | None):
            faults[name] = ["must be a text"]
        elif not all(map(_is_text, _texts(value))):
            faults[name] = ["has a character that no text has"]
    return faults


def _texts(value: Any) -> Iterator[str]:
    """Every text in a JSON value, the keys too."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for part in itertools.chain(value, value.values() if isinstance(value, dict) else ()):
            yield from _texts(part)


def _is_text(text: str) -> bool:
    return "\0" not in text and not any("\ud800" <= character <= "\udfff" for character in text)


class HiddenRequest(Request):
    """A worker's view of a message, without its arguments: whatever the producer's Celery has put there."""

    @property
    def argsrepr(self) -> str:
        return HIDDEN

    @property
    def kwargsrepr(self) -> str:
        return HIDDEN

    def info(self, safe: bool = False) -> Any:
        """What ``inspect active`` and Flower's worker page show."""
        return {**super().info(safe=True), "args": HIDDEN, "kwargs": HIDDEN}


class RequestFileTask(Task[Any, Any]):
    """Goes to our queue, whoever publishes it, and shows no arguments."""

    Request = HiddenRequest  # type: ignore[assignment]

    def apply_async(self, *args: Any, **options: Any) -> Any:
        """As Celery's."""
        hidden = {"queue": QUEUE, "argsrepr": HIDDEN, "kwargsrepr": HIDDEN}
        return super().apply_async(*args, **{**hidden, **options})


@shared_task(bind=True, base=RequestFileTask, name="bgtasks.request_file", ignore_result=False)
def request_file(
    self: Task[Any, Any],
    file_type: str,
    criteria: Any = "",
    requester: str | None = None,
    *,
    requester_email: str | None = None,
    format: str = "",
    filename: str | None = None,
    description: str = "",
    content_type: str = "",
    language: str | None = None,
    tz: str | None = None,
) -> None:
    """Ask for a file; the task's id is the request's.

    The result is there when the request ends: ``{"id", "state", "filename", "size", "rows", "sha256"}``,
    or RequestFailed.

    :param file_type: a registered name.
    :param criteria: what its ``Criteria`` accepts, as JSON.
    :param requester: who asks, and the only one who may download.
    :param requester_email: where they are told (default: the requester, if that is an address).
    :param format: one of the file type's formats (default: its first).
    :param filename: the finished file's name.
    :param description: what the file is, in words for its requester.
    :param language: for the mail, such as ``de``.
    :param tz: for times in the file and the mail, such as ``Europe/Zurich``.
    Raises: InvalidRequestId.
    """
    parts = deployment.current()
    asked = columns_of(
        criteria, file_type, requester, content_type, description, language, tz,
        format=format, filename=filename, requester_email=requester_email, id=self.request.id,
    )  # fmt: skip
    faults = faults_in(asked)
    storable = {name: value for name, value in asked.items() if name not in faults}
    fault = InvalidCriteria(faults) if faults else _unknown(file_type)
    file_request = parts.requests.insert(storable, scheduled=True, fault=fault)
    if file_request.state in LIVE:
        publishing.publish(file_request)
    else:
        results.announce(parts.app, file_request)
    # Neither a success nor a failure yet: whoever ends the request stores its result.
    raise Ignore


def _unknown(file_type: str) -> UnknownFileType | None:
    try:
        registry.get(file_type)
    except UnknownFileType:
        return UnknownFileType(f"There is no type of file called {file_type[:100]!r}.")
    return None
