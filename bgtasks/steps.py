"""The chain, in the order in which it runs. ``execution.py`` has what is the same in every step."""

from __future__ import annotations

import logging
import uuid
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import func

from bgtasks import links, routes, whereabouts
from bgtasks.canvas import TELL_EXPIRY
from bgtasks.database import later
from bgtasks.errors import ObjectMissing
from bgtasks.execution import step
from bgtasks.models import FileRequest
from bgtasks.notifiers import Occasion, has_listeners
from bgtasks.parts.planning import Plan
from bgtasks.requests import available
from bgtasks.running import Outcome, RunningStep
from bgtasks.states import EventKind, State

logger = logging.getLogger(__name__)

#: Seconds that this machine's clock may be behind the database's, which has said that the time has come.
CLOCKS = 60.0


@step("fetch_criteria")
def fetch_criteria(running: RunningStep) -> None:
    """Restore and validate what the user chose."""
    running.file_type.check_request(running.file_request)


@step("build_items")
def build_items(running: RunningStep) -> dict[str, Any]:
    """Count the rows, where they can be counted, and refuse too many; so many may belong into another queue."""
    plan = running.file_type.plan_parts(running.dataset)
    rows = plan.rows if plan else running.dataset.count()
    running.file_type.check_rows(rows or 0)
    queue = routes.after_counting(running.file_type, running.file_request, running.dataset.criteria, rows)
    return {"rows_total": rows} | ({"queue": queue} if queue else {}) | (_planned(running, plan) if plan else {})


def _planned(running: RunningStep, plan: Plan) -> dict[str, Any]:
    """Note the parts, where there are several."""
    number, wanted = max(len(plan.ranges), 1), min(plan.wanted, plan.rows)
    if number < wanted:
        logger.warning("%r: %d parts in place of %d, since many rows share a key", running.held.claim, number, wanted)
    if not plan.ranges:
        return {"parts_total": None}
    running.deployment.parting.plan(running.held, [one.to_json() for one in plan.ranges])
    return {"parts_total": len(plan.ranges), "parts_done": 0}


@step("write_bytes")
def write_bytes(running: RunningStep) -> Outcome:
    """Stream the rows through the format into a new object; or leave it to many workers, each with a part of it."""
    running.leave_former_store()
    if running.file_request.parts_total is not None:
        place = {"store_url": whereabouts.store_url_of(running.file_type), "object_key": None}
        return Outcome(place, fans_out=True, at_once=running.file_type.get_max_parts_at_once())
    return Outcome(_write(running))


def _write(running: RunningStep) -> dict[str, Any]:
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
    if row.object_key is None or running.deployment.store_of(row).size(row.object_key) != row.size:
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
    tells = {State.FAILED: _tell_failure, State.CANCELLED: _tell_cancel}
    told = tells.get(State(running.file_request.state), _tell_ready)(running)
    return Outcome({"notified_at": later()}, EventKind.NOTIFIED) if told else Outcome(event=EventKind.NOT_NOTIFIED)


@step(TELL_EXPIRY)
def tell_expiry(running: RunningStep) -> Outcome:
    """Remind the requester of a file that is removed soon; it lasts no longer by that."""
    row = running.deployment.requests.get(running.file_request.id)  # in another try it may have been downloaded
    told = 0 if row is None or _is_settled(running, row) else _remind(running, row)
    return Outcome(event=EventKind.REMINDED if told else EventKind.NOT_NOTIFIED)


def _tell_failure(running: RunningStep) -> int:
    return int(running.file_type.send_failure(running.file_request))


def _tell_cancel(running: RunningStep) -> int:
    history = running.deployment.requests.history(running.file_request.id)
    actor = next((entry.actor for entry in reversed(history) if entry.kind == EventKind.CANCELLED), None)
    return int(running.file_type.send_cancellation(running.file_request, actor))


def _is_settled(running: RunningStep, row: FileRequest) -> bool:
    """Whether a reminder is too late, or was never to be: meanwhile somebody may have come, or been given more time."""
    seconds = running.file_type.get_tell_expiry()
    if row.state != State.READY or row.downloads or row.token_id is None or row.expires_at is None or seconds is None:
        return True
    return not 0 < (row.expires_at - datetime.now(UTC)).total_seconds() <= seconds + CLOCKS


def _remind(running: RunningStep, row: FileRequest) -> int:
    return int(running.file_type.send_reminder(row, links.token(row) or ""))


def _tell_ready(running: RunningStep) -> int:
    row = running.deployment.requests.prolong(running.held, running.file_type.get_max_age())
    if row.token_id is None:  # a token was granted, and revoked since
        return 0
    nobody_may = running.file_type.is_requester_only() and not row.requester
    if nobody_may and not has_listeners(running.file_type.get_notifiers(), Occasion.READY, people=False):
        return 0
    token = "" if nobody_may else running.file_type.create_token(row)
    return int(running.file_type.send_notification(row, token))
