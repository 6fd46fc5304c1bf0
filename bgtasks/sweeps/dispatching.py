"""Publishing again what should have been taken up by now."""

from __future__ import annotations

import logging

from bgtasks import deployment, publishing, results
from bgtasks.claims import Claim
from bgtasks.database import later
from bgtasks.models import FileRequest
from bgtasks.sweeps.finding import found

#: A message is believed in for longer each time, up to so many times the patience.
LONGEST_WAIT = 8

logger = logging.getLogger(__name__)


def dispatch() -> None:
    """Publish what has waited for too long, and give up what was never started."""
    parts = deployment.current()
    for seen in found(FileRequest.dispatch_at, FileRequest.dispatch_at <= later()):
        if seen.fence == 0 and (failed := parts.requests.give_up(seen)) is not None:
            logger.error("%r was never started: is there a worker for its queue?", Claim.of(failed))
            results.announce(parts.app, failed)
            publishing.attempt(failed)
            continue
        delay = parts.settings.patience * min(2**seen.dispatches, LONGEST_WAIT)
        if (due := parts.requests.postpone(seen, delay)) is not None:
            logger.info("%r is dispatched again", Claim.of(due))
            publishing.attempt(due)
