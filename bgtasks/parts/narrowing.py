"""The select of one part: the same, with the rows of a range only."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy import ColumnElement, Float, Select, String, TypeDecorator, cast, literal, or_

from bgtasks.parts.keys import Key, column
from bgtasks.parts.ranges import Range


def narrowed(source: Select[Any], key: Key, range: Range, until: Key = None) -> Select[Any]:
    """The rows of a range, in the order of the whole.

    :param key: what ``plan`` was given; ``until`` too.
    Raises: ImproperlyConfigured, where the select has no such column.
    """
    wanted = list(conditions(column(source, key), range))
    if range.until is not None:
        wanted.append(in_time(column(source, until, "part_until"), range.until))
    return source.where(*wanted)


def in_time(moment: ColumnElement[Any], cut: Any) -> ColumnElement[bool]:
    """Whether a row is under a cut by time: one without a time is, as one writer would have it too."""
    return or_(moment.is_(None), moment <= bound(cut, moment))


def conditions(key: ColumnElement[Any], range: Range) -> Iterator[ColumnElement[bool]]:
    """What holds for the rows between the ends: plain comparisons, which an index on the key answers."""
    if range.nulls:
        yield key.is_(None)
    elif range.lower is None and range.upper is None:
        yield key.is_not(None)
    if range.lower is not None:
        yield key >= bound(range.lower, key)
    if range.upper is not None:
        yield key <= bound(range.upper, key) if range.closed else key < bound(range.upper, key)


def bound(value: Any, key: ColumnElement[Any]) -> ColumnElement[Any]:
    """A value as the key's type stores it."""
    made = literal(value, key.type)
    return cast(made, key.type) if _is_cast(key.type) else made


def _is_cast(kind: Any) -> bool:
    """Whether PostgreSQL would compare with another type otherwise: real as double, char(n) and citext as text.

    Another comparison is another order, and no index. (A cast to a type with a collation is no SQL.)
    """
    bare = kind.impl_instance if isinstance(kind, TypeDecorator) else kind
    return isinstance(bare, Float) or (isinstance(bare, String) and bare.collation is None)
