"""What is shown of a request: its row without secrets, the step it is in, and its timeline."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from bgtasks.cli import printing
from bgtasks.states import LIVE, EventKind

if TYPE_CHECKING:
    from bgtasks.models import Event, FileRequest, Notification, Part

#: The columns that a list has of each request, for programs.
BRIEF = (
    "id", "file_type", "format", "state", "step", "requester", "rows_written", "rows_total", "parts_done",
    "parts_total", "size", "attempts", "error_code", "requested_at", "started_at", "finished_at", "expires_at",
    "downloads",
)  # fmt: skip
#: All that an operator is shown, in this order.
SHOWN = (
    "id", "file_type", "format", "state", "step", "error_code", "error_message", "requester", "requester_email",
    "language", "timezone", "description", "criteria", "columns", "filename", "content_type", "rows_written",
    "rows_total", "parts_done", "parts_total", "size", "sha256", "object_key", "store_url", "queue", "attempts",
    "dispatches", "fence", "leased_by", "leased_until", "dispatch_at", "requested_at", "started_at", "finished_at",
    "expires_at", "notified_at", "downloads", "last_downloaded_at", "idempotency_key",
)  # fmt: skip
#: Links are signed with the first; the second is a digest of what was chosen, which can be guessed.
HIDDEN = ("token_id", "coalesce_key")

#: Entries after which the next step may begin.
_BEGINNINGS = (
    EventKind.REQUESTED, EventKind.STEP, EventKind.RETRIED, EventKind.RECOVERED, EventKind.HANDED_BACK,
    EventKind.DISPATCHED,
)  # fmt: skip
#: What is of one part alone, while a request's parts are out: by it no step begins anew.
_OF_PARTS = (EventKind.PART, EventKind.RECOVERED, EventKind.HANDED_BACK, EventKind.DISPATCHED)


def brief(row: FileRequest) -> dict[str, Any]:
    """A request in a list, for programs."""
    return {name: getattr(row, name) for name in BRIEF}


def whole(row: FileRequest) -> dict[str, Any]:
    """All of a request but secrets; and whether a link was granted."""
    shown = {name: getattr(row, name) for name in SHOWN}
    return {**shown, "store_url": row.store_url and printing.place(row.store_url), "has_link": row.token_id is not None}


def lines(row: FileRequest) -> Iterator[tuple[str, object]]:
    """The same for people, name by name."""
    for name, value in whole(row).items():
        yield name.replace("_", " "), doing(row) if name == "step" and row.state in LIVE else _readable(name, value)


def _readable(name: str, value: Any) -> object:
    if isinstance(value, datetime):
        return printing.when(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False) if value else ""
    if name == "size" and value is not None:
        return f"{value:,} bytes" if value < 1000 else f"{value:,} bytes ({printing.size(value)})"
    return value


def standing(row: FileRequest) -> str:
    """State, step and error code in one."""
    if row.state in LIVE:
        return doing(row)
    return f"{row.state}: {row.error_code}" if row.error_code else row.state


def doing(row: FileRequest) -> str:
    """The step of a request: how far the one is that is being done, with the parts that are, or which is waited for."""
    step = _next_step(row)
    if row.parts_are_out:
        return f"{step} {_written(row)} ({row.parts_done}/{row.parts_total})"
    if row.leased_by is None:
        return f"waits: {step}" if row.state in LIVE or row.dispatch_at is not None else row.step
    return f"{step} {_written(row)}" if step == "write_bytes" else step


def _written(row: FileRequest) -> str:
    return f"{100 * row.rows_written // row.rows_total}%" if row.rows_total else f"{row.rows_written:,} rows"


def _next_step(row: FileRequest) -> str:
    from bgtasks import canvas, registry
    from bgtasks.errors import UnknownFileType
    from bgtasks.requests import BY_HAND

    if (row.leased_by or "").startswith(BY_HAND) or not row.file_type:
        return "by hand"
    try:
        steps = registry.get(row.file_type).steps
    except UnknownFileType:
        steps = canvas.STEPS
    try:
        return canvas.at_work(steps, row)
    except (ValueError, IndexError):  # a step that its type has no more, or the last one
        return row.step


def timeline(row: FileRequest, history: Sequence[Event]) -> list[dict[str, Any]]:
    """What happened to a request in order, but for its downloads. ``seconds``: how long a step took.

    That counts from the end of the step before, and so with the time in the queue; a first step's from when it began.
    """
    entries = [_entry(event) for event in history if event.kind != EventKind.DOWNLOADED]
    if row.started_at is not None:
        entries.append({"at": row.started_at, "kind": "started", "step": "", "by": None, "detail": None})
    order = {EventKind.REQUESTED: 0, "started": 1}  # SQLite has milliseconds: what is equal keeps its order
    entries.sort(key=lambda entry: (entry["at"], order.get(entry["kind"], 2)))
    begun, are_parts_out = None, False
    for entry in entries:
        kind = entry["kind"]
        is_end = kind in (EventKind.STEP, "started") or (kind == EventKind.FAILED and entry["step"])
        entry["seconds"] = (entry["at"] - begun).total_seconds() if is_end and begun is not None else None
        are_parts_out = kind == EventKind.PARTS or (are_parts_out and kind in _OF_PARTS)
        if kind in (*_BEGINNINGS, "started") and not are_parts_out:
            begun = entry["at"]
    return entries


def _entry(event: Event) -> dict[str, Any]:
    return {"at": event.at, "kind": event.kind, "step": event.step, "by": event.actor, "detail": event.detail}


def parts(found: Sequence[Part]) -> list[dict[str, Any]]:
    """The parts of a file that are written side by side, by their numbers, from 1. ``leased_by``: who writes it now."""
    return [
        {
            "number": part.number + 1,
            "state": _standing_of(part),
            "rows": part.rows,
            "size": part.size,
            "attempts": part.attempts,
            "leased_by": part.leased_by,
        }
        for part in found
    ]


def _standing_of(part: Part) -> str:
    """``kept_back``, until another one is done; ``waiting`` for a worker; ``writing``; or ``done``."""
    if part.object_key is not None:
        return "done"
    if part.leased_by is not None:
        return "writing"
    return "kept_back" if part.dispatch_at is None else "waiting"


def downloads(history: Sequence[Event]) -> list[dict[str, Any]]:
    """Who has the file, since when, and where it went."""
    return [
        {"at": event.at, "by": event.actor, "address": event.detail}
        for event in history
        if event.kind == EventKind.DOWNLOADED
    ]


def notified(ledger: Sequence[Notification]) -> list[dict[str, Any]]:
    """Who was told of what, and when; ``sent_at`` is None where that is not known, and where it was refused."""
    return [
        {
            "event": line.event,
            "channel": line.channel,
            "recipient": printing.place(line.recipient),
            "created_at": line.created_at,
            "sent_at": line.sent_at,
            "refused_at": line.refused_at if line.is_refused else None,
            "refusal": line.refusal if line.is_refused else None,
        }
        for line in ledger
    ]
