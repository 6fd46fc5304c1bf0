"""The chain, in the order in which it runs. ``execution.py`` has what is the same in every step."""

from __future__ import annotations

import uuid
from typing import Any

from sqlalchemy import func

from bgtasks.database import later
from bgtasks.errors import ObjectMissing
from bgtasks.execution import Outcome, RunningStep, step
from bgtasks.models import FileRequest
from bgtasks.requests import available
from bgtasks.states import EventKind, State


@step("fetch_criteria")
def fetch_criteria(running: RunningStep) -> None:
    """Restore and validate what the user chose."""
    running.file_type.check_request(running.file_request)


@step("build_items")
def build_items(running: RunningStep) -> dict[str, Any]:
    """Count the rows, where they can be counted, and refuse too many."""
    rows = running.dataset.count()
    running.file_type.check_rows(rows or 0)
    return {"rows_total": rows}


@step("write_bytes")
def write_bytes(running: RunningStep) -> dict[str, Any]:
    """Stream the rows through the format into a new object."""
    written = 0

    def watch(rows: int) -> None:
        nonlocal written
        running.file_type.check_rows(rows)  # the table may have grown since it was counted
        written = rows
        running.lease.note(rows_written=rows)

    items = running.dataset.items
    items.watch, items.expected = watch, running.file_request.rows_total
    with running.open_object() as buffer:
        running.file_type.write_bytes(running.dataset, buffer)
        buffer.commit()
    return {
        "object_key": running.held.object_key,
        "size": buffer.size,
        "sha256": buffer.sha256,
        "rows_written": written,
    }


@step("attach")
def attach(running: RunningStep) -> Outcome:
    """Check that the object is whole, and make it available."""
    row = running.file_request
    if row.object_key is None or running.deployment.store.size(row.object_key) != row.size:
        raise ObjectMissing
    named = {"filename": running.file_type.get_filename(), "content_type": running.file_type.get_content_type()}
    return Outcome({**named, **available(running.file_type.get_max_age())}, EventKind.READY)


@step("tokenize")
def tokenize(_: RunningStep) -> dict[str, Any]:
    """Grant the download: links that are signed from now on bear this token id."""
    # Decided by the row as it is at the end: somebody may have made a link meanwhile, since the file is ready.
    return {"token_id": func.coalesce(FileRequest.token_id, uuid.uuid4().hex)}


@step("notify")
def notify(running: RunningStep) -> Outcome:
    """Tell the requester: sign the link at the last moment and send it, or say why there is no file."""
    told = _tell_failure(running) if running.file_request.state == State.FAILED else _tell_ready(running)
    return Outcome({"notified_at": later()}, EventKind.NOTIFIED) if told else Outcome(event=EventKind.NOT_NOTIFIED)


def _tell_failure(running: RunningStep) -> int:
    if not running.file_type.get_tell_failures():
        return 0
    return int(running.file_type.send_failure(running.file_request))


def _tell_ready(running: RunningStep) -> int:
    row = running.deployment.requests.prolong(running.held, running.file_type.get_max_age())
    nobody_may = running.file_type.is_requester_only() and not row.requester
    if nobody_may or row.token_id is None:  # a token was granted, and revoked since
        return 0
    return int(running.file_type.send_notification(row, running.file_type.create_token(row)))
