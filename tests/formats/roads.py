"""Arbitrary rows on both roads: as tuples, and as Arrow record batches that are cut anywhere."""

from __future__ import annotations

import io
import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, timedelta, timezone, tzinfo
from decimal import Decimal
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pyarrow as pa
from hypothesis import strategies as st

from bgtasks.formats import Format
from bgtasks.items import ArrowRows, Items, Rows
from bgtasks.items.rows import Kind

#: Everything that UTF-8 can hold; and what CSV, spreadsheets and JSON make something of.
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=6) | st.text(
    "=+-@\t\r\n\",;|\\/'\0\x1f\u2028a1 é", max_size=6
)

#: East and west, of whole and of half hours, with seconds (before 1900), fixed, and none of the calendar's.
zones = st.sampled_from(
    [
        UTC,
        *map(ZoneInfo, ["UTC", "Europe/Zurich", "America/New_York", "Asia/Kolkata", "Pacific/Apia", "Africa/Monrovia"]),
        timezone(timedelta(hours=-3, minutes=-30)),
        timezone(timedelta(seconds=2048)),
    ]
)


@dataclass(frozen=True)
class Type:
    """What a column's values are, and how Arrow keeps them."""

    kind: Kind
    arrow: pa.DataType
    values: st.SearchStrategy[Any]
    stored: Callable[[Any], Any] = lambda value: value
    finish: Callable[[list[Any]], list[Any]] | None = None
    decimal: tuple[int, int] | None = None  #: precision and scale


def _each(convert: Callable[[Any], Any]) -> Callable[[list[Any]], list[Any]]:
    return lambda values: [None if value is None else convert(value) for value in values]


def _money(digits: int, places: int) -> st.SearchStrategy[Decimal]:
    most = 10**digits - 1
    return st.integers(-most, most).map(lambda number: Decimal(number).scaleb(-places))


def _or_whole_seconds(clocks: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return (clocks | clocks.map(lambda value: value.replace(microsecond=0))).map(lambda value: value.replace(fold=0))


naive = _or_whole_seconds(st.datetimes())
TYPES = [
    Type(Kind.TEXT, pa.string(), texts),
    Type(Kind.TEXT, pa.large_string(), texts),
    Type(Kind.INTEGER, pa.int64(), st.integers(-(2**63), 2**63 - 1)),
    Type(Kind.INTEGER, pa.int16(), st.integers(-(2**15), 2**15 - 1)),
    Type(Kind.FLOAT, pa.float64(), st.floats() | st.floats(-1e12, 1e12) | st.integers(-(10**6), 10**6).map(float)),
    Type(Kind.BOOLEAN, pa.bool_(), st.booleans()),
    Type(Kind.DECIMAL, pa.decimal128(12, 2), _money(12, 2), decimal=(12, 2)),
    Type(Kind.DECIMAL, pa.decimal128(20, 12), _money(20, 12), decimal=(20, 12)),
    Type(Kind.DECIMAL, pa.string(), st.decimals(), lambda value: format(value, "f"), _each(Decimal)),
    Type(Kind.DATE, pa.date32(), st.dates()),
    Type(Kind.DATETIME, pa.timestamp("us"), naive),
    Type(Kind.MOMENT, pa.timestamp("us", "UTC"), naive.map(lambda value: value.replace(tzinfo=UTC))),
    Type(Kind.TIME, pa.time64("us"), _or_whole_seconds(st.times())),
    Type(Kind.OTHER, pa.string(), st.uuids(), str, _each(UUID)),
    Type(Kind.OTHER, pa.binary(), st.binary(max_size=4)),
    Type(Kind.OTHER, pa.string(), st.lists(texts | st.integers(-5, 5), max_size=3), json.dumps, _each(json.loads)),
    Type(Kind.OTHER, pa.duration("us"), st.timedeltas(timedelta(days=-900), timedelta(days=900))),
]


@dataclass(frozen=True)
class Given:
    """A table: its columns' names, types and values, and where Arrow's batches are cut."""

    names: tuple[str, ...]
    types: tuple[Type, ...]
    rows: list[tuple[Any, ...]]
    cuts: list[int] = field(default_factory=list)

    @property
    def kinds(self) -> tuple[Kind, ...]:
        return tuple(kind.kind for kind in self.types)

    @property
    def decimals(self) -> dict[int, tuple[int, int]]:
        """Precision and scale of the columns that have them."""
        return {number: kind.decimal for number, kind in enumerate(self.types) if kind.decimal}

    def items(self, road: str) -> Items:
        """The same rows, by Arrow's road or as tuples."""
        return _ByArrow(self) if road == "arrow" else _AsTuples(self)

    def batches(self) -> Iterator[pa.RecordBatch]:
        columns: Sequence[Sequence[Any]] = list(zip(*self.rows, strict=True)) or [()] * len(self.types)
        stored = [_each(kind.stored)(list(values)) for kind, values in zip(self.types, columns, strict=True)]
        arrays = [pa.array(values, kind.arrow) for kind, values in zip(self.types, stored, strict=True)]
        whole = pa.RecordBatch.from_arrays(arrays, names=list(self.names))
        bounds = [0, *sorted(min(cut, len(self.rows)) for cut in self.cuts), len(self.rows)]
        for begin, end in itertools.pairwise(bounds):
            yield whole.slice(begin, end - begin)


class _AsTuples(Items):
    def __init__(self, given: Given) -> None:
        super().__init__(given.rows, columns=given.names)
        self._given = given

    @contextmanager
    def open(self) -> Iterator[Rows]:
        given = self._given
        moments = frozenset(number for number, kind in enumerate(given.types) if kind.kind is Kind.MOMENT)
        batches = iter([given.rows] if given.rows else [])
        yield Rows(given.names, batches, moments, given.names, given.kinds, given.decimals)


class _ByArrow(Items):
    def __init__(self, given: Given) -> None:
        super().__init__([], columns=given.names)
        self._given = given

    @contextmanager
    def open(self) -> Iterator[Rows]:
        raise AssertionError("the road of tuples was taken")
        yield

    @contextmanager
    def open_arrow(self) -> Iterator[ArrowRows | None]:
        given = self._given
        finish = {number: kind.finish for number, kind in enumerate(given.types) if kind.finish}
        yield ArrowRows(given.names, given.names, given.kinds, given.batches(), finish, decimals=given.decimals)


@st.composite
def tables(draw: st.DrawFn, types: Sequence[Type] = TYPES, max_rows: int = 8) -> Given:
    """Tables of all types, with missing values."""
    chosen = tuple(draw(st.lists(st.sampled_from(types), min_size=1, max_size=4)))
    values = [st.none() | kind.values for kind in chosen]
    rows = draw(st.lists(st.tuples(*values), max_size=max_rows))
    names = tuple(f"column {number}" for number in range(len(chosen)))
    return Given(names, chosen, rows, draw(st.lists(st.integers(0, max_rows), max_size=3)))


def written(items: Items, form: Format, zone: tzinfo = UTC) -> bytes:
    """The bytes of a file."""
    buffer = io.BytesIO()
    form.write(items, buffer, zone)
    return buffer.getvalue()
