"""How a request comes into the record."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.orm import Session

from bgtasks.errors import BgtasksError
from bgtasks.history import log
from bgtasks.models import FileRequest
from bgtasks.requests.writer import Writer, failed
from bgtasks.states import EventKind, State


class Asking(Writer):
    """Storing what is asked for."""

    def insert(self, new: dict[str, Any], *, scheduled: bool, fault: BgtasksError | None = None) -> FileRequest:
        """Store a request, or find the one that has this id already: a message may come twice.

        :param fault: what is wrong with it: it is stored as failed.
        """
        with self._database.writing() as session:
            if fault is None:
                return self.insert_with(session, new, scheduled=scheduled)
            return self.insert_with(session, {**new, **failed(fault.error_code, str(fault))}, scheduled=False)

    def insert_with(self, session: Session, new: dict[str, Any], *, scheduled: bool) -> FileRequest:
        """The same within the caller's transaction."""
        values = {**new, **self._waiting(scheduled)}
        dialect = session.get_bind(FileRequest).dialect.name
        # ON CONFLICT rather than a look first: two callers in opposite order would deadlock.
        statement = (postgresql_insert if dialect == "postgresql" else sqlite_insert)(FileRequest)
        inserted = session.scalars(
            statement.values(values).on_conflict_do_nothing(index_elements=["id"]).returning(FileRequest)
        ).one_or_none()
        if inserted is None:
            return session.scalars(select(FileRequest).where(FileRequest.id == new["id"])).one()
        session.expunge(inserted)  # what is ours to write is not for the caller's session to flush or to expire
        log(session, inserted, EventKind.REQUESTED)
        if inserted.state == State.FAILED:
            log(session, inserted, EventKind.FAILED, detail=inserted.error_code)
        return inserted
