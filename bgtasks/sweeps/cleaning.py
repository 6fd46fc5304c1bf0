"""What nobody needs any more goes: expired files, old rows, and objects that no row names.

Each change is one transaction or one removal, and any of them may be the last: what a run leaves
half done, the next one finishes. DESIGN, "The record", says what an orphan is.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import random
import uuid
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from celery.exceptions import SoftTimeLimitExceeded

from bgtasks import deployment, whereabouts
from bgtasks.claims import Claim
from bgtasks.deployment import Deployment
from bgtasks.errors import ImproperlyConfigured, TransientError
from bgtasks.models import FileRequest
from bgtasks.object_keys import ObjectKey
from bgtasks.pacing import Pace, Stride
from bgtasks.patience import is_transient
from bgtasks.sweeps import keeping

if TYPE_CHECKING:
    from bgtasks.stores import Store

#: Seconds for which an expired file is kept, so that a download under way is not cut.
LEEWAY = 3600.0
#: Requests that are changed in one transaction: at first, at most, and so many that it takes some milliseconds. Whoever
#: else writes to one of them waits for so long.
ROWS, MOST_ROWS, SECONDS = 20, 200, 0.02
#: Keys that are looked up with one query.
BATCH = 500
#: So many orphans are removed whatever else a store holds. Where there are more, and the table does not have the
#: requests of most that is there, it is the wrong table, or not all of it: only a person can know.
FEW = 20
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
    spared: int = 0  #: such objects, which may be those of another table
    faults: int = 0  #: what could not be cleaned, each with a line in the log
    away: Exception | None = None  #: the service that did not answer, and so ended the run

    def __str__(self) -> str:
        requests = f"expired: {self.expired}, leftovers removed: {self.leftovers}, rows removed: {self.rows}"
        faults = f", could not be cleaned: {self.faults}" if self.faults else ""
        spared = f", orphans spared: {self.spared}" if self.spared else ""
        return f"{requests}, orphans removed: {self.orphans}{spared}{faults}"


def clean(pace: Pace, leeway: float = LEEWAY, *, all_orphans: bool = False, stores: Collection[str] = ()) -> Cleaned:
    """Remove what nobody needs any more, until all is clean or the pace says that it is enough.

    :param leeway: seconds for which an expired file is kept.
    :param all_orphans: also where most of a store's objects are of no request in the table. Where stores are named, in
        these alone.
    :param stores: the URLs of stores in which to look for orphans too, though neither a file type nor a row names them.
    """
    run = _Run(deployment.current(), pace, leeway, Cleaned(), all_orphans, stores)
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
    """An error in one line without its full stop, with the service's own words."""
    cause = getattr(error, "orig", None) or error.__cause__ or error
    return f"{type(cause).__name__}: {cause}".strip().partition("\n")[0].rstrip(".")


