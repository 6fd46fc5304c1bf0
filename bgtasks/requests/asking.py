"""How a request comes into the record."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, cast

from sqlalchemy import ColumnElement, Float, and_, bindparam, or_, select, update
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.orm import Session

from bgtasks.database import later
from bgtasks.errors import BgtasksError, TransientError
from bgtasks.history import log
from bgtasks.locales import in_force
from bgtasks.models import FileRequest
from bgtasks.requests.changes import ITS_ID, ROW, Change
from bgtasks.requests.room import see_room, take_turn
from bgtasks.requests.writer import Writer, failed
from bgtasks.states import LIVE, EventKind, State

#: How often an insert is tried while those that were in its way keep ending.
TRIES = 10


class Asking(Writer):
    """Storing what is asked for."""

    def insert(
        self, new: dict[str, Any], *, scheduled: bool, fault: BgtasksError | None = None, most: int | None = None
    ) -> FileRequest:
        """Store a request, or find the one that answers for it.

        That is the one with the same id (a message may come twice), or else with the same ``idempotency_key``,
        or else the fresh one with the same ``coalesce_key``.

        :param scheduled: whether its chain, or of a failed one the telling, will be published.
        :param fault: what is wrong with it: it is stored as failed, and holds no keys.
        :param most: how many live requests its requester may have of this type.
        Raises: TooManyActive.
        """
        if fault is not None:
            keyless = {"idempotency_key": None, "coalesce_key": None}
            with in_force(new.get("language"), new.get("timezone")):
                new = {**new, **failed(fault.error_code, fault.told()), **keyless}
        elif most is None and not new.get("coalesce_key") and (inserted := self._inserted_at_once(new, scheduled)):
            return inserted
        with self._database.writing() as session:
            return self.insert_with(session, new, scheduled=scheduled, most=most)

    def _inserted_at_once(self, new: dict[str, Any], scheduled: bool) -> FileRequest | None:
        """A new request whose room nobody has to see to, in one statement; None: another one answers for it."""
        patience = {"patience": float(self._settings.patience)} if scheduled else {}
        storing = _storing(tuple(new), scheduled, self._database.engine.dialect.name)
        given = {f"new_{name}": value for name, value in new.items() if name != "id"}
        return storing.make(self._database, new["id"], **given, **patience)

    def insert_with(
        self, session: Session, new: dict[str, Any], *, scheduled: bool, most: int | None = None
    ) -> FileRequest:
        """The same within the caller's transaction, which goes on after a conflict or a refusal."""
        if most is not None:
            take_turn(session, new["requester"], new["file_type"])
        for _ in range(TRIES):
            _release(session, new.get("coalesce_key"))
            inserted = _inserted(session, {**new, **self._waiting(scheduled)})
            if inserted is not None:
                if most is not None:
                    see_room(session, inserted, most)
                _log(session, inserted)
                return inserted
            if (found := _answering(session, new)) is not None:
                return found
        raise TransientError


@functools.cache
def _storing(names: Sequence[str], scheduled: bool, dialect: str) -> Change:
    """The storing of a new request, in a statement that is prepared once.

    :param names: the columns that are given.
    """
    given = {name: bindparam(f"new_{name}", type_=ROW.c[name].type) for name in names}
    waiting = later(bindparam("patience", type_=Float())) if scheduled else None
    values = {**_DEFAULTS, **given, "id": ITS_ID, "dispatch_at": waiting}
    return Change(_insert(dialect)(ROW).values(values).on_conflict_do_nothing(), (EventKind.REQUESTED,))


#: A statement within another one has no defaults of its own.
_DEFAULTS = {column.name: cast("Any", column.default).arg for column in ROW.columns if column.default is not None}


def _insert(dialect: str) -> Any:
    return postgresql_insert if dialect == "postgresql" else sqlite_insert


def _inserted(session: Session, values: dict[str, Any]) -> FileRequest | None:
    dialect = session.get_bind(FileRequest).dialect.name
    # ON CONFLICT rather than a look first, or an error: the caller's transaction must not break. And with no
    # target, since each of the unique indexes may be in the way.
    statement = _insert(dialect)(FileRequest).values(values).on_conflict_do_nothing()
    return _own(session, session.scalars(statement.returning(FileRequest)).one_or_none())


def _answering(session: Session, new: dict[str, Any]) -> FileRequest | None:
    """The request that was in the way; None: it has gone meanwhile."""
    for same in _same(new):
        query = select(FileRequest).where(same).execution_options(populate_existing=True)
        if (found := session.scalars(query).one_or_none()) is not None:
            return _own(session, found)
    return None


def _same(new: dict[str, Any]) -> list[ColumnElement[bool]]:
    """What makes another request answer for this one, the strongest first."""
    same = [FileRequest.id == new["id"]]
    if key := new.get("idempotency_key"):
        asker = FileRequest.requester == new["requester"], FileRequest.file_type == new["file_type"]
        same.append(and_(*asker, FileRequest.idempotency_key == key))
    if key := new.get("coalesce_key"):
        same.append(and_(FileRequest.coalesce_key == key, _is_fresh()))
    return same


def _release(session: Session, coalesce_key: str | None) -> None:
    """Take the key from a request that is over, though nobody has written so yet: its time is up, say."""
    if coalesce_key:
        stale = FileRequest.coalesce_key == coalesce_key, ~_is_fresh()
        session.execute(
            update(FileRequest).where(*stale).values(coalesce_key=None),
            execution_options={"synchronize_session": False},
        )


def _is_fresh() -> ColumnElement[bool]:
    lasts = or_(FileRequest.expires_at.is_(None), FileRequest.expires_at > later())
    return or_(FileRequest.state.in_(LIVE), and_(FileRequest.state == State.READY, lasts))


def _own(session: Session, row: FileRequest | None) -> FileRequest | None:
    """The row, as nothing that the caller's session would flush or expire: it is ours to write."""
    if row is not None:
        session.expunge(row)
    return row


def _log(session: Session, inserted: FileRequest) -> None:
    log(session, inserted, EventKind.REQUESTED)
    if inserted.state == State.FAILED:
        log(session, inserted, EventKind.FAILED, detail=inserted.error_code)
