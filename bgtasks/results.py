"""The result of ``request_file``: stored by whoever ends the request, so that ``.get()`` answers then."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping
from typing import Any

from celery import Celery, current_task, states
from kombu.exceptions import KombuError

from bgtasks.errors import RequestFailed, TransientError
from bgtasks.locales import N_, gettext, in_force
from bgtasks.models import FileRequest
from bgtasks.states import State

CANCELLED = N_("The request was cancelled.")

logger = logging.getLogger(__name__)


def result_of(file_request: FileRequest) -> dict[str, Any]:
    """What ``request_file.delay(...).get()`` returns once the file is ready."""
    return {
        "id": file_request.id,
        "state": file_request.state,
        "filename": file_request.filename,
        "size": file_request.size,
        "rows": file_request.rows_written,
        "sha256": file_request.sha256,
    }


class Answer(Mapping[str, Any]):
    """The same as a task's return value, of which logs and monitors show the state alone."""

    def __init__(self, file_request: FileRequest) -> None:
        self._result = result_of(file_request)

    def __getitem__(self, name: str) -> Any:
        return self._result[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._result)

    def __len__(self) -> int:
        return len(self._result)

    def __json__(self) -> dict[str, Any]:
        return self._result

    def __repr__(self) -> str:
        return str(self._result["state"])


class Open:
    """What ``request_file`` returns of a request that goes on: no result, and stored nowhere."""

    def __repr__(self) -> str:
        return "(goes on)"


def announce(app: Celery, file_request: FileRequest) -> None:
    """Store the result of an ended request, and tell Flower that its ``request_file`` is over."""
    confirm(app, file_request)
    _tell_monitors(app, file_request)


def announce_if_ended(app: Celery, before: FileRequest, now: FileRequest) -> None:
    """The same for whoever may have ended the request, by failing it."""
    if now.state == State.FAILED != before.state:
        announce(app, now)


def confirm(app: Celery, file_request: FileRequest) -> None:
    """Store the result of an ended request, once more: who ended it may have died before it could.

    A result backend that is away keeps nobody from ending a request: its row has the truth.
    """
    try:
        result = _result_or_error(file_request)
        state = states.FAILURE if isinstance(result, Exception) else states.SUCCESS
        app.backend.store_result(file_request.id, result, state)
    except Exception as error:  # each backend has errors of its own
        logger.warning("the result of %r could not be stored: %s", file_request, error)


def reopen(app: Celery, file_request: FileRequest) -> None:
    """Forget the result of a request that goes on after all: whoever asks now waits for its new end."""
    try:
        app.backend.forget(file_request.id)
    except Exception as error:  # as above; a backend that is disabled has nothing to forget
        logger.debug("the result of %r could not be forgotten: %s", file_request, error)


def forget(app: Celery, file_request: FileRequest) -> None:
    """Remove the result of a request whose requester is forgotten. Raises: TransientError, in an outage."""
    try:
        app.backend.forget(file_request.id)
    except NotImplementedError:  # there is no result backend
        return
    except Exception as error:  # each backend has errors of its own
        raise TransientError("The result backend does not answer just now.") from error


def _result_or_error(file_request: FileRequest) -> dict[str, Any] | RequestFailed:
    if file_request.state == State.READY:
        return result_of(file_request)
    with in_force(file_request.language, file_request.timezone):
        message = gettext(CANCELLED) if file_request.state == State.CANCELLED else file_request.error_message
    return RequestFailed(message, file_request.id, file_request.error_code or str(file_request.state))


def _tell_monitors(app: Celery, file_request: FileRequest) -> None:
    """The task event that a worker sends for a task that returns; request_file itself leaves its end open."""
    if not app.conf.worker_send_task_events:
        return
    ended = file_request.finished_at
    event = {"uuid": file_request.id, "runtime": (ended - file_request.requested_at).total_seconds() if ended else 0}
    if file_request.state == State.READY:
        kind, event = "task-succeeded", {**event, "result": file_request.state}
    else:
        kind, event = (
            "task-failed",
            {**event, "exception": f"RequestFailed({file_request.error_code!r})", "traceback": ""},
        )
    worker = current_task.request.hostname if current_task else None
    with contextlib.suppress(KombuError, OSError), app.events.default_dispatcher(hostname=worker) as dispatcher:
        dispatcher.send(kind, **event)
