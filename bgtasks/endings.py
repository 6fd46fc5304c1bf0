"""What becomes of a step that does not succeed: handed back, taken over, or failed for good."""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Iterator
from typing import NoReturn

from celery.exceptions import SoftTimeLimitExceeded, WorkerShutdown, WorkerTerminate

from bgtasks import locales, publishing, registry, results, stopping
from bgtasks.claims import Held, HeldPart
from bgtasks.deployment import Deployment
from bgtasks.errors import (
    BgtasksError,
    ClaimLost,
    ImproperlyConfigured,
    Interrupted,
    OutdatedTables,
    RequestFailed,
    TimeLimitPassed,
    TransientError,
)
from bgtasks.patience import asked_wait, is_transient, jitter, persistently
from bgtasks.requests import NOTIFY
from bgtasks.states import LIVE, EventKind
from bgtasks.stopping import Stopping

#: What ends this process, and is no fault of what it does.
STOPS = (Stopping, KeyboardInterrupt, WorkerShutdown, WorkerTerminate)
#: How often a request is handed back, before an outage fails it after all: hours, by the growing delay.
MOST_HAND_BACKS = 40
#: How often the delay is doubled at most.
DOUBLINGS = 20
#: Seconds: for no longer is a request kept waiting because a service says so.
LONGEST_WAIT = 3_600.0
#: The reason of a hand-back that no outage is to blame for.
STOPPING = "stopping"
#: How the history begins what it tells of one part of a file alone.
ABOUT_A_PART = re.compile(r"part [0-9]+: ")

logger = logging.getLogger(__name__)


@contextlib.contextmanager
def of(parts: Deployment, held: Held | HeldPart) -> Iterator[None]:
    """See to whatever ends the work of this block: a step, or one part of a file.

    Raises: ClaimLost, Interrupted, RequestFailed; and what ends this process.
    """
    try:
        yield
    except ClaimLost:
        raise
    except STOPS as stop:
        if stopping.is_overdue():
            fail(parts, held, TimeLimitPassed())
        hand_over(parts, held)
        if isinstance(stop, Stopping):
            raise Interrupted(held.file_request.id) from None
        raise
    except (Exception, SystemExit) as error:  # a user's own sys.exit() must not end the worker's child
        after(parts, held, error)


def after(parts: Deployment, held: Held | HeldPart, error: BaseException) -> NoReturn:
    """End a step that has raised. Raises: ClaimLost, Interrupted, RequestFailed."""
    if isinstance(error, MemoryError):
        lose(parts, held)
    if _may_work_later(error) and _times_handed_back(parts, held) < MOST_HAND_BACKS:
        hand_back(parts, held, error)
    fail(parts, held, error)


def hand_over(parts: Deployment, held: Held | HeldPart) -> None:
    """This process is told to stop: somebody else shall do the step, and at once."""
    logger.warning("%r hands %s over: its worker is told to stop", held.claim, held.step)
    persistently(lambda: parts.record_of(held).hand_back(held, 0, STOPPING))


def lose(parts: Deployment, held: Held | HeldPart) -> NoReturn:
    """There was no memory for it here: it counts as if its worker had died. Raises: Interrupted."""
    logger.error("%r runs out of memory in %s", held.claim, held.step)
    row = held.file_request
    heavy = publishing.heavy_queue_of(row)
    taken = persistently(lambda: parts.record_of(held).lose(held, heavy))
    if taken is not None:
        results.announce_if_ended(parts.app, row, taken)
        if taken.state not in LIVE and taken.parts_total is not None:
            parts.drop_parts(taken)
    raise Interrupted(row.id) from None


def hand_back(parts: Deployment, held: Held | HeldPart, error: BaseException) -> NoReturn:
    """A service is away: somebody shall repeat this step a little later. Raises: ClaimLost, to end the chain."""
    logger.warning("%r hands back %s: %s", held.claim, held.step, type(error).__name__, exc_info=error)
    reason = getattr(error, "error_code", TransientError.error_code)
    delay = _delay(error, min(parts.settings.patience, 2.0 ** min(held.dispatches, DOUBLINGS)) * jitter())
    persistently(lambda: parts.record_of(held).hand_back(held, delay, reason))
    raise ClaimLost(held.file_request.id) from None


def fail(parts: Deployment, held: Held | HeldPart, error: BaseException) -> NoReturn:
    """What can't succeed fails at once. Raises: RequestFailed, which reveals nothing but the code."""
    row = held.file_request
    with locales.in_force(row.language, row.timezone):
        code, sentence = _told(error)
    logger.error("%r fails in %s: %s", held.claim, held.step, code, exc_info=error)
    if held.file_request.state in LIVE:
        tells = NOTIFY in registry.get(held.file_request.file_type).steps
        row = persistently(lambda: parts.record_of(held).fail(held, code, sentence, waits=tells))
        results.announce(parts.app, row)
        if row.parts_total is not None:
            parts.drop_parts(row)
    elif isinstance(held, Held):  # a finished file never turns into a failure because its requester could not be told
        # But it answers for no other request: whoever asks again shall be told.
        unanswering = {"coalesce_key": None}
        persistently(lambda: parts.requests.finish(held, unanswering, EventKind.NOTIFY_FAILED, waits=False))
    raise RequestFailed(sentence, held.file_request.id, code) from None


def fail_overdue(parts: Deployment, held: Held | HeldPart) -> None:
    """The same for what was killed at its time limit, together with whoever would have said so."""
    try:
        fail(parts, held, TimeLimitPassed())
    except ClaimLost:
        return
    except RequestFailed:
        publishing.publish_outstanding(held.file_request.id)


def _may_work_later(error: BaseException) -> bool:
    """Tables that are not upgraded yet will be: a worker of the version before may have done the steps before."""
    return is_transient(error) or isinstance(error, OutdatedTables)


def _delay(error: BaseException, back_off: float) -> float:
    """Seconds. What a service asks for comes on top: whoever was told the same shall not come back together."""
    wait = asked_wait(error)
    return max(back_off, min(LONGEST_WAIT, wait + back_off)) if wait else back_off


def _times_handed_back(parts: Deployment, held: Held | HeldPart) -> int:
    entries = parts.requests.history(held.file_request.id)
    reasons = [entry.detail or "" for entry in entries if entry.kind == EventKind.HANDED_BACK]
    if isinstance(held, HeldPart):  # each part has its own patience: an outage meets all of them at once
        reasons = [reason.removeprefix(held.about) for reason in reasons if reason.startswith(held.about)]
    else:
        reasons = [reason for reason in reasons if not ABOUT_A_PART.match(reason)]
    return sum(reason != STOPPING for reason in reasons)


def _told(error: BaseException) -> tuple[str, str]:
    """An error's code and a sentence that is fit for the requester, in their language."""
    if isinstance(error, SoftTimeLimitExceeded):
        error = TimeLimitPassed()
    if isinstance(error, BgtasksError) and not isinstance(error, ImproperlyConfigured):
        return error.error_code, error.told()
    return getattr(error, "error_code", BgtasksError.error_code), BgtasksError().told()
