"""Reminding requesters of files that are removed soon, and that nobody has downloaded.

The sweep only wakes somebody: the step ``tell_expiry`` tells, under a claim like every step, so that whatever dies or
is doubled in between is repaired as anywhere else, and nobody is mailed twice.
"""

from __future__ import annotations

import logging

from bgtasks import deployment, publishing, registry
from bgtasks.claims import Claim
from bgtasks.models import FileRequest
from bgtasks.requests import NOTIFY
from bgtasks.requests.reminding import Reminder
from bgtasks.sweeps import finding

logger = logging.getLogger(__name__)


def remind() -> None:
    """Wake somebody for each reminder that is due."""
    for row in due():
        if not publishing.attempt(row):
            return  # the broker is away: the sweep ``dispatch`` does the others, once they are due


def due() -> list[FileRequest]:
    """The requests of which somebody is to be reminded now; they wait for it from here on."""
    types = _reminders()
    if not types:
        return []
    requests = deployment.current().requests
    found = [requests.remind(seen, types[seen.file_type]) for seen in requests.unseen(types, finding.LIMIT)]
    waiting = [row for row in found if row is not None]
    for row in waiting:
        logger.info("%r expires soon, and nobody has downloaded it", Claim.of(row))
    return waiting


def _reminders() -> dict[str, Reminder]:
    """The file types that remind."""
    return {name: found for name in registry.names() if (found := _reminder_of(name)) is not None}


def _reminder_of(name: str) -> Reminder | None:
    """What one type says; None: it does not remind."""
    steps = registry.get(name).steps
    try:
        file_type = registry.get(name)()
        seconds, max_age = file_type.get_tell_expiry(), file_type.get_max_age()
    except Exception:  # one type's fault must not keep the others waiting
        logger.exception("when the file type %s reminds is not known", name)
        return None
    # A file that lasts for no longer would be reminded of as soon as it is ready.
    is_sensible = seconds is not None and (max_age is None or seconds < max_age)
    return Reminder(float(seconds), steps[-1]) if is_sensible and NOTIFY in steps else None
