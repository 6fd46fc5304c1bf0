"""What a format is given: rows in batches, as tuples or as Arrow record batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum, auto
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow

BATCH = 2000  # rows: large enough to amortise a fetch, small enough to note progress and a cancel
ARROW_BATCH = 10_000  # rows

Row = Sequence[Any]


@dataclass(frozen=True)
class Rows:
    """Rows on their way into a file."""

    columns: tuple[str, ...] | None  #: the headings; None: these rows have no names
    batches: Iterator[Sequence[Row]]
    moments: frozenset[int] = frozenset()  #: the columns of aware times, counted from 0
    names: tuple[str, ...] | None = None  #: what programs know the columns by; None: the headings
    kinds: tuple[Kind, ...] | None = None  #: what the columns are declared as; None: their values tell
    #: Precision and scale of decimals, where they are declared.
    decimals: Mapping[int, tuple[int, int]] = field(default_factory=dict)

    def headings(self, zone: str | None) -> tuple[str, ...] | None:
        """The headings, where those of aware times name the zone that they are shown in.

        :param zone: its name; None: not to be named.
        """
        return _headings(self.columns, self.moments, zone)

    def name(self, column: int) -> str | int:
        """What a person knows a column by: its heading, or its number from 1."""
        return self.columns[column] if self.columns and column < len(self.columns) else column + 1


class Kind(StrEnum):
    """What the values of an Arrow column are, whatever Arrow keeps them as."""

    TEXT = auto()  #: ``str``; Arrow has string or large_string
    INTEGER = auto()  #: ``int``; any integer type
    FLOAT = auto()  #: ``float``; double
    BOOLEAN = auto()  #: ``bool``
    DECIMAL = auto()  #: ``Decimal``; decimal128, or string as ``format(value, "f")`` has it
    DATE = auto()  #: ``date``; date32
    DATETIME = auto()  #: a ``datetime`` without a zone; timestamp[us]
    MOMENT = auto()  #: an aware ``datetime``; timestamp[us, tz=UTC]
    TIME = auto()  #: ``time``; time64[us]
    OTHER = auto()  #: anything else: ``ArrowRows.values`` tells


_EPOCHS = {Kind.MOMENT: datetime(1970, 1, 1, tzinfo=UTC), Kind.DATETIME: datetime(1970, 1, 1)}  # noqa: DTZ001


@dataclass(frozen=True)
class ArrowRows:
    """The same rows as Arrow record batches."""

    columns: tuple[str, ...]  #: the headings
    names: tuple[str, ...]  #: what programs know the columns by
    kinds: tuple[Kind, ...]
    batches: Iterator[pyarrow.RecordBatch]
    #: Of columns whose values Python must finish: from what Arrow gives for a column to what ``Rows`` has.
    finish: dict[int, Callable[[list[Any]], list[Any]]]
    #: Those columns whose values Python makes aware times of, counted from 0.
    made_moments: frozenset[int] = frozenset()
    #: As those of ``Rows``.
    decimals: Mapping[int, tuple[int, int]] = field(default_factory=dict)

    @property
    def moments(self) -> frozenset[int]:
        """The columns of aware times, counted from 0."""
        return self.made_moments | {number for number, kind in enumerate(self.kinds) if kind is Kind.MOMENT}

    def headings(self, zone: str | None) -> tuple[str, ...]:
        """As those of ``Rows``."""
        return _headings(self.columns, self.moments, zone) or ()

    def values(self, batch: pyarrow.RecordBatch, column: int) -> list[Any]:
        """A column's values as ``Rows`` has them."""
        values = plain(batch.column(column), self.kinds[column])
        return self.finish[column](values) if column in self.finish else values


def plain(array: pyarrow.Array, kind: Kind) -> list[Any]:
    """An Arrow array as Python values, before any finish."""
    if kind not in _EPOCHS:
        return array.to_pylist()  # type: ignore[no-any-return]
    # Five times as fast as pyarrow, which looks the zone up for each.
    epoch = _EPOCHS[kind]
    micros = array.view("int64").to_pylist()
    return [None if value is None else epoch + timedelta(0, 0, value) for value in micros]


def _headings(columns: tuple[str, ...] | None, moments: frozenset[int], zone: str | None) -> tuple[str, ...] | None:
    if columns is None or zone is None:
        return columns
    return tuple(f"{name} ({zone})" if number in moments else name for number, name in enumerate(columns))
