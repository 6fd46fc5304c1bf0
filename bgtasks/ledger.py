"""Who was told what: a line is written before anything is sent, and again afterwards.

A notification that is due again (its step was repeated after a crash) finds its line and is not
sent twice. Only a crash between the service's acceptance and our commit can cause a second copy,
and that one bears the same ``Message-ID``. What a service has refused for good is not tried again.
"""

from __future__ import annotations

import uuid
from datetime import datetime
from email.utils import make_msgid
from typing import Any

from sqlalchemy import ColumnElement, func, select, update
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

    def open(
        self, request_id: str, event: str, channel: str, recipient: str, since: datetime | None = None
    ) -> Notification:
        """The line for one thing to tell, as it stands; ``sent_at`` and ``is_refused`` say whether it was told.

        :param since: when it has happened, for what may happen again: what was told before that was another one.
        """
        key = {"request_id": request_id, "event": event, "channel": channel, "recipient": recipient}
        insert = postgresql_insert if self._database.engine.dialect.name == "postgresql" else sqlite_insert
        line = insert(Notification).values(id=uuid.uuid4(), message_id=make_msgid(domain=MESSAGE_ID_DOMAIN), **key)
        with self._database.writing() as session:
            session.execute(line.on_conflict_do_nothing(index_elements=list(key)))
            if since is not None:
                another = {"message_id": make_msgid(domain=MESSAGE_ID_DOMAIN), "created_at": later()}
                anew = another | dict.fromkeys(("sent_at", "refused_at", "refusal"))
                session.execute(update(Notification).filter_by(**key).where(_last_touched() < since).values(anew))
            return session.scalars(select(Notification).filter_by(**key)).one()

    def close(self, notification: Notification) -> None:
        """Note that the service has accepted it."""
        self._note(notification, sent_at=later())

    def refuse(self, notification: Notification, reason: str) -> None:
        """Note that the service has refused it for good.

        :param reason: a short code.
        """
        self._note(notification, refused_at=later(), refusal=reason)

    def _note(self, notification: Notification, **outcome: Any) -> None:
        # Of what has happened again since, somebody else has still to tell.
        same = Notification.id == notification.id, Notification.message_id == notification.message_id
        noted = update(Notification).where(*same).values(outcome)
        with self._database.writing() as session:
            session.execute(noted)


def _last_touched() -> ColumnElement[datetime]:
    return func.coalesce(Notification.sent_at, Notification.created_at)
