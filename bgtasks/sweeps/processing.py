"""Handling what is outstanding in this process, with no broker: for whoever has cron and no workers."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass

from bgtasks import deployment, execution, registry
from bgtasks.errors import RequestFailed
from bgtasks.pacing import Pace
from bgtasks.sweeps import finding, recovering, reminding
from bgtasks.sweeps import parts as parted

logger = logging.getLogger(__name__)


@dataclass
class Processed:
    """What one run has done. Numbers of requests."""

    handled: int = 0  #: gone on with, to their end or to an outage
    failed: int = 0  #: ended without a file
    left: int = 0  #: in somebody else's hands meanwhile


def process(pace: Pace) -> Processed:
    """Handle the outstanding requests, the oldest first, by the same steps and fences as workers."""
    done = Processed()
    for request_id in pace.each(_outstanding()):
        _handle(request_id, done)
        pace.count()
    return done


def _outstanding() -> Iterator[str]:
    """Each request once, also those that come meanwhile; what a dead process has left, too."""
    parts, seen = deployment.current(), set[str]()
    for row in finding.lapsed():
        recovering.take_over(parts, row)
    reminding.due()
    yield from parted.outstanding()
    while batch := finding.outstanding(but=seen):
        seen.update(batch)
        yield from batch


def _handle(request_id: str, done: Processed) -> None:
    try:
        if execution.run_parts(request_id) or registry.dispatch(request_id):
            done.handled += 1
        else:
            done.left += 1
    except RequestFailed:
        done.failed += 1
    except Exception:  # one request's fault keeps no other waiting
        logger.exception("request %s can't be handled", request_id)
        done.failed += 1
