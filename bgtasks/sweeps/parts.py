"""The sweeps ``dispatch`` and ``recover``, for the parts of files: what is lost or dead there, each by itself."""

from __future__ import annotations

import logging

from bgtasks import deployment, endings, publishing, registry, results
from bgtasks.claims import HeldPart, PartClaim
from bgtasks.deployment import Deployment
from bgtasks.models import FileRequest, Part
from bgtasks.requests.part_sweeping import WaitingPart
from bgtasks.requests.part_writer import Standing
from bgtasks.sweeps import finding
from bgtasks.sweeps.finding import SOONER, Lengths

logger = logging.getLogger(__name__)


def dispatch(lengths: Lengths) -> None:
    """Publish the parts that have waited for too long for a worker."""
    parts = deployment.current()
    patience = parts.settings.patience
    for waiting in parts.parting.waiting(registry.names(), patience / SOONER):
        row, part = waiting.file_request, waiting.part
        if _is_lost(waiting, patience, lengths):
            if not _publish(parts, row, part, finding.wait(part.dispatches, patience)):
                return  # the broker is away: each of the others would only wait for it as well
        elif waiting.is_due:
            parts.parting.postpone(row, part)


def _is_lost(waiting: WaitingPart, patience: float, lengths: Lengths) -> bool:
    queue = publishing.queue_of_part(waiting.file_request, waiting.part) if waiting.has_message else None
    length = None if queue is None else lengths(queue)
    return finding.is_lost(waiting.is_due, waiting.seconds, length, waiting.part.dispatches, patience)


def _publish(parts: Deployment, row: FileRequest, seen: Part, wait: float | None = None) -> bool:
    waiting = parts.parting.dispatch(row, seen, wait)
    if waiting is None:
        return True
    logger.info("%r is dispatched again", PartClaim.of(row, waiting))
    return publishing.attempt_parts(row, [waiting])


def recover() -> None:
    """Publish again the parts whose leases have lapsed."""
    parts = deployment.current()
    for row, part in parts.parting.lapsed(registry.names()):
        take_over(parts, row, part)


def outstanding() -> list[str]:
    """The ids of the requests some of whose parts a process may take, also of what dead ones have left."""
    parts = deployment.current()
    for row, part in parts.parting.lapsed(registry.names()):
        _taken_over(parts, row, part)
    waiting = parts.parting.waiting(registry.names(), 0)
    return list(dict.fromkeys(one.file_request.id for one in waiting))


def take_over(
    parts: Deployment, row: FileRequest, seen: Part, lost: str | None = None, queue: str | None = None
) -> None:
    """Have another worker write a part, or fail its request at last; nothing, if somebody is at work on it after all.

    :param lost: the owner that is known to be dead.
    :param queue: where the request goes on, because of its memory.
    """
    standing = _taken_over(parts, row, seen, lost, queue)
    if standing is None:
        return
    if standing.released:
        publishing.attempt_parts(standing.file_request, standing.released)
    elif standing.file_request.dispatch_at is not None:
        publishing.attempt(standing.file_request)


def _taken_over(
    parts: Deployment, row: FileRequest, seen: Part, lost: str | None = None, queue: str | None = None
) -> Standing | None:
    standing = parts.parting.recover(row, seen, lost, queue)
    if standing is not None:
        logger.warning("%r is taken over from a worker that gives no sign of life", PartClaim.of(row, seen))
        results.announce_if_ended(parts.app, row, standing.file_request)
        if not standing.released:
            parts.drop_parts(standing.file_request)
    return standing


def recover_lost(row: FileRequest, claim: PartClaim, delivery: str, *, overdue: bool, killed: bool) -> None:
    """The same at once, for a part whose child is known to have died.

    :param row: its request, whose parts are out.
    """
    parts = deployment.current()
    seen = next((part for part in parts.parting.of(row.id) if part.number == claim.number), None)
    if seen is None or row.fence != claim.request.fence:
        return
    if delivery in (seen.leased_by or "").split():
        if overdue:
            endings.fail_overdue(parts, HeldPart(row, seen, str(seen.leased_by)))
        else:
            take_over(parts, row, seen, seen.leased_by, publishing.heavy_queue_of(row) if killed else None)
    elif seen.object_key is not None:
        publish_anew(row, seen.number + 1)  # it died before it could publish the part whose turn it was
    elif not seen.dispatches and seen.fence in (claim.fence, claim.fence + 1):
        _publish(parts, row, seen)  # its child died before its claim


def publish_anew(row: FileRequest, first: int = 0) -> None:
    """Publish the parts again that nobody has taken yet, each once: their messages may have died with a child.

    :param first: the number of the first part of which that may be so.
    """
    parts = deployment.current()
    for part in parts.parting.of(row.id):
        if part.number >= first and part.dispatch_at is not None and not part.dispatches:
            _publish(parts, row, part)
