"""Rows, when their first batch has been looked at."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

from bgtasks.items.columns import Choice
from bgtasks.items.rows import BATCH, Row, Rows

#: Of a batch, where there are many columns.
CELLS = 50 * BATCH


def batched(rows: Iterable[Row], width: int | None) -> Iterator[Sequence[Row]]:
    """The rows in batches: as many as are in memory at once.

    :param width: how many values a row has, if that is known.
    """
    rows, size = iter(rows), max(1, min(BATCH, CELLS // (width or 1)))
    while batch := list(itertools.islice(rows, size)):
        yield batch


def looked_at(choice: Choice, batches: Iterator[Sequence[Row]], declared: frozenset[int] = frozenset()) -> Rows:
    """The rows, when their first batch has shown which columns are aware times.

    :param declared: those that the select's types say are; of what has values, the values decide.
    """
    first = list(itertools.islice(batches, 1))
    values = first_values(first[0] if first else ())
    moments = {number for number, value in values.items() if is_aware(value)} | (declared - values.keys())
    return Rows(choice.headings, itertools.chain(first, batches), frozenset(moments), choice.names)


def first_values(batch: Sequence[Row]) -> dict[int, Any]:
    """A value of each column that has one in these rows."""
    found: dict[int, Any] = {}
    for row in batch:
        if not isinstance(row, Collection) or len(found) == len(row):  # the former may be used up by a look
            break
        found |= {number: value for number, value in enumerate(row) if value is not None and number not in found}
    return found


def is_aware(value: Any) -> bool:
    """Whether a value is a time that knows its zone."""
    return isinstance(value, datetime) and value.tzinfo is not None
