"""What a select's columns are as Arrow, where they come from PostgreSQL through ADBC.

Only what is known to give the values that psycopg and SQLAlchemy give; for all else the rows are read as tuples.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

import psycopg
import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy import Dialect, Enum
from sqlalchemy.dialects.postgresql import ENUM

from bgtasks.items.rows import Kind
from bgtasks.items.vectors import Convert, Finish, Vector, as_date, as_datetime, as_moment, as_time
from bgtasks.tables import UtcDateTime

#: Where ADBC's driver puts PostgreSQL's name of a type.
TYPE_NAME = b"POSTGRESQL:type"


def vector(field: pa.Field, kind: Any, dialect: Dialect) -> Vector | None:
    """How a column is read; None, if it is not known to have the same values as a tuple.

    :param kind: SQLAlchemy's type.
    """
    name = (field.metadata or {}).get(TYPE_NAME, b"").decode()
    raw = _RAW.get((name, _stored(field.type))) or _text(field)
    if raw is None or (type(kind) is UtcDateTime and raw.kind is Kind.MOMENT):
        return raw
    if type(kind) in (Enum, ENUM) and kind.enum_class is None and raw.kind is Kind.TEXT:
        return replace(raw, convert=_one_of(kind.enums))
    process = kind.dialect_impl(dialect).result_processor(dialect, _code(name))
    if process is None:
        return raw
    # What a type of the application's makes of a time may be one without its zone, or none at all.
    return raw.finished(_each(process)) if raw.kind not in (Kind.MOMENT, Kind.DATETIME) else None


def _stored(kind: pa.DataType) -> pa.DataType:
    return kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind


def _text(field: pa.Field) -> Vector | None:
    """Whatever has no binary form of its own comes as text, to psycopg too: ``text``, an enum …"""
    if field.type != pa.string() or field.metadata[TYPE_NAME] == b"char":
        return None
    return Vector(Kind.TEXT)


def _code(name: str) -> int:
    """PostgreSQL's number for a type, by which SQLAlchemy knows what psycopg gives."""
    known = psycopg.postgres.types.get(name)
    return known.oid if known else 0


def _each(process: Callable[[Any], Any]) -> Finish:
    return lambda values: list(map(process, values))


def _one_of(known: Sequence[str]) -> Convert:
    """Texts that an Enum without a class lets through. Raises: LookupError, as that does."""

    def convert(array: pa.Array) -> pa.Array:
        if not pc.all(pc.is_in(array.drop_null(), pa.array(known)), min_count=0).as_py():
            raise LookupError("a value is none of the Enum's")
        return array

    return convert


def _as_decimal(array: pa.Array) -> pa.Array:
    texts = array.storage
    if pc.any(pc.match_substring(texts, "n")).as_py():
        texts = pc.replace_substring(pc.replace_substring(texts, "nan", "NaN"), "inf", "Infinity")
    return texts


def _as_double(array: pa.Array) -> pa.Array:
    """The double of the shortest digits, as psycopg reads them, and not of the same bits."""
    return array.cast(pa.string()).cast(pa.float64())


def _decimals(values: list[Any]) -> list[Any]:
    return [None if value is None else Decimal(value) for value in values]


def _from_json(values: list[Any]) -> list[Any]:
    return [None if value is None else json.loads(value) for value in values]


def _storage(array: pa.Array) -> pa.Array:
    return array.storage


_DOCUMENT = Vector(Kind.OTHER, _storage, _from_json)
#: By PostgreSQL's name of a type and Arrow's of what the driver makes of it.
_RAW = {
    ("int2", pa.int16()): Vector(Kind.INTEGER),
    ("int4", pa.int32()): Vector(Kind.INTEGER),
    ("int8", pa.int64()): Vector(Kind.INTEGER),
    ("float4", pa.float32()): Vector(Kind.FLOAT, _as_double),
    ("float8", pa.float64()): Vector(Kind.FLOAT),
    ("bool", pa.bool_()): Vector(Kind.BOOLEAN),
    ("numeric", pa.string()): Vector(Kind.DECIMAL, _as_decimal, _decimals),
    ("date", pa.date32()): Vector(Kind.DATE, as_date),
    ("timestamp", pa.timestamp("us")): Vector(Kind.DATETIME, as_datetime),
    ("timestamptz", pa.timestamp("us", tz="UTC")): Vector(Kind.MOMENT, as_moment),
    ("time", pa.time64("us")): Vector(Kind.TIME, as_time),
    ("uuid", pa.binary(16)): Vector(Kind.OTHER),
    ("bytea", pa.binary()): Vector(Kind.OTHER),
    ("json", pa.string()): _DOCUMENT,
    ("jsonb", pa.string()): _DOCUMENT,
}
