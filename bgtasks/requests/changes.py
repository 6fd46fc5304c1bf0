"""A change of a request, prepared: one statement, together with what the history tells of it.

What each step needs is built and compiled once. PostgreSQL does a change in one statement, and so in one
round trip; SQLite, which has no such statement and no network, in a transaction of two.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any, cast

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Connection,
    Insert,
    RowMapping,
    Select,
    Table,
    Update,
    bindparam,
    func,
    insert,
    literal,
    select,
    union_all,
    update,
)
from sqlalchemy.orm import make_transient_to_detached

from bgtasks.database import Database, later
from bgtasks.models import COLUMNS, Event, FileRequest
from bgtasks.states import EventKind

ROW = cast("Table", FileRequest.__table__)
ENTRY = cast("Table", Event.__table__)

#: Bound when a change is made: the request's id, its fence as it was seen, and who holds it.
ITS_ID = bindparam("its_id", type_=ROW.c.id.type)
ITS_FENCE = bindparam("its_fence", type_=ROW.c.fence.type)
OWNER = bindparam("owner", type_=ROW.c.leased_by.type)


class Change:
    """One statement that writes a request, and what it leaves in the history.

    :param writing: what inserts or updates one row at most.
    :param events: what to tell in the history, if a row was written.
    :param durable: whether it must outlast a crash of the database that comes right afterwards. False spares
        PostgreSQL a wait for its disk: for what would merely be done once more.
    :param entry: ``step``, ``actor`` and ``detail`` of the events, where they have them.
    """

    def __init__(
        self, writing: Insert | Update, events: Sequence[EventKind] = (), *, durable: bool = True, **entry: Any
    ) -> None:
        self._writing = writing
        self._events = events
        self._durable = durable
        self._entry = {"step": "", **entry}

    def make(self, database: Database, request_id: str, **bound: Any) -> FileRequest | None:
        """The row after the change, or None where there was none to write.

        :param bound: the values of the statement's own parameters.
        """
        given = {ITS_ID.key: request_id, **bound}
        if database.is_postgresql:
            with database.one_statement() as connection:
                return _only(connection, self._as_one_statement, given)
        with database.one_transaction() as connection:
            changed = _only(connection, self._returning, given)
            if changed is not None:
                self._tell(connection, {**given, "new_fence": changed.fence})
            return changed

    def _tell(self, connection: Connection, given: Mapping[str, Any]) -> None:
        for telling in self._tellings:
            connection.execute(telling, {name: given[name] for name in self._told_of})

    @functools.cached_property
    def _returning(self) -> Any:
        return self._writing.returning(*ROW.c)

    @functools.cached_property
    def _tellings(self) -> list[Insert]:
        values = {"request_id": ITS_ID, "fence": bindparam("new_fence"), **self._entry}
        return [insert(ENTRY).values(kind=kind, **values) for kind in self._events]

    @functools.cached_property
    def _told_of(self) -> list[str]:
        """The parameters of an entry in the history."""
        own = (value.key for value in self._entry.values() if isinstance(value, BindParameter))
        return [ITS_ID.key, "new_fence", *own]

    @functools.cached_property
    def _as_one_statement(self) -> Select[Any]:
        changed = self._returning.cte("changed")
        told = [self._told(kind, changed.c) for kind in self._events]
        # The setting holds for this statement's own transaction.
        hasty = () if self._durable else (func.set_config("synchronous_commit", "off", True).label("hasty"),)
        made = select(*changed.c, *hasty)
        if not told:
            return made
        names = ["request_id", "at", "kind", "fence", *self._entry]
        return made.add_cte(insert(ENTRY).from_select(names, union_all(*told), include_defaults=False).cte("told"))

    def _told(self, kind: EventKind, changed: Any) -> Select[Any]:
        entry = (_typed(name, value) for name, value in self._entry.items())
        return select(changed.id, later(), literal(str(kind)), changed.fence, *entry)


def changing(*guards: ColumnElement[bool], values: Mapping[str, Any]) -> Update:
    """A compare-and-set.

    :param guards: what must hold of the row, beside its id.
    :param values: the columns to set.
    """
    return update(ROW).where(ROW.c.id == ITS_ID, *guards).values(dict(values))


def _typed(name: str, value: Any) -> ColumnElement[Any]:
    return value if isinstance(value, ColumnElement) else literal(value, ENTRY.c[name].type)


def _only(connection: Connection, statement: Any, given: Mapping[str, Any]) -> FileRequest | None:
    found = connection.execute(statement, given).mappings().one_or_none()
    return None if found is None else _restored(found)


def _restored(found: RowMapping) -> FileRequest:
    """What a session would have given, once it was closed."""
    row = FileRequest(**{name: found[name] for name in COLUMNS})
    make_transient_to_detached(row)
    return row
