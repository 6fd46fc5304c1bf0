"""What a column of an application's own Arrow data is, by its Arrow type."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types

from bgtasks.items.rows import Kind
from bgtasks.items.vectors import Convert, Vector, as_date, as_datetime, as_moment, as_time, cast

TEXT = pa.string()
DOUBLE = pa.float64()


def vector(kind: pa.DataType) -> Vector:
    """How such a column is read."""
    if types.is_dictionary(kind):
        return _unpacked(vector(kind.value_type), lambda array: array.dictionary_decode())
    if types.is_run_end_encoded(kind):
        return _unpacked(vector(kind.value_type), pc.run_end_decode)
    if types.is_timestamp(kind):
        return Vector(Kind.DATETIME, as_datetime) if kind.tz is None else Vector(Kind.MOMENT, as_moment)
    if types.is_duration(kind):
        return Vector(Kind.OTHER, cast(pa.duration("us")))
    return next((made for fits, made in _BY_TYPE if fits(kind)), Vector(Kind.OTHER))


def _unpacked(inner: Vector, unpack: Convert) -> Vector:
    convert = inner.convert
    return replace(inner, convert=unpack if convert is None else lambda array: convert(unpack(array)))


def _is_narrow_decimal(kind: pa.DataType) -> bool:
    return bool(types.is_decimal(kind) and kind.bit_width <= 128 and kind.scale >= 0)


def _as_decimal(array: pa.Array) -> pa.Array:
    return array.cast(pa.decimal128(array.type.precision, array.type.scale))


_BY_TYPE: tuple[tuple[Callable[[pa.DataType], bool], Vector], ...] = (
    (lambda kind: types.is_string(kind) or types.is_large_string(kind), Vector(Kind.TEXT)),
    (lambda kind: types.is_string_view(kind) or types.is_null(kind), Vector(Kind.TEXT, cast(TEXT))),
    (types.is_integer, Vector(Kind.INTEGER)),
    (types.is_float64, Vector(Kind.FLOAT)),
    (types.is_floating, Vector(Kind.FLOAT, cast(DOUBLE))),
    (types.is_boolean, Vector(Kind.BOOLEAN)),
    (_is_narrow_decimal, Vector(Kind.DECIMAL, _as_decimal)),
    (types.is_date, Vector(Kind.DATE, as_date)),
    (types.is_time, Vector(Kind.TIME, as_time)),
)
