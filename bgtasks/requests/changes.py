"""A change of a request: one statement, together with what the history tells of it.

PostgreSQL does a change in one statement, and so in one round trip; SQLite, which has no such statement and no
network, in a transaction of two. What each step needs is built and compiled once (``bgtasks.prepared``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Insert,
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
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import class_mapper, make_transient_to_detached

from bgtasks import tallies
from bgtasks.database import Database, later
from bgtasks.models import COLUMNS, Event, FileRequest
from bgtasks.prepared import Prepared
from bgtasks.states import EventKind

ROW = cast("Table", FileRequest.__table__)
ENTRY = cast("Table", Event.__table__)

#: Bound when a change is made: the request's id, its fence as it was seen, and who holds it.
ITS_ID = bindparam("its_id", type_=ROW.c.id.type)
ITS_FENCE = bindparam("its_fence", type_=ROW.c.fence.type)
OWNER = bindparam("owner", type_=ROW.c.leased_by.type)
#: Bound where the history is a statement of its own: the fence that the change has left.
NEW_FENCE = bindparam("new_fence", type_=ROW.c.fence.type)


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
        self._known: dict[str, list[Prepared]] = {}

    def make(self, database: Database, request_id: str, **bound: Any) -> FileRequest | None:
        """The row after the change, or None where there was none to write. For a change that is kept.

        :param bound: the values of the statement's own parameters.
        """
        given = {ITS_ID.key: request_id, **bound}
        writing, *telling = self._prepared(database.engine.dialect, tuple(given))
        with database.prepared() as driver:
            changed = driver.execute(writing, given)
            if changed is not None:
                for entry in telling:
                    driver.execute(entry, {**given, NEW_FENCE.key: changed["fence"]})
        return None if changed is None else self._made(_restored(changed))

    def make_once(self, database: Database, request_id: str, **bound: Any) -> FileRequest | None:
        """The same, for a change that was built for this request: SQLAlchemy knows statements that look alike."""
        given = {ITS_ID.key: request_id, **bound}
        writing, *telling = self._statements(database.is_postgresql)
        with database.one_statement() if database.is_postgresql else database.one_transaction() as connection:
            changed = connection.execute(writing, given).mappings().one_or_none()
            if changed is not None:
                known = {**given, NEW_FENCE.key: changed["fence"]}
                for entry in telling:
                    connection.execute(entry, {name: known[name] for name in self._told_of})
        return None if changed is None else self._made(_restored(changed))

    def _made(self, row: FileRequest) -> FileRequest:
        """The row, once the change is committed."""
        for kind in self._events:
            tallies.happened(kind, row, self._entry.get("detail"))
        return row

    def _prepared(self, dialect: Dialect, given: tuple[str, ...]) -> list[Prepared]:
        """The statements for one kind of database; compiled once."""
        if (known := self._known.get(dialect.name)) is None:
            writing, *telling = self._statements(dialect.name == "postgresql")
            entries = [Prepared(entry, (*given, NEW_FENCE.key), (), dialect) for entry in telling]
            known = self._known[dialect.name] = [Prepared(writing, given, ROW.c, dialect), *entries]
        return known

    def _statements(self, is_postgresql: bool) -> list[Any]:
        """What is executed one after the other; the first returns the row."""
        if is_postgresql:
            return [self._as_one_statement]
        values = {"request_id": ITS_ID, "fence": NEW_FENCE, **self._entry}
        return [self._returning, *(insert(ENTRY).values(kind=kind, **values) for kind in self._events)]

    @property
    def _told_of(self) -> list[str]:
        """The parameters of an entry in the history: of others an INSERT of SQLAlchemy's wants no values."""
        own = (value.key for value in self._entry.values() if isinstance(value, BindParameter))
        return [ITS_ID.key, NEW_FENCE.key, *own]

    @property
    def _returning(self) -> Any:
        return self._writing.returning(*ROW.c)

    @property
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


def _restored(found: Mapping[Any, Any]) -> FileRequest:
    """What a session would have given, once it was closed."""
    row: FileRequest = class_mapper(FileRequest).class_manager.new_instance()
    row.__dict__.update({name: found[name] for name in COLUMNS})
    make_transient_to_detached(row)
    return row
