"""The one place that puts the parts together: settings, database, record, store, ledger."""

from __future__ import annotations

import contextlib
import functools
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol
from weakref import WeakKeyDictionary

from celery import Celery

from bgtasks import database, presigning, settings, store_urls
from bgtasks.claims import Held, HeldPart
from bgtasks.database import UNREACHABLE, Database
from bgtasks.errors import ImproperlyConfigured, TransientError
from bgtasks.ledger import Ledger
from bgtasks.models import FileRequest
from bgtasks.presigning import Presigner
from bgtasks.requests import Parting, Requests
from bgtasks.settings import Settings
from bgtasks.tokens import Signer, SignerLike

if TYPE_CHECKING:
    from bgtasks.stores import Store

logger = logging.getLogger(__name__)


class Holding(Protocol):
    """What becomes of what is held, and was not done."""

    def hand_back(self, held: Any, delay: float, reason: str | None = None) -> object:
        """Somebody else shall do it; no attempt is counted."""

    def lose(self, held: Any, queue: str | None = None) -> FileRequest | None:
        """There is no memory for it here. None: it was lost already."""

    def fail(self, held: Any, code: str, message: str, *, waits: bool) -> FileRequest:
        """There will be no file. Raises: ClaimLost."""


@dataclass(frozen=True)
class Deployment:
    """The parts that one Celery app's requests are made with."""

    app: Celery
    settings: Settings
    database: Database
    requests: Requests
    parting: Parting
    ledger: Ledger

    _stores: dict[str, Store] = field(default_factory=dict, repr=False, compare=False)
    _presigners: dict[str, Presigner] = field(default_factory=dict, repr=False, compare=False)

    @property
    def store(self) -> Store:
        """The deployment's own object store, for files whose type has none. Raises: as ``store_at``."""
        return self.store_at(None)

    def store_of(self, file_request: FileRequest) -> Store:
        """The store that the row's object is in, whatever its file type says by now. Raises: as ``store_at``."""
        return self.store_at(file_request.store_url)

    def store_at(self, url: str | None) -> Store:
        """A store by its URL; None: the deployment's own.

        Imported and opened when it is first needed, which must be after a worker's fork; once in each process.
        Raises: ImproperlyConfigured, for a URL or options that can't be; TransientError, for a folder that is away.
        """
        where = self.settings.store_url if url is None else url
        if where not in self._stores:
            from bgtasks.stores import Store

            options = store_urls.options_of(where, self.settings.store_options)
            self._stores.setdefault(where, Store(where, self.settings.root, options))
        return self._stores[where]

    def presigner_of(self, file_request: FileRequest) -> Presigner | None:
        """Signs addresses in the bucket that the row's object is in; None: its downloads are not sent there.

        Raises: ImproperlyConfigured.
        """
        store = self.store_of(file_request)
        if not self.settings.redirect_to_store or not presigning.is_possible(store):
            return None
        if store.url not in self._presigners:
            self._presigners.setdefault(store.url, Presigner(store))
        return self._presigners[store.url]

    def record_of(self, held: Held | HeldPart) -> Holding:
        """Who writes down what becomes of a held step, or of a held part of one."""
        return self.parting if isinstance(held, HeldPart) else self.requests

    def unstage(self, held: Held, store_url: str | None = None) -> None:
        """Remove what a step has written, unless the row names it after all.

        :param store_url: where it has written to; None: the deployment's own store.
        """
        try:
            row = self.requests.get(held.file_request.id)
        except UNREACHABLE:  # only the row could tell, and the sweep will ask it
            return
        if row is None or row.object_key != held.object_key:
            self._remove(held.object_key, store_url)

    def discard(self, file_request: FileRequest) -> None:
        """Remove the object that a row names, or has named, which nobody wants any more; it may name none.

        What its parts have left goes, too. Where its store does not answer, the sweep ``clean`` does it.
        """
        self.drop_object(file_request)
        if file_request.parts_total is not None:
            self.drop_parts(file_request)

    def drop_object(self, file_request: FileRequest) -> None:
        """The same of the object alone: the request goes on, and its parts are wanted."""
        if file_request.object_key is not None:
            self._remove(file_request.object_key, file_request.store_url)

    def drop_parts(self, file_request: FileRequest) -> None:
        """The same as ``remove_parts``; what can't be removed just now is left to the sweep ``clean``."""
        try:
            self.remove_parts(file_request)
        except (*UNREACHABLE, TransientError, ImproperlyConfigured) as error:
            logger.warning("the parts of %s could not be removed: %s", file_request.id, type(error).__name__)

    def remove_parts(self, file_request: FileRequest) -> None:
        """Remove what the parts of a file have left, once they are joined or nobody wants them: objects, then rows.

        Raises: TransientError, ImproperlyConfigured, where their store is away: by their rows they are found again.
        """
        keys = [part.object_key for part in self.parting.unwanted(file_request) if part.object_key is not None]
        for key in keys:
            self.store_of(file_request).delete(key)
        self.parting.drop(file_request)

    def unstage_part(self, held: HeldPart) -> None:
        """Remove what a part has written, unless its row names it after all."""
        with contextlib.suppress(*UNREACHABLE):
            named = [part.object_key for part in self.parting.of(held.file_request.id)]
            if held.object_key not in named:
                self._remove(held.object_key, held.file_request.store_url)

    def _remove(self, object_key: str, store_url: str | None) -> None:
        try:
            self.store_at(store_url).delete(object_key)
        except (TransientError, ImproperlyConfigured) as error:
            logger.warning("the object %s could not be removed: %s", object_key, error)

    def signer(self, max_age: float | None, use: str = "download") -> SignerLike:
        """The built-in signer, by default of download links: each use has a salt of its own."""
        serializer = self.settings.load("default_serializer")
        salt = f"{self.settings.default_salt}.{use}"
        return Signer(self.settings.default_key, salt, serializer, max_age=max_age)

    @functools.cached_property
    def default_signer(self) -> SignerLike:
        """The signer of download links, unless a file type has its own."""
        chosen: SignerLike | None = self.settings.load("default_signer")
        return chosen or self.signer(self.settings.default_max_age)


_deployments: WeakKeyDictionary[Celery, Deployment] = WeakKeyDictionary()
_when_made: list[Callable[[Deployment], None]] = []


def when_made(begin: Callable[[Deployment], None]) -> None:
    """Have something done with each deployment of this process, when it is first asked for."""
    _when_made.append(begin)


def current() -> Deployment:
    """The deployment of the current Celery app. Raises: ImproperlyConfigured."""
    app = settings.this_app()
    if app not in _deployments:
        configured, record = settings.current(app), database.current()
        written = Requests(record, configured), Parting(record, configured), Ledger(record)
        made = Deployment(app, configured, record, *written)
        for begin in _when_made:
            begin(made)
        _deployments[app] = made
    return _deployments[app]
