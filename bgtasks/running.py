"""A step at work, and what it leaves."""

from __future__ import annotations

import contextlib
import functools
import logging
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self

from bgtasks import registry, whereabouts
from bgtasks.claims import Held
from bgtasks.deployment import Deployment
from bgtasks.errors import ImproperlyConfigured, ObjectMissing
from bgtasks.leases import Lease, Record
from bgtasks.models import FileRequest
from bgtasks.states import EventKind

if TYPE_CHECKING:
    from bgtasks.stores import ObjectWriter

logger = logging.getLogger(__name__)


@dataclass
class Running(ABC):
    """Something that is held, at work."""

    deployment: Deployment
    held: Any
    lease: Lease
    file_type: Any  #: the request's FileType, restored
    staged: bool = False

    @classmethod
    @contextlib.contextmanager
    def leased(cls, parts: Deployment, held: Any) -> Iterator[Self]:
        """With a lease that lasts as long as the block, and nothing left of it if that raises."""
        file_type = registry.get(held.file_request.file_type).restore(held.file_request)
        record, seconds = cls.record_of(parts, file_type), parts.settings.lease
        with Lease(record, held, seconds, file_type.get_time_limit()) as lease:
            running = cls(parts, held, lease, file_type)
            try:
                yield running
            except BaseException:
                running.unstage()
                raise

    @classmethod
    @abstractmethod
    def record_of(cls, parts: Deployment, file_type: Any) -> Record:
        """Where its lease and its progress are written."""

    @abstractmethod
    def unstage(self) -> None:
        """Remove what it has written, unless the record names it after all."""


@dataclass
class RunningStep(Running):
    """A step at work: what its function is given."""

    held: Held

    @classmethod
    def record_of(cls, parts: Deployment, _: Any) -> Record:
        """The request itself."""
        return parts.requests

    @property
    def file_request(self) -> FileRequest:
        """The row, as it was when this step began."""
        return self.held.file_request

    @functools.cached_property
    def dataset(self) -> Any:
        """The criteria, restored and validated, and what they select. Raises: InvalidCriteria."""
        return self.file_type.restore_dataset(self.file_request)

    def begin_anew(self) -> None:
        """Before each try: it asks for its items afresh, since the last one may have used them up."""
        self.__dict__.pop("dataset", None)
        self._join()

    def _join(self) -> None:
        """Make one object of what many workers have written: the first step after the writing finds it on the row.

        Raises: ObjectMissing, where a part is gone or damaged; TransientError; ClaimLost.
        """
        row = self.file_request
        if not row.parts_are_written or row.object_key is not None:
            return
        from bgtasks.stores import PartObject  # which a worker's main process must not import

        parts = self.deployment.parting.of(row.id)
        written = [PartObject(part.object_key, part.size or 0, part.sha256 or "") for part in parts if part.object_key]
        if len(written) != row.parts_total:
            raise ObjectMissing
        # The claim of a step that only checks need not have reached the disk; the fence in an object's key must have.
        self.deployment.requests.keep(self.held, fence=row.fence)
        self.staged = True
        whole = self.deployment.store_at(self.store_url).join(written, self.held.object_key, self.lease.note)
        made = {"object_key": self.held.object_key, "size": whole.size, "sha256": whole.sha256}
        self.held = replace(self.held, file_request=self.deployment.requests.keep(self.held, **made))
        self.file_type.file_request = self.file_request  # its own code, too, sees the file as it is

    def open_object(self) -> ObjectWriter:
        """A binary file that streams into the store, under a key of this step's own."""
        self.staged = True
        # Whoever writes hears of a cancel, also where no rows are counted.
        return self.deployment.store_at(self.store_url).open_writer(self.held.object_key, self.lease.note)

    @functools.cached_property
    def store_url(self) -> str | None:
        """The store that this step writes to, the same for as long as it runs; None: the deployment's own.

        Raises: ImproperlyConfigured.
        """
        # What is written in parts is in one place, which was chosen for all of them.
        return (
            self.file_request.store_url if self.file_request.parts_total else whereabouts.store_url_of(self.file_type)
        )

    def leave_former_store(self) -> None:
        """Remove what an earlier try has left in a store that the file type has left since.

        Once the row names another object, nobody would look for it there. Raises: TransientError.
        """
        row = self.file_request
        if row.object_key is not None and row.store_url != whereabouts.store_url_of(self.file_type):
            try:
                self.deployment.store_of(row).delete(row.object_key)
            except ImproperlyConfigured as error:
                logger.warning("the object %s is left behind: %s", row.object_key, error)

    def located(self, columns: Mapping[str, Any]) -> dict[str, Any]:
        """An outcome, in which an object that this step has written is said to be where it is."""
        is_ours = columns.get("object_key") == self.held.object_key and self.staged
        return {"store_url": self.store_url, **columns} if is_ours else dict(columns)

    def unstage(self) -> None:
        """Remove what this step has written, unless the row names it after all."""
        if self.staged:
            self.deployment.unstage(self.held, self.store_url)


@dataclass(frozen=True)
class Outcome:
    """What a step leaves: columns of the row, and what else its history shall tell."""

    columns: Mapping[str, Any] = field(default_factory=dict)
    event: EventKind | None = None
    #: Whether many workers go on with it, each with a part of the file; and how many of them at once (None: all).
    fans_out: bool = False
    at_once: int | None = None

    @classmethod
    def of(cls, returned: Outcome | Mapping[str, Any] | None) -> Outcome:
        """The outcome, however the step has put it."""
        return returned if isinstance(returned, Outcome) else cls(returned or {})
