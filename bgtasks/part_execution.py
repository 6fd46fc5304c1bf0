"""How one part of a file runs: as a step does (``execution.py``), with a claim and a lease of its own."""

from __future__ import annotations

import contextlib
import uuid
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from celery import Task, shared_task
from celery.exceptions import Ignore

from bgtasks import deployment, endings, publishing, stopping, watching
from bgtasks.canvas import WRITE_PART
from bgtasks.claims import HeldPart, PartClaim
from bgtasks.deployment import Deployment
from bgtasks.errors import ClaimLost, Interrupted, RequestFailed
from bgtasks.leases import Record
from bgtasks.models import FileRequest, Part
from bgtasks.parts.ranges import Range
from bgtasks.patience import persistently
from bgtasks.queues import QueueTask
from bgtasks.requests import TooMany
from bgtasks.requests.part_writer import Standing
from bgtasks.running import Running

if TYPE_CHECKING:
    from bgtasks.stores import ObjectWriter


@shared_task(bind=True, base=QueueTask, name=WRITE_PART, ignore_result=True, throws=(RequestFailed,))
def write_part(self: Task[Any, Any], claim: Any) -> PartClaim:
    """Write one part of a file; with the last one, have the request go on."""
    known = PartClaim.parse(claim)
    limit, _ = self.request.timelimit or (None, None)
    try:
        standing = _run(known, f"{self.request.hostname} {self.request.id}", limit)
    except Interrupted:
        _wake_another(known)
        raise Ignore from None
    except ClaimLost:
        # A doubled or late message, a cancel, or another part's failure: it ends here in silence.
        raise Ignore from None
    except RequestFailed:
        publishing.publish_outstanding(known.request.request_id)
        raise
    publishing.publish_standing(standing)
    return known


def run_all(file_request: FileRequest, released: Sequence[Part], worker: str) -> FileRequest:
    """Write the parts that are released, and those that are released by that, in this process, one after the other.

    The row, once all are done.
    Raises: ClaimLost, where others have some of them, and go on, or where one is handed back; Interrupted;
    RequestFailed.
    """
    row, left = file_request, deque(released)
    while left:
        with contextlib.suppress(_Taken):
            standing = _run(PartClaim.of(row, left.popleft()), worker)
            row = standing.file_request
            left.extend(standing.released)
    if row.parts_are_out:
        raise ClaimLost(row.id)
    return row


class _Taken(ClaimLost):
    """Others have this part, or it is done; which says nothing of the parts that are left."""


@dataclass
class RunningPart(Running):
    """A part at work."""

    held: HeldPart
    written: int = 0

    @classmethod
    def record_of(cls, parts: Deployment, file_type: Any) -> Record:
        """One by which all parts together stay within the limit."""
        return _Watched(parts, file_type)

    def do(self) -> dict[str, Any]:
        """Stream the part's rows into an object of its own; each try asks for its items afresh. What it leaves."""
        row, part = self.held.file_request, self.held.part
        dataset = self.file_type.restore_part(row, Range.from_json(part.range))
        dataset.items.watch = self._watch
        dataset.items.expected = (row.rows_total or 0) // (row.parts_total or 1)
        self.written = 0
        with self._open_object() as buffer:
            self.file_type.write_part(dataset, buffer, part.number)
            buffer.commit()
        made = {"object_key": self.held.object_key, "size": buffer.size, "sha256": buffer.sha256}
        return {**made, "rows": self.written}

    def _open_object(self) -> ObjectWriter:
        self.staged = True
        store = self.deployment.store_of(self.held.file_request)
        return store.open_writer(self.held.object_key, self.lease.note)

    def _watch(self, rows: int) -> None:
        self.file_type.check_rows(rows)
        self.written = rows
        self.lease.note(rows_written=rows)

    def unstage(self) -> None:
        """Remove what this part has written, unless its row names it after all."""
        if self.staged:
            self.deployment.unstage_part(self.held)


@dataclass(frozen=True)
class _Watched:
    """The record of a part: whoever notes progress sees to it that all parts together stay within the limit."""

    deployment: Deployment
    file_type: Any

    def renew(self, held: HeldPart) -> bool:
        return self.deployment.parting.renew(held)

    def progress(self, held: HeldPart, **values: Any) -> None:
        self.deployment.parting.progress(held, **values)
        if values and self.file_type.get_max_rows() is not None:
            self.file_type.check_rows(self.deployment.parting.rows_written(held.file_request.id))


def _run(claim: PartClaim, worker: str, limit: float | None = None) -> Standing:
    parts = deployment.current()
    owner = f"{worker} {uuid.uuid4().hex[:8]}"
    with stopping.in_step(limit), watching.part(claim, "write_part"):
        running, outcome = _work(parts, _claimed(parts, claim, owner))
        return _end(running, outcome)


def _claimed(parts: Deployment, claim: PartClaim, owner: str) -> HeldPart:
    try:
        return persistently(lambda: parts.parting.claim(claim, owner))
    except ClaimLost:
        raise _Taken(claim.request.request_id) from None


def _work(parts: Deployment, held: HeldPart) -> tuple[RunningPart, dict[str, Any]]:
    """The work of a held part, between the heartbeat's first beat and its last."""
    with endings.of(parts, held), RunningPart.leased(parts, held) as running:
        with running.file_type.in_locale(held.file_request), stopping.leaving():
            return running, persistently(running.do)


def _end(running: RunningPart, outcome: dict[str, Any]) -> Standing:
    parts, held, most = running.deployment, running.held, running.file_type.get_max_rows()
    try:
        return persistently(lambda: parts.parting.finish(held, outcome, most))
    except ClaimLost:
        running.unstage()
        raise
    except TooMany as fault:
        running.unstage()
        try:
            running.file_type.check_rows(fault.args[0])
        except Exception as error:
            endings.after(parts, held, error)
        raise


def _wake_another(claim: PartClaim) -> None:
    """Have somebody else write at once what this worker could not."""
    parts = deployment.current()
    row = parts.requests.get(claim.request.request_id)
    if row is None or not row.parts_are_out:  # it was the last that there was patience for
        publishing.publish_outstanding(claim.request.request_id)
        return
    seen = next((part for part in parts.parting.of(row.id) if part.number == claim.number), None)
    waiting = seen and parts.parting.dispatch(row, seen)
    if waiting is not None:
        publishing.publish_parts(row, [waiting])
