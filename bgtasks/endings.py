"""What becomes of a step that does not succeed: handed back, taken over, or failed for good."""

from __future__ import annotations

import logging
from typing import NoReturn

from celery.exceptions import SoftTimeLimitExceeded

from bgtasks import locales, publishing, registry, results
from bgtasks.claims import Held
from bgtasks.deployment import Deployment
from bgtasks.errors import (
    BgtasksError,
    ClaimLost,
    ImproperlyConfigured,
    Interrupted,
    RequestFailed,
    TimeLimitPassed,
    TransientError,
)
from bgtasks.patience import is_transient, jitter, persistently
from bgtasks.requests import NOTIFY
from bgtasks.states import LIVE, EventKind

#: How often a request is handed back, before an outage fails it after all: hours, by the growing delay.
MOST_HAND_BACKS = 40
#: The reason of a hand-back that no outage is to blame for.
STOPPING = "stopping"

logger = logging.getLogger(__name__)


def after(parts: Deployment, held: Held, error: BaseException) -> NoReturn:
    """End a step that has raised. Raises: ClaimLost, Interrupted, RequestFailed."""
    if isinstance(error, MemoryError):
        lose(parts, held)
    if is_transient(error) and _times_handed_back(parts, held) < MOST_HAND_BACKS:
        hand_back(parts, held, error)
    fail(parts, held, error)


def hand_over(parts: Deployment, held: Held) -> None:
    """This process is told to stop: somebody else shall do the step, and at once."""
    logger.warning("%r hands %s over: its worker is told to stop", held.claim, held.step)
    persistently(lambda: parts.requests.hand_back(held, 0, STOPPING))


def lose(parts: Deployment, held: Held) -> NoReturn:
    """There was no memory for it here: it counts as if its worker had died. Raises: Interrupted."""
    logger.error("%r runs out of memory in %s", held.claim, held.step)
    row = held.file_request
    heavy = publishing.heavy_queue_of(row)
    taken = persistently(lambda: parts.requests.recover(row, held.owner, heavy))
    if taken is not None:
        results.announce_if_ended(parts.app, row, taken)
    raise Interrupted(row.id) from None


def hand_back(parts: Deployment, held: Held, error: BaseException) -> NoReturn:
    """A service is away: somebody shall repeat this step a little later. Raises: ClaimLost, to end the chain."""
    logger.warning("%r hands back %s: %s", held.claim, held.step, type(error).__name__, exc_info=error)
    delay = min(parts.settings.patience, 2.0**held.file_request.dispatches) * jitter()
    reason = getattr(error, "error_code", TransientError.error_code)
    persistently(lambda: parts.requests.hand_back(held, delay, reason))
    raise ClaimLost(held.file_request.id) from None


def fail(parts: Deployment, held: Held, error: BaseException) -> NoReturn:
    """What can't succeed fails at once. Raises: RequestFailed, which reveals nothing but the code."""
    row = held.file_request
    with locales.in_force(row.language, row.timezone):
        code, sentence = _told(error)
    logger.error("%r fails in %s: %s", held.claim, held.step, code, exc_info=error)
    if held.file_request.state in LIVE:
        tells = NOTIFY in registry.get(held.file_request.file_type).steps
        row = persistently(lambda: parts.requests.fail(held, code, sentence, waits=tells))
        results.announce(parts.app, row)
    else:  # a finished file never turns into a failure because its requester could not be told
        # But it answers for no other request: whoever asks again shall be told.
        unanswering = {"coalesce_key": None}
        persistently(lambda: parts.requests.finish(held, unanswering, EventKind.NOTIFY_FAILED, waits=False))
    raise RequestFailed(sentence, held.file_request.id, code) from None


def _times_handed_back(parts: Deployment, held: Held) -> int:
    entries = parts.requests.history(held.file_request.id)
    return sum(entry.kind == EventKind.HANDED_BACK and entry.detail != STOPPING for entry in entries)


def _told(error: BaseException) -> tuple[str, str]:
    """An error's code and a sentence that is fit for the requester, in their language."""
    if isinstance(error, SoftTimeLimitExceeded):
        error = TimeLimitPassed()
    if isinstance(error, BgtasksError) and not isinstance(error, ImproperlyConfigured):
        return error.error_code, error.told()
    return getattr(error, "error_code", BgtasksError.error_code), BgtasksError().told()
