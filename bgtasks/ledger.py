"""Who was told what: a line is written before anything is sent, and again afterwards.

A notification that is due again (its step was repeated after a crash) finds its line and is not
sent twice. Only a crash between the service's acceptance and our commit can cause a second copy,
and that one bears the same ``Message-ID``.
"""

from __future__ import annotations

import uuid
from email.utils import make_msgid

from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from bgtasks.database import Database, later
from bgtasks.models import Notification

#: The right-hand side of Message-IDs; unique by its left side, and tells nothing of the sending host (RFC 5322, 3.6.4).
MESSAGE_ID_DOMAIN = "bgtasks.invalid"


class Ledger:
    """The notifications of one deployment."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def open(self, request_id: str, event: str, channel: str, recipient: str) -> Notification:
        """The line for one thing to tell, as it stands; ``sent_at`` says whether it was told."""
        key = {"request_id": request_id, "event": event, "channel": channel, "recipient": recipient}
        insert = postgresql_insert if self._database.engine.dialect.name == "postgresql" else sqlite_insert
        line = insert(Notification).values(id=uuid.uuid4(), message_id=make_msgid(domain=MESSAGE_ID_DOMAIN), **key)
        with self._database.writing() as session:
            session.execute(line.on_conflict_do_nothing(index_elements=list(key)))
            return session.scalars(select(Notification).filter_by(**key)).one()

    def close(self, notification: Notification) -> None:
        """Note that the service has accepted it."""
        sent = update(Notification).where(Notification.id == notification.id).values(sent_at=later())
        with self._database.writing() as session:
            session.execute(sent)
