"""A select as a driver without SQLAlchemy takes it: SQL, the values of its numbered places, the columns' types."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from psycopg import Binary
from sqlalchemy import Boolean, Dialect, Enum, Float, LargeBinary, Numeric, SelectBase
from sqlalchemy.sql.compiler import ExpandedState, SQLCompiler
from sqlalchemy.types import TypeEngine

from bgtasks.items import literals
from bgtasks.items.counting import translated_schemas

Bind = Callable[[Any], Any]
INT64 = 2**63
#: Types of parameters that SQLAlchemy does not cast: both drivers say the same of their values, or PostgreSQL refuses.
ALIKE = (Boolean, Enum, Float, LargeBinary, Numeric)


@dataclass(frozen=True)
class Statement:
    """A select, compiled."""

    sql: str
    parameters: tuple[Any, ...]  #: all of them, if there is a text or bytes among them; else none: they are in the SQL
    types: tuple[TypeEngine[Any], ...]  #: of its columns


def compiled(source: SelectBase, dialect: Dialect) -> Statement | None:
    """The select for a dialect; None, if a value of it can't be bound surely, or if its schemas have other names.

    PostgreSQL's COPY takes no parameters: numbers, times and the like are written into the SQL. Not where there is a
    text among them: the server's log has the SQL of whatever fails, and a text may be a name. (What has the same value
    at several places is one expression there, and several to psycopg, which may refuse to group by it.)

    :param dialect: psycopg's.
    """
    if translated_schemas(source):  # only SQLAlchemy itself puts their names in
        return None
    made = source.compile(dialect=dialect)
    if not isinstance(made, SQLCompiler) or made.literal_execute_params or not _is_ordered(made):
        return None
    types = tuple(entry.type for entry in made._result_columns)  # noqa: SLF001
    state = made.construct_expanded_state()
    places = _Places()
    numbered = state.statement % places
    try:
        values = _values(made, state, dialect, places)
    except _Unsure:
        return None
    written = {name: literals.literal(value) for name, value in values.items()}
    if None in written.values():
        return Statement(numbered, tuple(map(_of_arrow, values.values())), types)
    return Statement(state.statement % written, (), types)


class _Places(dict[str, str]):
    """``$1`` and so on, in the order in which the names are first met."""

    def __missing__(self, name: str) -> str:
        self[name] = f"${len(self) + 1}"
        return self[name]


class _Unsure(Exception):
    """Nobody knows that this value is bound as SQLAlchemy's own driver does it."""


def _is_ordered(made: SQLCompiler) -> bool:
    """Whether the columns come as the select names them, by which SQLAlchemy too knows their types."""
    return bool(made._ordered_columns or made._textual_ordered_columns)  # noqa: SLF001


def _values(made: SQLCompiler, state: ExpandedState, dialect: Dialect, names: Iterable[str]) -> dict[str, Any]:
    """What psycopg would be given for each name."""
    own = {escaped: name for name, escaped in made.escaped_bind_names.items()}
    processes = {name: _bind_processor(bind.type, dialect) for name, bind in made.binds.items()}
    processes |= state.processors
    untyped = _untyped(made, state.parameter_expansion, dialect)

    def value(name: str) -> Any:
        known = own.get(name, name)
        return _bound(state.parameters[name], processes.get(known), known not in untyped)

    return {name: value(name) for name in names}


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
    value = value.obj if isinstance(value, Binary) else value
    certain = _CERTAIN.get(type(value))
    if certain is None or not certain(value) or not (is_typed or value is None):
        raise _Unsure
    return value


def _of_arrow(value: Any) -> Any:
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
