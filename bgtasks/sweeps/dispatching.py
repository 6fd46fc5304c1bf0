"""Publishing again what should have been taken up by now: the outbox's other half."""

from __future__ import annotations

import functools
import logging

from bgtasks import deployment, publishing, queues, registry, results, routes
from bgtasks.canvas import following
from bgtasks.claims import Claim
from bgtasks.deployment import Deployment
from bgtasks.models import FileRequest
from bgtasks.sweeps import finding
from bgtasks.sweeps import parts as parted
from bgtasks.sweeps.finding import SOONER, Lengths, Waiting

logger = logging.getLogger(__name__)


def dispatch() -> None:
    """Publish what has waited for too long, and give up what was never started."""
    parts = deployment.current()
    lengths: Lengths = functools.cache(functools.partial(queues.length, parts.app))
    lost, queued = _sorted(parts, lengths)
    parts.requests.postpone(queued)
    for waiting in lost:
        if _is_given_up(parts, waiting.row) or _is_settled(parts, waiting.row):
            continue
        if not _publish(parts, waiting.row):
            return  # the broker is away: each of the others would only wait for it as well
    parted.dispatch(lengths)


def _sorted(parts: Deployment, lengths: Lengths) -> tuple[list[Waiting], list[FileRequest]]:
    """What has lost its message; and what is due, and may still have its message in a queue."""
    lost, queued = [], []
    for waiting in (*finding.due(), *_missed(parts, lengths)):
        if _is_lost(parts, waiting, lengths):
            lost.append(waiting)
        elif waiting.is_due:
            queued.append(waiting.row)
    return lost, queued


def _missed(parts: Deployment, lengths: Lengths) -> list[Waiting]:
    """What is not due yet, and whose queue is empty."""
    empty = [name for name in registry.names() if _is_empty(name, lengths)]
    chosen = [queue for queue in finding.chosen_queues() if lengths(queue) == 0]
    return finding.missed(empty, chosen, parts.settings.patience / SOONER) if empty or chosen else []


def _is_empty(file_type: str, lengths: Lengths) -> bool:
    try:
        return lengths(routes.ask(registry.get(file_type)())) == 0
    except Exception:  # one type's fault must not keep the others waiting
        logger.exception("the queue of the file type %s is not known", file_type)
        return False


def _is_lost(parts: Deployment, waiting: Waiting, lengths: Lengths) -> bool:
    queue = publishing.queue_of(waiting.row) if waiting.has_message else None
    length = None if queue is None else lengths(queue)
    return finding.is_lost(waiting.is_due, waiting.seconds, length, waiting.row.dispatches, parts.settings.patience)


def _is_given_up(parts: Deployment, row: FileRequest) -> bool:
    if row.fence > 0 or (failed := parts.requests.give_up(row)) is None:
        return False
    logger.error("%r was never started: is there a worker for its queue?", Claim.of(failed))
    results.announce(parts.app, failed)
    publishing.attempt(failed)
    return True


def _is_settled(parts: Deployment, row: FileRequest) -> bool:
    """Whether nothing is left to do: a type without the step ``notify``, or one that has lost the row's last step."""
    if following(registry.get(row.file_type).steps, row):
        return False
    settled = parts.requests.settle(row)
    if settled is not None and settled.state != row.state:
        logger.error("%r has failed: its file type has no step %r any more", Claim.of(settled), row.step)
        results.announce(parts.app, settled)
        publishing.attempt(settled)
    return True


def _publish(parts: Deployment, row: FileRequest) -> bool:
    due = parts.requests.dispatch(row, finding.wait(row.dispatches, parts.settings.patience))
    if due is not None:
        logger.info("%r is dispatched again", Claim.of(due))
    return due is None or publishing.attempt(due)
