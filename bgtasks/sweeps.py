"""The periodic tasks: what a lost message or a dead worker has left behind goes on.

Two at once do no harm: each change is a compare-and-set, and a message too many does nothing.
"""

from __future__ import annotations

import logging
from typing import Any

from celery import shared_task
from sqlalchemy import ColumnElement, select

from bgtasks import deployment, publishing, registry, results
from bgtasks.canvas import QUEUE
from bgtasks.claims import Claim
from bgtasks.database import later
from bgtasks.models import FileRequest
from bgtasks.requests import BY_HAND
from bgtasks.states import State

SWEEPS = ("dispatch", "recover")
#: Seconds between two runs; a run that could not start by then is dropped.
INTERVAL = 10.0
#: Requests that one run looks at.
LIMIT = 1000
#: A message is believed in for longer each time, up to so many times the patience.
LONGEST_WAIT = 8
logger = logging.getLogger(__name__)


def schedule() -> dict[str, dict[str, Any]]:
    """The beat entries of the sweeps."""
    options = {"queue": QUEUE, "expires": INTERVAL}
    return {f"bgtasks-{name}": {"task": f"bgtasks.{name}", "schedule": INTERVAL, "options": options} for name in SWEEPS}


@shared_task(name="bgtasks.dispatch", ignore_result=True)
def dispatch() -> None:
    """Publish again what should have been taken up by now, and give up what was never started."""
    parts = deployment.current()
    for seen in _found(FileRequest.dispatch_at, FileRequest.dispatch_at <= later()):
        if seen.fence == 0 and (failed := parts.requests.give_up(seen)) is not None:
            logger.error("%r was never started: is there a worker for its queue?", Claim.of(failed))
            results.announce(parts.app, failed)
            _publish(failed)
            continue
        delay = parts.settings.patience * min(2**seen.dispatches, LONGEST_WAIT)
        if (due := parts.requests.postpone(seen, delay)) is not None:
            logger.info("%r is dispatched again", Claim.of(due))
            _publish(due)


@shared_task(name="bgtasks.recover", ignore_result=True)
def recover() -> None:
    """Take over what a dead worker had begun."""
    parts = deployment.current()
    for seen in _found(FileRequest.leased_until, FileRequest.leased_until <= later()):
        if (taken := parts.requests.recover(seen)) is None:
            continue
        logger.warning("%r is taken over from a worker that gives no sign of life", Claim.of(taken))
        if taken.state == State.FAILED != seen.state:
            results.announce(parts.app, taken)
        if taken.dispatch_at is not None:
            _publish(taken)


def _publish(due: FileRequest) -> None:
    """One request's fault, in its file type for example, must not keep the others waiting."""
    try:
        publishing.publish(due)
    except Exception:
        logger.exception("%r can't be published", Claim.of(due))


def _found(order: Any, due: ColumnElement[bool]) -> list[FileRequest]:
    """The requests of known types that are due; an unknown type is left to the workers that know it."""
    known = FileRequest.file_type.in_(registry.names()) | FileRequest.leased_by.startswith(BY_HAND)
    query = select(FileRequest).where(due, known)
    with deployment.current().database.reading() as session:
        return list(session.scalars(query.order_by(order).limit(LIMIT)))
