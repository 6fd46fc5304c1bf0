"""The sweeps ``dispatch`` and ``recover``, for the parts of files: what is lost or dead there, each by itself."""

from __future__ import annotations

import logging
from collections.abc import Callable

from bgtasks import deployment, endings, publishing, registry, results
from bgtasks.claims import HeldPart, PartClaim
from bgtasks.deployment import Deployment
from bgtasks.models import FileRequest, Part
from bgtasks.requests.part_writer import Standing

#: How many messages wait in a queue; None: the broker can't tell.
Lengths = Callable[[str], int | None]

#: A message is published again at every so manieth time that it is due, whatever is in its queue.
LONGEST_WAIT = 8

logger = logging.getLogger(__name__)


def dispatch(sooner: float, lengths: Lengths) -> None:
    """Publish the parts that have waited for too long for a worker.

    :param sooner: seconds after which a message is missed whose queue is empty.
    """
    parts = deployment.current()
    for row, part, is_due in parts.parting.waiting(sooner):
        if row.file_type not in registry.names():  # it is left to the workers that know it
            continue
        queue = publishing.queue_of_part(row, part)
        length = None if queue is None else lengths(queue)
        has_message = part.published_at is not None  # one that was handed back has none
        if length and is_due and has_message and (part.dispatches + 1) % LONGEST_WAIT:
            parts.parting.postpone(row, part)
        elif (is_due or length == 0) and not _publish(parts, row, part):
            return  # the broker is away: each of the others would only wait for it as well


def _publish(parts: Deployment, row: FileRequest, seen: Part) -> bool:
    waiting = parts.parting.dispatch(row, seen)
    if waiting is None:
        return True
    logger.info("%r is dispatched again", PartClaim.of(row, waiting))
    return publishing.attempt_parts(row, [waiting])


def recover() -> None:
    """Publish again the parts whose leases have lapsed."""
    parts = deployment.current()
    for row, part in _lapsed(parts):
        take_over(parts, row, part)


def outstanding() -> list[str]:
    """The ids of the requests some of whose parts a process may take, also of what dead ones have left."""
    parts = deployment.current()
    for row, part in _lapsed(parts):
        _taken_over(parts, row, part)
    waiting = (row for row, *_ in parts.parting.waiting(0) if row.file_type in registry.names())
    return list(dict.fromkeys(row.id for row in waiting))


def _lapsed(parts: Deployment) -> list[tuple[FileRequest, Part]]:
    known = registry.names()  # the others are left to the workers that know them
    return [(row, part) for row, part in parts.parting.lapsed() if row.file_type in known]


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
