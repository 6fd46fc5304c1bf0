"""Taking over what a dead worker had begun."""

from __future__ import annotations

import logging

from bgtasks import deployment, publishing, results
from bgtasks.claims import Claim
from bgtasks.database import later
from bgtasks.models import FileRequest
from bgtasks.states import State
from bgtasks.sweeps.finding import found

logger = logging.getLogger(__name__)


def recover() -> None:
    """Publish again the steps whose leases have lapsed."""
    parts = deployment.current()
    for seen in found(FileRequest.leased_until, FileRequest.leased_until <= later()):
        if (taken := parts.requests.recover(seen)) is None:
            continue
        logger.warning("%r is taken over from a worker that gives no sign of life", Claim.of(taken))
        if taken.state == State.FAILED != seen.state:
            results.announce(parts.app, taken)
        if taken.dispatch_at is not None:
            publishing.attempt(taken)
