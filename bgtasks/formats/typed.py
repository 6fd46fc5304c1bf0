"""A column of one Arrow type, from Python's values or from Arrow's: nothing is cut, rounded or guessed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, datetime, time, tzinfo
from decimal import Decimal
from enum import Enum
from typing import Any

import pyarrow as pa

from bgtasks.errors import UnwritableValue
from bgtasks.formats.cells import Cells, by_ancestor, is_unicode, unchanged
from bgtasks.items import Kind
from bgtasks.locales import N_

TEXT, INTEGER, FLOAT, BOOLEAN, BYTES = pa.string(), pa.int64(), pa.float64(), pa.bool_(), pa.binary()
DATE, TIME, DATETIME, MOMENT = pa.date32(), pa.time64("us"), pa.timestamp("us"), pa.timestamp("us", tz="UTC")

_BY_KIND = {
    Kind.TEXT: TEXT,
    Kind.INTEGER: INTEGER,
    Kind.FLOAT: FLOAT,
    Kind.BOOLEAN: BOOLEAN,
    Kind.DATE: DATE,
    Kind.DATETIME: DATETIME,
    Kind.MOMENT: MOMENT,
    Kind.TIME: TIME,
}
INTEGERS = range(-(2**63), 2**63)
#: Arrow's 128 bits hold so many digits.
DIGITS = 38
#: Stands for Decimals of any precision and scale.
DECIMALS = pa.decimal128(DIGITS)
#: Python types that say it all.
_SURE = {
    type(None): None,
    str: TEXT,
    bool: BOOLEAN,
    float: FLOAT,
    Decimal: DECIMALS,
    date: DATE,
    bytes: BYTES,
    bytearray: BYTES,
    memoryview: BYTES,
}
#: What Arrow says of a value that is none of a type.
REFUSALS = (
    pa.ArrowInvalid,
    pa.ArrowTypeError,
    pa.ArrowNotImplementedError,
    TypeError,
    OverflowError,
    UnicodeEncodeError,
)


def declared(kind: Kind, decimal: tuple[int, int] | None) -> pa.DataType | None:
    """The type of a column of a kind; None: its values decide.

    :param decimal: the precision and the scale of decimals; None, or more than Arrow holds: they are texts.
    """
    if kind is Kind.DECIMAL:
        return pa.decimal128(*decimal) if decimal and 0 <= decimal[1] <= decimal[0] <= DIGITS else TEXT
    return _BY_KIND.get(kind)


def inferred(parts: Iterable[Sequence[Any]], kind: Kind, decimal: tuple[int, int] | None) -> pa.DataType:
    """The type of a column's values: text, where they have several, or one that Parquet has not.

    :param kind: what it is declared as, which decides where there are no values; ``decimal``: as for ``declared``.
    """
    types: set[pa.DataType | None] = set()
    for part in parts:
        python = set(map(type, part))
        types |= {_SURE[each] for each in python} if python <= _SURE.keys() else set(map(_type_of, part))
    types.discard(None)
    if types == {DECIMALS}:
        return declared(Kind.DECIMAL, decimal) or TEXT
    if types == {INTEGER, FLOAT}:
        return FLOAT
    if types:
        return types.pop() if len(types) == 1 else TEXT
    return declared(kind, decimal) or TEXT


class Typed:
    """Called with the parts of a column, one row group after the other.

    :param column: what a person knows it by.
    :param zone: of aware times among texts.
    """

    def __init__(self, of: pa.DataType, column: str | int, zone: tzinfo) -> None:
        self._type = of
        self._column = column
        self._text = Cells(zone, unchanged)
        self._accepted = {of, INTEGER} if of == FLOAT else {DECIMALS if pa.types.is_decimal(of) else of}
        self._sure = {kind for kind, known in _SURE.items() if known in (None, *self._accepted)}
        self._done = 0

    def __call__(self, parts: Iterable[Any]) -> pa.Array:
        """One Arrow array. Raises: UnwritableValue, for what the type does not hold."""
        return pa.concat_arrays(list(map(self._array, parts)))

    def _array(self, part: Any) -> pa.Array:
        try:
            made = self._converted(part)
        except REFUSALS:
            raise self._culprit(part) from None
        self._done += len(part)
        return made

    def _converted(self, part: Any) -> pa.Array:
        if not isinstance(part, pa.Array):
            return pa.array(part if self._fit(part) else list(map(self._fitting, part)), self._type)
        if pa.types.is_decimal(part.type) and self._type == TEXT:  # Arrow's own text may have an exponent
            return self._converted(part.to_pylist())
        return pa.concat_arrays([part]).cast(self._type)  # a slice of long texts needs its own beginning

    def _fit(self, values: Sequence[Any]) -> bool:
        """Whether one look tells that nothing has to be converted, and that Arrow won't convert anything."""
        kinds = set(map(type, values))
        if self._type in (DATETIME, MOMENT) and kinds <= {datetime, type(None)}:
            return {value.tzinfo is None for value in values if value is not None} <= {self._type == DATETIME}
        return kinds <= self._sure

    def _fitting(self, value: Any) -> Any:
        """The value, or its text. Raises: TypeError, where Arrow would make something else of it."""
        if self._type == TEXT:
            return None if value is None else str(self._text(value))
        if isinstance(value, Enum):
            return self._fitting(value.value)
        if value is None or _type_of(value) in self._accepted:
            return value
        raise TypeError

    def _culprit(self, part: Any) -> UnwritableValue:
        number = next(number for number in range(len(part)) if not self._is_convertible(part[number : number + 1]))
        [value] = part[number : number + 1]
        is_text = self._type == TEXT and not is_unicode(str(self._text(value)))
        fault = N_("A text is not valid Unicode") if is_text else N_("A value does not fit the type of its column")
        return UnwritableValue(fault, row=self._done + number + 1, column=self._column)

    def _is_convertible(self, part: Any) -> bool:
        try:
            self._converted(part)
        except REFUSALS:
            return False
        return True


def _type_of(value: Any) -> pa.DataType | None:
    if isinstance(value, Enum):
        return _type_of(value.value)
    if isinstance(value, datetime):
        return DATETIME if value.tzinfo is None else MOMENT
    if isinstance(value, time):
        return TIME if value.tzinfo is None else TEXT
    if isinstance(value, int) and not isinstance(value, bool):
        return INTEGER if value in INTEGERS else TEXT
    return by_ancestor(_SURE, type(value)) or (None if value is None else TEXT)
