"""Which rows one part of a file has, as the record keeps it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Self
from uuid import UUID

from bgtasks.errors import ImproperlyConfigured


@dataclass(frozen=True)
class Range:
    """The rows of which the key is from ``lower`` up to ``upper``."""

    lower: Any = None  #: the first key that is in it; None: from the beginning
    upper: Any = None  #: the first key that is not in it any more, or, if it is closed, the last that is; None: no end
    closed: bool = False
    nulls: bool = False  #: the rows without a key, and only they: it has no ends then
    until: Any = None  #: of those, the rows of which ``part_until`` is not later than this; None: all

    def to_json(self) -> dict[str, Any]:
        """What JSON keeps without loss: each value with the name of its type.

        Raises: ImproperlyConfigured, for a value of another type than those that it knows.
        """
        values = {name: _tagged(value) for name in _VALUES if (value := getattr(self, name)) is not None}
        return values | {name: True for name in _FLAGS if getattr(self, name)}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """What ``to_json`` has made; of a moment, another zone may be left, with the same offset."""
        values = {name: _untagged(*stored[name]) for name in _VALUES if name in stored}
        return cls(**values, **{name: bool(stored.get(name)) for name in _FLAGS})


_VALUES = ("lower", "upper", "until")
_FLAGS = ("closed", "nulls")

#: By the name of a type: how its values are put into JSON, and read from it.
_TYPES: dict[str, tuple[type, Callable[[Any], Any], Callable[[Any], Any]]] = {
    "bool": (bool, bool, bool),
    "int": (int, str, int),  # who reads JSON in another language has no such large numbers
    "str": (str, str, str),
    "float": (float, repr, float),  # which NaN and the infinities have, too
    "decimal": (Decimal, str, Decimal),
    "date": (date, date.isoformat, date.fromisoformat),
    "datetime": (datetime, datetime.isoformat, datetime.fromisoformat),
    "uuid": (UUID, str, UUID),
    "bytes": (bytes, bytes.hex, bytes.fromhex),
}
#: What is a kind of one of these may hold more than it: a member of an enumeration is no text.
_NAMES = {kind: name for name, (kind, _, _) in _TYPES.items()}


def _tagged(value: Any) -> list[Any]:
    name = _NAMES.get(type(value))
    if name is None:
        raise ImproperlyConfigured(
            f"part_key has values of the type {type(value).__name__}: a file is split by {', '.join(_TYPES)}"
        )
    return [name, _TYPES[name][1](value)]


def _untagged(name: str, stored: Any) -> Any:
    return _TYPES[name][2](stored)
