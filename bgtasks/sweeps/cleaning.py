"""What nobody needs any more goes: expired files, old rows, and objects that no row names.

Each change is one transaction or one removal, and any of them may be the last: what a run leaves
half done, the next one finishes. DESIGN, "The record", says what an orphan is.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

from celery.exceptions import SoftTimeLimitExceeded

from bgtasks import deployment
from bgtasks.claims import Claim
from bgtasks.deployment import Deployment
from bgtasks.errors import TransientError
from bgtasks.models import FileRequest
from bgtasks.object_keys import ObjectKey
from bgtasks.pacing import Pace
from bgtasks.patience import is_transient

#: Seconds for which an expired file is kept, so that a download under way is not cut.
LEEWAY = 3600.0
#: Keys that are looked up with one query.
BATCH = 500
#: The bounds of a run from beat, which must not hold a slot for long: seconds, and requests and objects.
TIMEOUT, ITEMS = 60.0, 10_000

logger = logging.getLogger(__name__)


@dataclass
class Cleaned:
    """What one run has done."""

    expired: int = 0  #: files whose time was over
    leftovers: int = 0  #: objects of requests that had ended before
    rows: int = 0  #: rows that were kept for long enough
    orphans: int = 0  #: objects that no row names
    faults: int = 0  #: what could not be cleaned, each with a line in the log
    away: Exception | None = None  #: the service that did not answer, and so ended the run

    def __str__(self) -> str:
        requests = f"expired: {self.expired}, leftovers removed: {self.leftovers}, rows removed: {self.rows}"
        faults = f", could not be cleaned: {self.faults}" if self.faults else ""
        return f"{requests}, orphans removed: {self.orphans}{faults}"


def clean(pace: Pace, leeway: float = LEEWAY) -> Cleaned:
    """Remove what nobody needs any more, until all is clean or the pace says that it is enough.

    :param leeway: seconds for which an expired file is kept.
    """
    run = _Run(deployment.current(), pace, leeway, Cleaned())
    try:
        run.finish()
        run.expire()
        run.forget()
        run.sweep()
    except Exception as error:
        if not is_transient(error):
            raise
        run.done.away = error
    return run.done


def clean_a_while() -> None:
    """A run from beat: bounded, and an outage is no error of the task's."""
    done = clean(Pace(timeout=TIMEOUT, items=ITEMS))
    if done != Cleaned():
        logger.info("clean: %s", done)
    if done.away is not None:
        logger.warning("clean is left for the next run: %s", reason(done.away))


def reason(error: BaseException) -> str:
    """An error in one line, with the service's own words."""
    cause = getattr(error, "orig", None) or error.__cause__ or error
    return f"{type(cause).__name__}: {cause}".strip().partition("\n")[0]


@dataclass
class _Run:
    parts: Deployment
    pace: Pace
    leeway: float
    done: Cleaned

    def finish(self) -> None:
        """What a killed run has begun, and what a cancelled or failed request has left."""
        for seen in self.pace.each(self.parts.requests.with_leftovers()):
            with self._alone(Claim.of(seen)):
                self._drop_object(seen)
                self.done.leftovers += 1
                self.pace.count()

    def expire(self) -> None:
        """Files whose time is over: the row's state first, then the object, then its key."""
        for seen in self.pace.each(self.parts.requests.overdue(self.leeway)):
            with self._alone(Claim.of(seen)):
                if (expired := self.parts.requests.expire(seen, self.leeway)) is not None:
                    self.done.expired += 1
                    self._drop_object(expired)
                    self.pace.count()

    def forget(self) -> None:
        """Rows that were kept for long enough."""
        for seen in self.pace.each(self.parts.requests.outdated()):
            with self._alone(Claim.of(seen)):
                if self.parts.requests.forget(seen) is not None:
                    self.done.rows += 1
                    self.pace.count()

    def sweep(self) -> None:
        """Objects that no row names, nor ever will."""
        for batch in self.pace.batches(self._keys(), BATCH):
            stored = [key for key in map(ObjectKey.parse, batch) if key is not None]
            # Asked after the listing: an object is there before its row's fence moves on.
            for orphan in self.pace.each(self.parts.requests.orphans(stored)):
                with self._alone(orphan.text):
                    self.parts.store.delete(orphan.text)
                    self.done.orphans += 1
            self.pace.count(len(batch))

    def _keys(self) -> Iterator[str]:
        """Every object's key. A run that may not see all begins anywhere, so that each gets its turn."""
        store = self.parts.store
        if not self.pace.is_bounded:
            return store.keys()
        start = str(uuid.uuid4())
        return itertools.chain(store.keys(start), itertools.takewhile(lambda key: key < start, store.keys()))

    def _drop_object(self, seen: FileRequest) -> None:
        if seen.object_key is not None:
            self.parts.store.delete(seen.object_key)
            self.parts.requests.drop_object(seen)

    @contextlib.contextmanager
    def _alone(self, name: object) -> Iterator[None]:
        """One request's or object's fault keeps no other from being cleaned; a service that is away ends the run."""
        try:
            yield
        except SoftTimeLimitExceeded:
            raise
        except Exception as error:
            if self._is_away(error):
                raise
            self.done.faults += 1
            logger.warning("%s can't be cleaned: %s", name, reason(error))

    def _is_away(self, error: Exception) -> bool:
        return is_transient(error) and not (isinstance(error, TransientError) and self.parts.store.is_there())
