"""What a plan asks the database: where keys end, and how they are spread. It sorts and compares them itself."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC
from typing import Any

from sqlalchemy import (
    Boolean,
    ColumnElement,
    Connection,
    DateTime,
    Select,
    Subquery,
    TypeDecorator,
    cast,
    column,
    func,
    literal,
    or_,
    select,
)

from bgtasks.database import later
from bgtasks.errors import ImproperlyConfigured
from bgtasks.items.counting import alike
from bgtasks.parts.narrowing import bound

#: Keys that are looked at: the more, the more equal are the parts. 200 of a part are 7 % off, one time in three.
SAMPLE, SAMPLE_OF_PART = 10_000, 200
#: What the key is called in a subquery, and what is said of it there.
NAME, BEYOND = "bgtasks_part_key", "bgtasks_beyond"


@dataclass(frozen=True)
class Sample:
    """Some of the keys, and how often each was found, as the database sorts them."""

    keys: tuple[tuple[Any, int], ...]
    nulls: int  #: all rows that have no key


def now(connection: Connection, until: ColumnElement[Any]) -> Any:
    """The database's clock, as a column of times would have it: without a zone, it is the session's, or SQLite's UTC.

    Raises: ImproperlyConfigured, where the column has no times.
    """
    kind = until.type
    if not isinstance(kind, DateTime | TypeDecorator):
        raise ImproperlyConfigured(f"part_until is a column of times, and {until} is declared as {kind!r}")
    aware = isinstance(kind, TypeDecorator) or kind.timezone
    if connection.dialect.name == "postgresql":
        return connection.execute(select(cast(later(), DateTime(timezone=aware)))).scalar_one()
    moment = connection.execute(select(later())).scalar_one()
    return moment.replace(tzinfo=UTC) if aware else moment


def highest(connection: Connection, source: Select[Any], key: ColumnElement[Any]) -> Any:
    """The last key; None: no row has one."""
    # Not max(), which uuid and boolean have not.
    found = _found(key)
    statement = select(found).select_from(_keys(source.where(key.is_not(None)), key)).order_by(found.desc()).limit(1)
    return connection.execute(alike(statement, source)).scalar_one_or_none()


def sample(connection: Connection, source: Select[Any], key: ColumnElement[Any], rate: float, top: Any) -> Sample:
    """So much of the keys, by one look at all of them.

    :param rate: of 1; 1 and more: all.
    :param top: the last key, which it is checked against; None: any key may be the last.
    Raises: ImproperlyConfigured, where the last key is not what its type has made of it.
    """
    beyond = literal(value=False) if top is None else key > bound(top, key)
    chosen = or_(key.is_(None), beyond, _some(connection.dialect.name, rate)) if rate < 1 else literal(value=True)
    found, is_beyond = _found(key), column(BEYOND, Boolean)
    counted = select(found, func.count(), found.is_(None), is_beyond).group_by(found, is_beyond).order_by(found)
    statement = counted.select_from(_keys(source.where(chosen), key, beyond.label(BEYOND)))
    rows = connection.execute(alike(statement, source)).all()
    if any(is_beyond for *_, is_beyond in rows):
        raise ImproperlyConfigured(f"part_key: {key.type!r} does not give its values as the database has them")
    nulls = sum(count for _, count, is_null, _ in rows if is_null)
    return Sample(tuple((value, count) for value, count, is_null, _ in rows if not is_null), nulls)


def _keys(source: Select[Any], key: ColumnElement[Any], *others: ColumnElement[Any]) -> Subquery:
    return source.order_by(None).add_columns(key.label(NAME), *others).subquery()


def _found(key: ColumnElement[Any]) -> ColumnElement[Any]:
    """The key in a subquery; by its name alone, since two others may have one name there."""
    return column(NAME, key.type)


def _some(dialect: str, rate: float) -> ColumnElement[bool]:
    """What holds for so many of the rows."""
    if dialect == "postgresql":
        return func.random() < rate
    # Any 64-bit integer: abs() of the lowest is an error.
    return func.random() < int((rate - 0.5) * 2**64)
