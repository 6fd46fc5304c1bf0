"""What one value becomes in JSON, where msgspec does not know it or would write it otherwise.

Texts, booleans, dates, UUIDs, bytes (base64) and intervals (ISO 8601) are msgspec's own, and so are NaN and the
infinities (null: JSON has none). Integers are whole, of any size. Decimals are texts, since most programs read
numbers as doubles. Aware times are in the requester's zone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, time, timedelta, tzinfo
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

import msgspec

from bgtasks.formats.cells import INTEGER_BITS, Cells, by_ancestor, local, unchanged
from bgtasks.formats.offsets import EPOCH, Offsets

#: Integers below it are written by msgspec, and by Python.
LARGE = 1 << (INTEGER_BITS - 1)
#: What the offsets of JSON's times are made of: some of before 1972 have seconds too, which msgspec would cut.
MINUTE = timedelta(minutes=1)


class JsonValues:
    """Called with a value, gives what msgspec shall write.

    :param zone: where aware times are shown.
    """

    def __init__(self, zone: tzinfo) -> None:
        self._zone = zone
        self._offsets = Offsets(zone)
        self._text = Cells(zone, unchanged)
        self._by_type: dict[type, Callable[[Any], Any]] = {
            str: "".join,  # of a subclass, which msgspec does not know, the text
            bool: bool,
            int: _integer,
            float: float,
            type(None): lambda value: value,
            Decimal: _decimal,
            datetime: self._datetime,
            date: date.isoformat,
            time: time.isoformat,
            timedelta: lambda value: timedelta(value.days, value.seconds, value.microseconds),
            UUID: str,
            bytes: bytes,
            bytearray: bytes,
            memoryview: bytes,
            dict: self._object,
            list: self._array,
            tuple: self._array,
        }
        #: Columns of one type and of missing values; those that are not here are converted one by one.
        self._columns: dict[type, Callable[[Sequence[Any]], Sequence[Any]]] = {
            **dict.fromkeys([str, bool, float, date, timedelta, UUID, bytes, type(None)], _same),
            int: self._integers,
            Decimal: lambda values: [value if value is None else _decimal(value) for value in values],
            datetime: self._datetimes,
        }

    def __call__(self, value: Any) -> Any:
        convert = self._by_type.get(type(value))
        if convert is None:
            convert = self._by_type[type(value)] = self._by_ancestor(type(value))
        return convert(value)

    def column(self, values: Sequence[Any]) -> Sequence[Any]:
        """The same of many values: most columns have values of one type."""
        kinds = set(map(type, values))
        if len(kinds) > 1:
            kinds.discard(type(None))
        convert = self._columns.get(kinds.pop(), self._each) if len(kinds) == 1 else self._each
        return convert(values)

    def _by_ancestor(self, kind: type) -> Callable[[Any], Any]:
        """What an unlisted type is written as: an Enum as its value, a subclass as its base, else ``str()``."""
        if issubclass(kind, Enum):
            return lambda value: self(value.value)
        return by_ancestor(self._by_type, kind) or str

    def _each(self, values: Sequence[Any]) -> Sequence[Any]:
        return list(map(self, values))

    def _integers(self, values: Sequence[Any]) -> Sequence[Any]:
        numbers = [value for value in values if value is not None]
        return values if min(numbers) > -LARGE and max(numbers) < LARGE else self._each(values)

    def _datetimes(self, values: Sequence[Any]) -> Sequence[Any]:
        zones = {value.tzinfo for value in values if value is not None}
        if None in zones:
            return values if len(zones) == 1 else self._each(values)
        return [value if value is None else self._moment(value) for value in values]

    def _moment(self, value: datetime) -> Any:
        since = value - EPOCH
        offset = self._offsets[since.days]
        return offset.aware + since if offset and not offset.length % MINUTE else self._datetime(value)

    def _datetime(self, value: datetime) -> Any:
        """ISO 8601, with ``Z`` for UTC, as msgspec has it."""
        text = local(value, self._zone).isoformat()
        return text.removesuffix("+00:00") + "Z" if text.endswith("+00:00") else text

    def _array(self, values: Sequence[Any]) -> list[Any]:
        return [self(value) for value in values]

    def _object(self, values: Mapping[Any, Any]) -> dict[str, Any]:
        return {str(self._text(key)): self(value) for key, value in values.items()}


def _same(values: Sequence[Any]) -> Sequence[Any]:
    return values


def _integer(value: int) -> Any:
    return int(value) if value.bit_length() < INTEGER_BITS else msgspec.Raw(_decimal(Decimal(value)).encode())


def _decimal(value: Decimal) -> str:
    return format(value, "f")
