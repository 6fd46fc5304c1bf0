"""Publishing after the caller's own transaction: never before its commit, never after its rollback."""

from __future__ import annotations

import logging
from typing import Any

from sqlalchemy import Connection, event
from sqlalchemy.orm import Session

from bgtasks import deployment, publishing
from bgtasks.database import UNREACHABLE
from bgtasks.models import FileRequest

_WAITING = "bgtasks_to_publish"

logger = logging.getLogger(__name__)


def publish_after_commit(session: Session, request_id: str) -> None:
    """Publish a request's chain once the session's outermost transaction is committed.

    Where the session has joined a transaction of its connection's (``Session(connection)``), that is
    when the connection is closed: the first moment after the commit that can be observed.
    """
    if _WAITING not in session.info:
        session.info[_WAITING] = []
        event.listen(session, "after_commit", _committed)
        event.listen(session, "after_rollback", _rolled_back)
    session.info[_WAITING].append(request_id)


def _committed(session: Session) -> None:
    if session.in_nested_transaction():  # a savepoint was released, and nothing is committed yet
        return
    waiting, session.info[_WAITING] = session.info[_WAITING], []
    if not waiting:
        return
    bind = session.get_bind(FileRequest)
    if isinstance(bind, Connection) and bind.in_transaction():
        bind.info.setdefault(_WAITING, []).extend(waiting)
        if not event.contains(bind.engine, "checkin", _closed):
            event.listen(bind.engine, "checkin", _closed)
    else:
        _publish(waiting)


def _rolled_back(session: Session) -> None:
    if not session.in_nested_transaction():
        session.info[_WAITING] = []


def _closed(_: object, record: Any) -> None:
    """A connection goes back to its pool: what was begun on it is committed now, or rolled back."""
    _publish(record.info.pop(_WAITING, ()))


def _publish(waiting: list[str]) -> None:
    for request_id in waiting:
        try:
            file_request = deployment.current().requests.get(request_id)
        except UNREACHABLE:  # the caller's commit has succeeded, and must not look as if it had not
            logger.warning("request %s could not be published; it is dispatched later", request_id)
            continue
        if file_request is not None:  # a savepoint may have been rolled back, or a joined transaction
            publishing.attempt(file_request)
