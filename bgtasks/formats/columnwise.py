"""Rows turned into lines of CSV column by column: most columns have values of one type, and need one look for all."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import date, datetime, time, tzinfo
from decimal import Decimal
from typing import Any
from uuid import UUID

from bgtasks.formats.cells import FORMULA, INTEGER_BITS, Cells
from bgtasks.formats.offsets import EPOCH, Offsets
from bgtasks.formats.quoting import Quoting
from bgtasks.items import Row

Column = Sequence[Any]
Texts = Sequence[str]

#: Integers below it are written by Python itself.
LARGE = 1 << (INTEGER_BITS - 1)

FORMULAS = frozenset(FORMULA)


class Columnwise:
    """Called with a batch of rows, gives its lines.

    :param zone: where aware times are shown.
    :param cell: what makes a text of any value. It decides; what is done here for a type is the same, and faster.
    :param neutralise: whether it neutralises texts.
    """

    def __init__(self, zone: tzinfo, cell: Cells, quoting: Quoting, neutralise: bool) -> None:
        self._cell = cell
        self._quoting = quoting
        self._neutralise = neutralise
        self._offsets = Offsets(zone)
        #: How a column without a missing value is written: each gives the canonical texts.
        self._by_type: dict[type, Callable[[Column], Texts]] = {
            str: self._texts,
            int: self._integers,
            bool: _booleans,
            float: self._floats,
            Decimal: self._decimals,
            datetime: self._datetimes,
            date: _shown,
            time: _shown,
            UUID: _shown,
        }

    def __call__(self, batch: Sequence[Row]) -> str:
        if len(set(map(len, batch))) != 1 or not batch[0]:
            return "".join(self._quoting.line([str(self._cell(value)) for value in row]) for row in batch)
        return self._quoting.lines([self._column(values) for values in zip(*batch, strict=True)])

    def _column(self, values: Column) -> Texts:
        kinds = set(map(type, values))
        if type(None) in kinds and len(kinds) > 1:
            return self._with_gaps(values)
        kind = kinds.pop() if len(kinds) == 1 else None
        texts = self._by_type.get(kind, self._each)(values)  # type: ignore[arg-type]
        is_safe = self._quoting.plain_is_safe and kind in self._by_type and kind is not str
        return texts if is_safe else self._quoting.column(texts)

    def _with_gaps(self, values: Column) -> Texts:
        """A column where values are missing: those that are there, and nothing in between."""
        there = iter(self._column([value for value in values if value is not None]))
        return ["" if value is None else next(there) for value in values]

    def _each(self, values: Column) -> Texts:
        return [str(self._cell(value)) for value in values]

    def _texts(self, values: Column) -> Texts:
        return ["'" + text if text[:1] in FORMULAS else text for text in values] if self._neutralise else values

    def _integers(self, values: Column) -> Texts:
        return _shown(values) if min(values) > -LARGE and max(values) < LARGE else self._each(values)

    def _floats(self, values: Column) -> Texts:
        return _shown(values) if math.isfinite(sum(values)) else self._each(values)

    def _decimals(self, values: Column) -> Texts:
        texts = _shown(values)
        return self._each(values) if "E" in "".join(texts) else texts

    def _datetimes(self, values: Column) -> Texts:
        if None in {value.tzinfo for value in values}:
            return self._each(values)
        since = [value - EPOCH for value in values]
        offsets = {self._offsets[length.days] for length in since}
        if len(offsets) > 1 or (only := offsets.pop()) is None:
            return list(map(self._moment, values))
        return [(only.epoch + length).isoformat(" ") + only.text for length in since]

    def _moment(self, value: datetime) -> str:
        since = value - EPOCH
        offset = self._offsets[since.days]
        return (offset.epoch + since).isoformat(" ") + offset.text if offset else str(self._cell(value))


def _shown(values: Column) -> Texts:
    """Of what ``str()`` gives the canonical text."""
    return list(map(str, values))


def _booleans(values: Column) -> Texts:
    return ["true" if value else "false" for value in values]
