"""How a file's rows are split into ranges of a key, so that each row is in one of them, and they are about equal.

The cut: what is inserted after the planning is in no range, if its key is higher than all that there were, or its
``part_until`` later than the database's clock was. So the parts agree without a snapshot held open from the first to
the last. But each reads at its own time: a row that is changed or deleted meanwhile may be seen by one part as it
was, and by another as it is; one that gets a key in another range may be in both, or in none; and a lower key that is
committed late is in the file if its part was not read yet. Rows without a time are in the
file whatever the cut is; so are those without a key.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select

from bgtasks.database import Database
from bgtasks.items.counting import counting
from bgtasks.parts.keys import Key, Order, column, order
from bgtasks.parts.narrowing import in_time
from bgtasks.parts.ranges import Range
from bgtasks.parts.refusals import require_divisible
from bgtasks.parts.sampling import SAMPLE, SAMPLE_OF_PART, Sample, highest, now, sample


@dataclass(frozen=True)
class Plan:
    """How a file is split."""

    ranges: tuple[Range, ...]  #: in the file's order; none: one writer makes it whole
    rows: int  #: all that are under the cut
    wanted: int  #: how many ranges there should be; where many rows share a key there are fewer


def plan(source: Any, key: Key, parts: Callable[[int], int], database: Database, until: Key | None = None) -> Plan:
    """Split what ``get_items`` has returned; all of it is asked in one snapshot.

    :param source: a select, whose rows are in the order of the key, or in none.
    :param key: what they are split by: an ORM attribute, a column, an expression, or the name of a column.
    :param parts: how many parts are wanted for so many rows; the rows without a key are one more.
    :param until: a column of times, for the cut; none: the key is the cut.
    Raises: ImproperlyConfigured, where it can't be split.
    """
    dialect = database.engine.dialect.name
    source = require_divisible(source, dialect)
    by = column(source, key)
    sorted_by = order(source, by, dialect)
    moment = None if until is None else column(source, until, "part_until")
    with database.streaming() as connection:
        connection.execution_options(stream_results=False)  # PostgreSQL has no parallel plans for cursors
        cut = None if moment is None else now(connection, moment)
        under = source if moment is None else source.where(in_time(moment, cut))
        rows = int(connection.execute(counting(under)).scalar_one())
        wanted = parts(rows)
        if min(wanted, rows) <= 1:
            return Plan((), rows, wanted)
        found = _ranges(connection, under, by, _Wish(rows, wanted, cut, sorted_by))
    return Plan(found if len(found) > 1 else (), rows, wanted)


@dataclass(frozen=True)
class _Wish:
    """What the ranges shall be like."""

    rows: int
    wanted: int
    until: Any
    order: Order


def _ranges(connection: Connection, source: Select[Any], key: ColumnElement[Any], wish: _Wish) -> tuple[Range, ...]:
    top = highest(connection, source, key) if wish.until is None else None
    rate = max(SAMPLE, SAMPLE_OF_PART * wish.wanted) / wish.rows
    found = sample(connection, source, key, rate, top)
    ranges = [replace(each, until=wish.until) for each in _between(cuts(found.keys, _with_a_key(found, wish)), top)]
    if found.nulls == wish.rows:
        ranges = []
    if wish.order.descending:
        ranges.reverse()
    nulls = [Range(nulls=True, until=wish.until)] if found.nulls else []
    return tuple(nulls + ranges if wish.order.nulls_first else ranges + nulls)


def _with_a_key(found: Sample, wish: _Wish) -> int:
    """How many of the ranges are for rows that have one."""
    return max(1, round(wish.wanted * (wish.rows - found.nulls) / wish.rows))


def _between(cuts: Sequence[Any], top: Any) -> list[Range]:
    """The ranges below, between and above the cuts; no key is above ``top``, unless that is None."""
    ranges = [Range(lower, upper) for lower, upper in itertools.pairwise([None, *cuts, None])]
    return ranges if top is None else [*ranges[:-1], replace(ranges[-1], upper=top, closed=True)]


def cuts(keys: Sequence[tuple[Any, int]], wanted: int) -> list[Any]:
    """The keys that ranges begin with, after the first: as near to equal shares as rows of one key, together, allow.

    :param keys: some, and how often each was found, sorted.
    """
    if not keys:
        return []
    ends = list(itertools.accumulate(count for _, count in keys))
    chosen: dict[int, None] = {}
    number = 0
    for share in range(1, wanted):
        aim = ends[-1] * share / wanted
        while ends[number] < aim:
            number += 1
        begin = ends[number] - keys[number][1]
        chosen[number if aim - begin < ends[number] - aim else number + 1] = None
    return [keys[number][0] for number in chosen if 0 < number < len(keys)]
