"""The one place that puts the parts together: settings, database, record, store, ledger."""

from __future__ import annotations

import functools
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from celery import Celery

from bgtasks import database, settings
from bgtasks.claims import Held
from bgtasks.database import UNREACHABLE, Database
from bgtasks.errors import TransientError
from bgtasks.ledger import Ledger
from bgtasks.presigning import Presigner
from bgtasks.requests import Requests
from bgtasks.settings import Settings
from bgtasks.tokens import Signer, SignerLike

if TYPE_CHECKING:
    from bgtasks.stores import Store

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Deployment:
    """The parts that one Celery app's requests are made with."""

    app: Celery
    settings: Settings
    database: Database
    requests: Requests
    ledger: Ledger

    @functools.cached_property
    def store(self) -> Store:
        """The object store; imported and opened when it is first needed, which must be after a worker's fork."""
        from bgtasks.stores import Store

        return Store(self.settings.store_url, self.settings.root)

    @functools.cached_property
    def presigner(self) -> Presigner | None:
        """Signs addresses in the bucket; None: downloads are not sent there. Raises: ImproperlyConfigured."""
        return Presigner(self.store) if self.settings.redirect_to_store else None

    def unstage(self, held: Held) -> None:
        """Remove what a step has written, unless the row names it after all."""
        try:
            row = self.requests.get(held.file_request.id)
        except UNREACHABLE:  # only the row could tell, and the sweep will ask it
            return
        if row is None or row.object_key != held.object_key:
            self.discard(held.object_key)

    def discard(self, object_key: str) -> None:
        """Remove an object that nobody wants any more; where the store does not answer, the sweep ``clean`` does it."""
        try:
            self.store.delete(object_key)
        except TransientError as error:
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


def current() -> Deployment:
    """The deployment of the current Celery app. Raises: ImproperlyConfigured."""
    app = settings.this_app()
    if app not in _deployments:
        configured, record = settings.current(app), database.current()
        _deployments[app] = Deployment(app, configured, record, Requests(record, configured), Ledger(record))
    return _deployments[app]