@dataclass
class _Run:
    parts: Deployment
    pace: Pace
    leeway: float
    done: Cleaned
    all_orphans: bool
    named: Collection[str]  #: stores that somebody has named, by their URLs
    away: set[str | None] = field(default_factory=set)  #: stores of file types that have not answered

    def finish(self) -> None:
        """What a killed run has begun, and what a cancelled or failed request has left, or its parts have."""
        for batch in self._batches(self.parts.requests.with_leftovers(), _stride()):
            removed = self._drop_objects(batch)
            self.done.leftovers += removed
            self.pace.count(removed)
        for row in self.pace.each(self.parts.parting.left_over()):
            if row.store_url not in self.away:
                with self._alone(Claim.of(row), row.store_url):
                    self.parts.remove_parts(row)
                    self.pace.count()

    def expire(self) -> None:
        """Files whose time is over: the rows' state first, then the objects, then their keys."""
        stride = _stride()
        for batch in self._batches(self.parts.requests.overdue(self.leeway), stride):
            with stride.taken():
                expired = self.parts.requests.expire(batch, self.leeway)
            self.done.expired += len(expired)
            self.pace.count(self._drop_objects(expired))

    def forget(self) -> None:
        """Rows that were kept for long enough, each type's for as long as it says."""
        if self.pace.is_over:
            return
        stride = _stride()
        for name in self.parts.requests.file_types():
            if (retention := keeping.retention_of(name)) is not None:
                for batch in self._batches(self.parts.requests.outdated(name, retention), stride):
                    with stride.taken():
                        gone = self.parts.requests.forget(batch, retention)
                    self.done.rows += gone
                    self.pace.count(gone)

    def sweep(self) -> None:
        """Objects that no row names, nor ever will, in every store that files may be put into, or were."""
        if self.pace.is_over:
            return
        known = self._distinct((*whereabouts.known(), *self.parts.requests.store_urls()))
        urls = self._distinct((*known, *self.named))
        if self.pace.is_bounded:  # each gets its turn
            random.shuffle(urls)
        for url in urls:
            if not self.pace.is_over:
                with self._alone(url or "the store", url):
                    # Of what is somebody's guess, a few are too many.
                    self._sweep(url, FEW if url in known else 0)

    def _distinct(self, urls: Collection[str | None]) -> list[str | None]:
        """Each store once; None: the deployment's own, also where it is named by its URL."""
        own = self.parts.settings.store_url
        return list(dict.fromkeys(None if url == own else url for url in urls))

    def _sweep(self, url: str | None, few: int) -> None:
        store, seen, strange = self.parts.store_at(url), 0, 0
        for batch in self.pace.batches(self._keys(store), BATCH):
            stored = [key for key in map(ObjectKey.parse, batch) if key is not None]
            # Asked after the listing: an object is there before its row's fence moves on.
            orphans = self.parts.requests.orphans(stored)
            seen, strange = seen + len(stored), strange + self._strangers(orphans, url)
            if strange > max(few, seen // 2):
                self._spare(orphans, url)
                return
            for orphan in self.pace.each(orphans):
                with self._alone(orphan.text, url):
                    store.delete(orphan.text)
                    self.done.orphans += 1
                if url in self.away:
                    return
            self.pace.count(len(batch))

    def _strangers(self, orphans: list[ObjectKey], url: str | None) -> int:
        """How many of them are of requests that the table does not have, where that matters."""
        is_meant = self.all_orphans and (not self.named or url in self._distinct(self.named))
        return 0 if is_meant or not orphans else self.parts.requests.strangers(orphans)

    def _spare(self, orphans: list[ObjectKey], url: str | None) -> None:
        """Leave a store alone that is not the table's, as it seems: no copy is kept of what is removed."""
        self.done.spared += len(orphans)
        place, option = ("bgtasks_store_url", "") if url is None else (url, f" --store {url}")
        logger.warning(
            "the table does not have the requests of most objects in %s, so none is removed: is it the database of "
            "these files, and all of it? If so, run celery bgtasks clean --all-orphans%s",
            place,
            option,
        )

    def _keys(self, store: Store) -> Iterator[str]:
        """Every object's key. A run that may not see all begins anywhere, so that each gets its turn."""
        if not self.pace.is_bounded:
            return store.keys()
        start = str(uuid.uuid4())
        return itertools.chain(store.keys(start), itertools.takewhile(lambda key: key < start, store.keys()))

    def _batches(self, rows: Iterator[FileRequest], stride: Stride) -> Iterator[list[FileRequest]]:
        """What is changed in one transaction; without those whose file is in a store that is away."""
        return self.pace.together((row for row in rows if row.store_url not in self.away), stride)

    def _drop_objects(self, seen: list[FileRequest]) -> int:
        """Remove the objects of such rows, and then name them no more; of how many rows."""
        gone = [row for url, rows in _by_store(seen) for row in self._removed(url, rows)]
        if gone:
            self.parts.requests.drop_objects(gone)
        return len(gone)

    def _removed(self, url: str | None, rows: list[FileRequest]) -> Iterator[FileRequest]:
        """The rows whose objects are gone."""
        with contextlib.suppress(TransientError, ImproperlyConfigured):  # or else each row's own fault
            if self.parts.store_at(url).delete_all([str(row.object_key) for row in rows]):
                yield from rows
                return
        for row in rows:
            if url not in self.away:
                with self._alone(Claim.of(row), url):
                    self.parts.store_of(row).delete(str(row.object_key))
                    yield row

    @contextlib.contextmanager
    def _alone(self, name: object, store_url: str | None = None) -> Iterator[None]:
        """One request's or object's fault keeps no other from being cleaned; a service that is away ends the run.

        So does the deployment's own store. Where that of a file type is away, the others are cleaned.
        """
        try:
            yield
        except SoftTimeLimitExceeded:
            raise
        except Exception as error:
            if not self._is_away(error, store_url):
                self.done.faults += 1
                logger.warning("%s can't be cleaned: %s", name, reason(error))
            elif store_url is None or not isinstance(error, TransientError):
                raise
            else:
                self.away.add(store_url)
                self.done.away = error

    def _is_away(self, error: Exception, store_url: str | None) -> bool:
        return is_transient(error) and not (isinstance(error, TransientError) and self._is_there(store_url))

    def _is_there(self, store_url: str | None) -> bool:
        try:
            return self.parts.store_at(store_url).is_there()
        except TransientError:
            return False


def _stride() -> Stride:
    return Stride(ROWS, MOST_ROWS, SECONDS)


def _by_store(rows: list[FileRequest]) -> list[tuple[str | None, list[FileRequest]]]:
    """The rows that name an object, by where it is."""
    found: dict[str | None, list[FileRequest]] = {}
    for row in rows:
        if row.object_key is not None:
            found.setdefault(row.store_url, []).append(row)
    return list(found.items())
