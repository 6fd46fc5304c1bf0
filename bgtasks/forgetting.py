"""Forgetting a person: what they asked for, what was made of it, and where they appear with others.

Every change is one transaction or one removal, and any of them may be the last: what a run leaves half done, the
next one finishes. A row goes last of all, so that nothing is lost from sight while a store is away.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from bgtasks import deployment, results
from bgtasks.claims import Claim
from bgtasks.deployment import Deployment
from bgtasks.errors import ImproperlyConfigured, TransientError
from bgtasks.models import FileRequest
from bgtasks.pacing import Pace
from bgtasks.patience import is_transient
from bgtasks.states import LIVE

logger = logging.getLogger(__name__)


@dataclass
class Forgotten:
    """What one run has done."""

    requests: int = 0  #: rows that are gone
    cancelled: int = 0  #: of those, the ones that were still going on
    files: int = 0  #: objects that were removed
    events: int = 0  #: entries of the history that went with the rows
    notifications: int = 0  #: lines of the ledger that went with the rows
    anonymised: int = 0  #: entries, lines and addresses of other people's requests that name nobody now
    left: int = 0  #: requests of theirs that are still there: their file could not be removed
    away: Exception | None = None  #: the service that did not answer
    is_whole: bool = False  #: whether nothing is left to do

    def __str__(self) -> str:
        requests = f"requests: {self.requests} ({self.cancelled} of them were going on), files: {self.files}"
        traces = f"entries of their history: {self.events}, notifications: {self.notifications}"
        left = f", left: {self.left}" if self.left else ""
        return f"{requests}, {traces}, made anonymous with others: {self.anonymised}{left}"


def forget(
    requester: str, emails: Collection[str] = (), actor: str | None = None, pace: Pace | None = None
) -> Forgotten:
    """Remove what there is of a requester, until nothing is left or the pace says that it is enough.

    :param emails: more addresses of theirs, beside their name, to take from other people's requests.
    :param actor: who has it done.
    Raises: ValueError, without a requester.
    """
    if not requester:
        raise ValueError("whom to forget must be said: requests of nobody in particular are nobody's")
    run = _Run(deployment.current(), requester, actor, pace or Pace(), Forgotten(), set())
    try:
        run.requests()
        run.traces((requester, *emails))
    except Exception as error:
        if not is_transient(error):
            raise
        run.done.away = error
    else:
        run.done.is_whole = not (run.done.left or run.pace.is_over)
    return run.done


@dataclass
class _Run:
    parts: Deployment
    requester: str
    actor: str | None
    pace: Pace
    done: Forgotten
    silent: set[int]  #: the stores that did not answer: each is waited for once

    def requests(self) -> None:
        """Their own requests: nobody works on one any more, its object goes, its result, and then its row."""
        for seen in self.pace.each(self.parts.requests.all_of(self.requester)):
            withdrawn = self.parts.requests.withdraw(seen, self.actor)
            if withdrawn is not None:
                self._end(seen, withdrawn)
                self._erase(withdrawn)
            self.pace.count()

    def traces(self, addresses: Collection[str]) -> None:
        """Where they appear in other people's requests."""
        record = self.parts.requests
        for batches in (
            record.anonymise_events(self.requester),
            record.anonymise_notifications(addresses),
            record.anonymise_recipients(self.requester, addresses),
        ):
            self._count(batches)

    def _count(self, batches: Iterator[int]) -> None:
        for number in self.pace.each(batches):
            self.done.anonymised += number

    def _end(self, seen: FileRequest, withdrawn: FileRequest) -> None:
        if seen.state in LIVE:
            self.done.cancelled += 1
            results.announce(self.parts.app, withdrawn)  # whoever waits for it learns that it is over

    def _erase(self, withdrawn: FileRequest) -> None:
        try:
            self._drop_objects(withdrawn)
            results.forget(self.parts.app, withdrawn)
        except (TransientError, ImproperlyConfigured) as error:
            self.done.left += 1
            self.done.away = error
            logger.warning("%r is left: %s", Claim.of(withdrawn), error)
            return
        erased = self.parts.requests.erase(withdrawn)
        if erased is None:  # somebody has started it again
            self.done.left += 1
            return
        self.done.requests += 1
        self.done.events += erased.events
        self.done.notifications += erased.notifications

    def _drop_objects(self, withdrawn: FileRequest) -> None:
        """The file; and what many workers have written of it so far, each at its part's row, which goes last."""
        written = [part.object_key for part in self.parts.parting.of(withdrawn.id)] if withdrawn.parts_total else []
        for key in filter(None, (withdrawn.object_key, *written)):
            self._drop(withdrawn, key)

    def _drop(self, withdrawn: FileRequest, object_key: str) -> None:
        store = self.parts.store_of(withdrawn)
        if id(store) in self.silent:
            raise TransientError("The file store did not answer before.")
        try:
            store.delete(object_key)
        except TransientError:
            if not store.is_there():
                self.silent.add(id(store))
            raise
        self.done.files += 1
