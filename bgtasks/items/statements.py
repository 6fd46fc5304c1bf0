"""A select as a driver without SQLAlchemy takes it: SQL with numbered places, their values, the columns' types."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, cast
from uuid import UUID

from sqlalchemy import Boolean, Dialect, Enum, Executable, Float, LargeBinary, Numeric, SelectBase
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.types import TypeEngine

Bind = Callable[[Any], Any]
INT64 = 2**63
#: Types of parameters that SQLAlchemy does not cast: both drivers say the same of their values, or PostgreSQL refuses.
ALIKE = (Boolean, Enum, Float, LargeBinary, Numeric)


@dataclass(frozen=True)
class Statement:
    """A select, compiled."""

    sql: str
    parameters: tuple[Any, ...]  #: never in the text
    types: tuple[TypeEngine[Any], ...]  #: of its columns


def compiled(source: SelectBase, dialect: Dialect) -> Statement | None:
    """The select for a dialect; None, if a value of it can't be bound surely, or if its schemas have other names.

    :param dialect: one of numbered parameters (``numeric_dollar``).
    """
    if translated_schemas(source):  # only SQLAlchemy itself puts their names in
        return None
    made = source.compile(dialect=dialect)
    if not isinstance(made, SQLCompiler) or made.literal_execute_params or not _is_ordered(made):
        return None
    state = made.construct_expanded_state(escape_names=False)
    binds = {name: _bind_processor(bind.type, dialect) for name, bind in made.binds.items()} | dict(state.processors)
    untyped = _untyped(made, state.parameter_expansion, dialect)
    try:
        parameters = tuple(
            _bound(state.parameters[name], binds.get(name), name not in untyped) for name in state.positiontup or ()
        )
    except _Unsure:
        return None
    return Statement(state.statement, parameters, tuple(entry.type for entry in made._result_columns))  # noqa: SLF001


def translated_schemas(source: SelectBase) -> Mapping[Any, Any] | None:
    """What the select's own execution options call its schemas: often one for each customer."""
    options: Mapping[str, Any] = cast("Executable", source).get_execution_options()
    return options.get("schema_translate_map")


class _Unsure(Exception):
    """Nobody knows that this value is bound as SQLAlchemy's own driver does it."""


def _is_ordered(made: SQLCompiler) -> bool:
    """Whether the columns come as the select names them, by which SQLAlchemy too knows their types."""
    return bool(made._ordered_columns or made._textual_ordered_columns)  # noqa: SLF001


def _bind_processor(kind: TypeEngine[Any], dialect: Dialect) -> Bind | None:
    return kind.dialect_impl(dialect).bind_processor(dialect)


def _untyped(made: SQLCompiler, expansion: Mapping[str, Sequence[str]], dialect: Dialect) -> set[str]:
    """The parameters whose type only the driver says: psycopg leaves it to PostgreSQL what a text is, ADBC does not.

    ``citext = text`` finds other rows than ``citext = citext``.

    :param expansion: the names of what stands for a list of values.
    """
    found = {name for name, bind in made.binds.items() if not _is_typed(bind.type, dialect)}
    return found.union(*(expansion.get(name, ()) for name in found))


def _is_typed(kind: TypeEngine[Any], dialect: Dialect) -> bool:
    bare = kind._unwrapped_dialect_impl(dialect)  # noqa: SLF001
    return bare.render_bind_cast or isinstance(bare, ALIKE)


def _bound(value: Any, process: Any, is_typed: bool) -> Any:
    value = process(value) if callable(process) else value
    certain = _CERTAIN.get(type(value))
    if certain is None or not certain(value) or not (is_typed or value is None):
        raise _Unsure
    if type(value) is UUID:
        return str(value)  # its place is cast: PostgreSQL reads it as psycopg's
    return value.astimezone(UTC) if type(value) is datetime and value.tzinfo is not None else value


def _is_exact(value: Decimal) -> bool:
    """Whether the driver keeps its digits: it drops zeros at the end, which PostgreSQL would show."""
    digits: Sequence[int] = value.as_tuple().digits
    return (
        value.is_finite()
        and len(digits) <= 38
        and value.as_tuple().exponent in range(-38, 1)
        and (value.as_tuple().exponent == 0 or digits[-1] != 0)
    )


#: The types that the driver binds as psycopg does, and which of their values.
_CERTAIN: dict[type, Callable[[Any], bool]] = {
    int: lambda value: -INT64 <= value < INT64,
    float: lambda _: True,
    str: lambda _: True,
    bool: lambda _: True,
    type(None): lambda _: True,
    bytes: lambda _: True,
    date: lambda _: True,
    datetime: lambda _: True,
    Decimal: _is_exact,
    UUID: lambda _: True,
}
