"""Taking over what a dead worker had begun."""

from __future__ import annotations

import logging
import re

from celery.exceptions import TimeLimitExceeded, WorkerLostError

from bgtasks import deployment, endings, publishing, registry, results
from bgtasks.canvas import at_work
from bgtasks.claims import Claim, Held, PartClaim
from bgtasks.deployment import Deployment
from bgtasks.models import FileRequest
from bgtasks.states import ENDED
from bgtasks.sweeps import finding
from bgtasks.sweeps import parts as parted

#: What billiard says of a child that was ended by SIGKILL, whose number is the same everywhere.
KILLED = re.compile(r"\bsignal 9\b")

logger = logging.getLogger(__name__)


def recover() -> None:
    """Publish again the steps whose leases have lapsed."""
    parts = deployment.current()
    for seen in finding.lapsed():
        if (taken := take_over(parts, seen)) is not None:
            _publish(taken)
    parted.recover()


def is_lost(error: BaseException) -> bool:
    """Whether a task has ended with its worker's child, and not by itself."""
    return isinstance(error, WorkerLostError | TimeLimitExceeded)


def is_overdue(error: BaseException) -> bool:
    """Whether that was because of its time limit."""
    return isinstance(error, TimeLimitExceeded)


def is_killed(error: BaseException) -> bool:
    """Whether it was killed as the kernel does where memory has run out. (Nobody is told why it was.)"""
    return isinstance(error, WorkerLostError) and KILLED.search(str(error)) is not None


def recover_lost(claim: Claim | PartClaim, delivery: str, *, overdue: bool, killed: bool = False) -> None:
    """The same at once, for a step whose child is known to have died.

    :param claim: what the step, or the part, was handed.
    :param delivery: the id of the task that has died, as ``leased_by`` has it.
    :param overdue: whether it was killed at its time limit.
    :param killed: whether it was killed otherwise: for its memory, in all likelihood.
    """
    parts = deployment.current()
    whole = claim.request if isinstance(claim, PartClaim) else claim
    seen = parts.requests.get(whole.request_id)
    if seen is None:
        return
    if seen.parts_are_out:
        if isinstance(claim, PartClaim):
            parted.recover_lost(seen, claim, delivery, overdue=overdue, killed=killed)
        elif seen.fence == whole.fence + 1:
            parted.publish_anew(seen)
        return
    if delivery in (seen.leased_by or "").split():
        if overdue:
            step = at_work(registry.get(seen.file_type).steps, seen)
            endings.fail_overdue(parts, Held(seen, step, str(seen.leased_by)))
            return
        heavy = publishing.heavy_queue_of(seen) if killed else None
        if (taken := take_over(parts, seen, seen.leased_by, heavy)) is not None:
            _publish(taken)
    elif seen.fence in (whole.fence, whole.fence + 1):
        _go_on(parts, seen)


def _go_on(parts: Deployment, seen: FileRequest) -> None:
    """Its child died before its claim, or before it could publish the next link, or tell whoever waits."""
    if seen.state in ENDED:
        results.confirm(parts.app, seen)
    if (waiting := parts.requests.expedite(seen)) is not None:
        publishing.attempt(waiting)


def take_over(
    parts: Deployment, seen: FileRequest, lost: str | None = None, queue: str | None = None
) -> FileRequest | None:
    """The row, free for another worker or failed at last; None: somebody is at work on it after all.

    :param lost: the owner that is known to be dead.
    :param queue: where it shall go on, because of its memory.
    """
    taken = parts.requests.recover(seen, lost, queue)
    if taken is not None:
        logger.warning("%r is taken over from a worker that gives no sign of life", Claim.of(taken))
        results.announce_if_ended(parts.app, seen, taken)
    return taken


def _publish(taken: FileRequest) -> None:
    if taken.dispatch_at is not None:
        publishing.attempt(taken)
