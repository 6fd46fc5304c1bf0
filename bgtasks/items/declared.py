"""What a select's columns are by their SQLAlchemy types, for a format whose columns have types."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    Boolean,
    Column,
    CompoundSelect,
    Date,
    DateTime,
    Float,
    Integer,
    Numeric,
    SelectBase,
    Time,
    TypeDecorator,
)
from sqlalchemy.types import TypeEngine

from bgtasks.items.columns import Choice
from bgtasks.items.rows import Kind
from bgtasks.tables import UtcDateTime

_KINDS: tuple[tuple[type[TypeEngine[Any]], Kind], ...] = (
    (Boolean, Kind.BOOLEAN),
    (Integer, Kind.INTEGER),
    (Date, Kind.DATE),
)


def kinds(source: SelectBase, choice: Choice, width: int, dialect: str) -> tuple[Kind, ...]:
    """The kinds of the chosen columns, where their types tell; OTHER, where they do not.

    :param width: how many columns the rows have.
    """
    return tuple(choice.of([_kind(getattr(column, "type", None), dialect) for column in _columns(source, width)]))


def decimals(source: SelectBase, choice: Choice, width: int) -> dict[int, tuple[int, int]]:
    """Precision and scale of those that are tables': what is computed of them may have more digits."""
    found = enumerate(choice.of(list(map(_decimal, _columns(source, width)))))
    return {number: decimal for number, decimal in found if decimal is not None}


def _columns(source: SelectBase, width: int) -> Sequence[Any]:
    """Those of the rows; a text among them is not counted, and then nothing is known of any."""
    columns = list(source.subquery().c if isinstance(source, CompoundSelect) else source.selected_columns)
    return columns if len(columns) == width else [None] * width


def _kind(of: TypeEngine[Any] | None, dialect: str) -> Kind:
    if isinstance(of, TypeDecorator):
        return Kind.MOMENT if isinstance(of, UtcDateTime) else Kind.OTHER
    if isinstance(of, DateTime):
        return Kind.MOMENT if of.timezone and dialect != "sqlite" else Kind.DATETIME
    if isinstance(of, Time):
        return Kind.OTHER if of.timezone else Kind.TIME
    if isinstance(of, Float):  # before Numeric, which it is one of in SQLAlchemy 2.0
        return Kind.OTHER if of.asdecimal else Kind.FLOAT
    if isinstance(of, Numeric):
        return Kind.DECIMAL if of.asdecimal else Kind.OTHER
    return next((kind for known, kind in _KINDS if isinstance(of, known)), Kind.OTHER)


def _decimal(column: Any) -> tuple[int, int] | None:
    """Wide enough for all of the tables' columns whose values it has, which are several in a union."""
    known = [_of_table(base) for base in getattr(column, "base_columns", [None])]
    sure = [decimal for decimal in known if decimal is not None]
    if not sure or len(sure) < len(known):
        return None
    scale = max(scale for _, scale in sure)
    return max(precision - scale for precision, scale in sure) + scale, scale


def _of_table(column: Any) -> tuple[int, int] | None:
    of = getattr(column, "type", None)
    if not isinstance(column, Column) or not isinstance(of, Numeric) or isinstance(of, Float) or not of.asdecimal:
        return None
    return None if of.precision is None or of.scale is None else (of.precision, of.scale)
