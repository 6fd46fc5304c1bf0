"""Rows and objects as the sweep may find them."""

from __future__ import annotations

import uuid
from collections.abc import Collection
from pathlib import Path
from typing import Any

from bgtasks import toolbox
from bgtasks.deployment import Deployment
from bgtasks.models import FileRequest
from bgtasks.pacing import Pace
from bgtasks.states import State
from bgtasks.sweeps import cleaning
from bgtasks.sweeps.cleaning import LEEWAY, Cleaned
from tests.record.moves import advanced, claim, end, now, set_row
from tests.support.handmade import finished, in_seconds

#: Longer ago than any row is kept.
LONG_AGO = -366 * 86_400.0


def run(leeway: float = LEEWAY, *, all_orphans: bool = False, stores: Collection[str] = (), **bounds: Any) -> Cleaned:
    """One run of the sweep."""
    return cleaning.clean(Pace(**bounds), leeway, all_orphans=all_orphans, stores=stores)


def put(parts: Deployment, key: str, contents: bytes = b"123") -> str:
    """An object, whoever wrote it."""
    with parts.store.open_writer(key) as writer:
        writer.write(contents)
        writer.commit()
    return key


def stage(parts: Deployment, key: str) -> str:
    """What a killed upload has left of an object."""
    staged = path(parts, f"{key}#1")
    staged.parent.mkdir(parents=True, exist_ok=True)
    staged.write_bytes(b"12")
    return f"{key}#1"


def path(parts: Deployment, key: str) -> Path:
    """Where it is on the disk."""
    found = parts.store.local_path(key)
    assert found is not None
    return found


def keys(parts: Deployment) -> set[str]:
    """All that the store holds."""
    return set(parts.store.keys())


def overdue(parts: Deployment, since: float = 2 * LEEWAY, **columns: Any) -> FileRequest:
    """A ready file that has expired so many seconds ago."""
    return set_row(parts, finished(), expires_at=in_seconds(-since), **columns)


def written(parts: Deployment) -> FileRequest:
    """A request whose object is there, and which is not ready yet."""
    held = claim(parts, advanced(parts, "build_items"))
    put(parts, held.object_key)
    return end(parts, held)


def cancelled(parts: Deployment) -> FileRequest:
    """A request that was cancelled by somebody who died before they could remove its object."""
    row = parts.requests.cancel(written(parts).id)
    assert row is not None
    return row


def failed(parts: Deployment, *, waits: bool = False) -> FileRequest:
    """A request that failed after its object was written."""
    return parts.requests.fail(claim(parts, written(parts)), "internal_error", "No.", waits=waits)


def orphan(parts: Deployment) -> str:
    """The key of an object whose row is gone."""
    return put(parts, f"{uuid.uuid4()}/3")


def ended(parts: Deployment, state: State, at: float) -> FileRequest:
    """The row of a request that ended so many seconds from now, with its history and a line of its ledger."""
    made = {State.EXPIRED: overdue, State.CANCELLED: cancelled, State.FAILED: failed, State.READY: _ready}[state](parts)
    parts.ledger.open(made.id, "ready", "email", "ada@example.com")
    run()
    column = "expires_at" if state == State.EXPIRED else "finished_at"
    row = set_row(parts, made, **{column: in_seconds(at)})
    assert row.state == state
    return row


def _ready(parts: Deployment) -> FileRequest:
    return set_row(parts, finished(), expires_at=None)


def added(file_type: str = "numbers") -> FileRequest:
    """A pending request that is handled by hand."""
    return toolbox.add_request({"count": 3}, file_type, "ada@example.com")


__all__ = [
    "LONG_AGO", "added", "advanced", "cancelled", "claim", "end", "ended", "failed", "finished", "in_seconds",
    "keys", "now", "orphan", "overdue", "path", "put", "run", "set_row", "stage", "written",
]  # fmt: skip
