"""Arrow data of the application's own: any type of it, by each road."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pytest

from bgtasks.errors import TransientError, UnwritableValue
from bgtasks.items import BATCH, Items, Kind
from bgtasks.items.rows import ARROW_BATCH
from tests.items.reading import as_arrow, as_tuples, comparable

NAIVE = datetime(2026, 7, 1, 12, 0, 0, 250_000)  # noqa: DTZ001
NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
TABLE = pa.table({"id": range(ARROW_BATCH + 7), "name": ["n"] * (ARROW_BATCH + 7)})


class Capsule:
    """What another library's frame is to us."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        return self._table.__arrow_c_stream__(requested_schema)


class Struct:
    """One batch of another library's."""

    def __init__(self, batch: pa.RecordBatch) -> None:
        self._batch = batch

    def __arrow_c_array__(self, requested_schema: Any = None) -> Any:
        return self._batch.__arrow_c_array__(requested_schema)


@pytest.mark.parametrize(
    ("array", "kind", "expected"),
    [
        (pa.array(["a", None]), Kind.TEXT, ["a", None]),
        (pa.array(["a", None], pa.large_string()), Kind.TEXT, ["a", None]),
        (pa.array(["a", None], pa.string_view()), Kind.TEXT, ["a", None]),
        (pa.array(["b", "a", None, "b"]).dictionary_encode(), Kind.TEXT, ["b", "a", None, "b"]),
        (pa.array([NAIVE, None]).dictionary_encode(), Kind.DATETIME, [NAIVE, None]),
        (pa.RunEndEncodedArray.from_arrays([2, 3], ["a", None]), Kind.TEXT, ["a", "a", None]),
        (pa.array([None, None]), Kind.TEXT, [None, None]),
        (pa.array([1, None], pa.int8()), Kind.INTEGER, [1, None]),
        (pa.array([2**64 - 1], pa.uint64()), Kind.INTEGER, [2**64 - 1]),
        (pa.array([0.1, None]), Kind.FLOAT, [0.1, None]),
        (pa.array([0.5], pa.float32()), Kind.FLOAT, [0.5]),
        (pa.array([0.5], pa.float16()), Kind.FLOAT, [0.5]),
        (pa.array([True, None]), Kind.BOOLEAN, [True, None]),
        (pa.array([Decimal("1.50"), None], pa.decimal128(12, 2)), Kind.DECIMAL, [Decimal("1.50"), None]),
        (pa.array([Decimal("1.50")], pa.decimal32(7, 2)), Kind.DECIMAL, [Decimal("1.50")]),
        (pa.array([Decimal(1200)], pa.decimal128(5, -2)), Kind.OTHER, [Decimal("1.2E+3")]),
        (pa.array([Decimal("1.50")], pa.decimal256(50, 2)), Kind.OTHER, [Decimal("1.50")]),
        (pa.array([date(1, 1, 1), date(9999, 12, 31), None]), Kind.DATE, [date(1, 1, 1), date(9999, 12, 31), None]),
        (pa.array([date(2026, 7, 1)], pa.date64()), Kind.DATE, [date(2026, 7, 1)]),
        (pa.array([NAIVE, None]), Kind.DATETIME, [NAIVE, None]),
        (pa.array([NAIVE], pa.timestamp("ns")), Kind.DATETIME, [NAIVE]),
        (pa.array([NAIVE], pa.timestamp("ms")), Kind.DATETIME, [NAIVE]),
        (pa.array([NOON, None], pa.timestamp("s", "Europe/Zurich")), Kind.MOMENT, [NOON, None]),
        (pa.array([NOON], pa.timestamp("ns", "UTC")), Kind.MOMENT, [NOON]),
        (pa.array([time(1, 2, 3, 4), None]), Kind.TIME, [time(1, 2, 3, 4), None]),
        (pa.array([time(1, 2, 3)], pa.time32("s")), Kind.TIME, [time(1, 2, 3)]),
        (pa.array([timedelta(1, 2, 3)], pa.duration("ns")), Kind.OTHER, [timedelta(1, 2, 3)]),
        (pa.array([b"\0\xff", None]), Kind.OTHER, [b"\0\xff", None]),
        (pa.array([b"ab"], pa.binary(2)), Kind.OTHER, [b"ab"]),
        (pa.array([[1, None], None]), Kind.OTHER, [[1, None], None]),
        (pa.array([{"a": "x"}]), Kind.OTHER, [{"a": "x"}]),
        (pa.array([uuid.UUID(int=7).bytes], pa.uuid()), Kind.OTHER, [uuid.UUID(int=7)]),
    ],
    ids=lambda value: str(value.type) if isinstance(value, pa.Array) else "",
)
def test_every_type_has_the_values_that_python_has_for_it(array: pa.Array, kind: Kind, expected: list[Any]) -> None:
    """By each road the same, and of the kind that a format may count on."""
    items = Items(pa.table({"x": array}))
    wanted = [(comparable(value),) for value in expected]
    assert as_tuples(items) == as_arrow(items) == wanted
    with items.open_arrow() as rows, items.open() as tuples:
        assert rows is not None
        assert rows.kinds == (kind,)
        assert rows.moments == tuples.moments == (frozenset({0}) if kind is Kind.MOMENT else frozenset())


@pytest.mark.parametrize(
    "array",
    [
        pa.array([1], pa.timestamp("ns")),
        pa.array([2**62], pa.timestamp("us")),
        pa.array([-(2**62)], pa.timestamp("us", "UTC")),
        pa.array([2**62], pa.timestamp("s")),
        pa.array([2**31 - 1], pa.int32()).view(pa.date32()),
        pa.array([1], pa.time64("ns")),
        pa.array([1], pa.duration("ns")),
        pa.array([86_400_000_000]).view(pa.time64("us")),
    ],
    ids=lambda array: str(array.type),
)
def test_a_time_that_python_has_not_is_refused_and_not_cut(array: pa.Array) -> None:
    """A file says what the data say, or nothing."""
    for road in (as_tuples, as_arrow):
        with pytest.raises(UnwritableValue, match="A time is"):
            road(Items(pa.table({"x": array})))


@pytest.mark.parametrize(
    "make", [lambda: TABLE, lambda: Capsule(TABLE), lambda: TABLE.combine_chunks().to_batches()[0]]
)
def test_tables_and_what_gives_a_stream_can_be_read_again(make: Any) -> None:
    """Each opening asks them anew."""
    items = Items(make())
    for _ in range(2):
        assert len(as_tuples(items)) == len(as_arrow(items) or ()) == TABLE.num_rows


def test_one_batch_of_another_library_is_read() -> None:
    """The protocol has arrays as well as streams."""
    items = Items(Struct(TABLE.slice(0, 3).combine_chunks().to_batches()[0]))
    assert as_tuples(items) == as_arrow(items) == [((int, number), (str, "n")) for number in range(3)]


@pytest.mark.parametrize("road", [Items.open, Items.open_arrow])
def test_a_reader_can_be_read_once(road: Any) -> None:
    """A second try would write the rest of it for the whole."""
    items = Items(TABLE.to_reader())
    with road(items) as rows:
        next(rows.batches)
    with pytest.raises(TransientError, match="only once"), road(items):
        pass


def test_a_large_batch_is_handed_out_in_small_ones() -> None:
    """For the progress, and for the memory of a format."""
    items, seen = Items(TABLE), []
    items.watch = seen.append
    with items.open_arrow() as arrow:
        assert [batch.num_rows for batch in arrow.batches] == [ARROW_BATCH, 7]  # type: ignore[union-attr]
    with items.open() as rows:
        assert {len(batch) for batch in rows.batches} == {BATCH, 7}
    assert seen[:2] == [ARROW_BATCH, ARROW_BATCH + 7]
    assert seen[2:] == [*range(BATCH, ARROW_BATCH + 1, BATCH), ARROW_BATCH + 7]


def test_only_what_knows_its_length_is_counted() -> None:
    """A reader does not."""
    assert Items(TABLE).count() == TABLE.num_rows
    assert Items(TABLE.to_reader()).count() is None
    assert Items(Capsule(TABLE)).count() is None


def test_a_reader_is_read_as_it_comes() -> None:
    """Never all of it at once: it may have no end."""
    given = 0

    def batches() -> Iterator[pa.RecordBatch]:
        nonlocal given
        while True:
            given += 1
            yield pa.record_batch({"id": range(BATCH)})

    endless = pa.RecordBatchReader.from_batches(pa.schema({"id": pa.int64()}), batches())
    with Items(endless).open_arrow() as rows:
        assert rows is not None
        assert len(next(rows.batches)) == BATCH
        assert given <= 2


def test_times_are_shown_in_utc_whatever_their_zone() -> None:
    """A format brings them into the requester's."""
    zurich = pa.array([datetime(2026, 7, 1, 14, tzinfo=ZoneInfo("Europe/Zurich"))], pa.timestamp("us", "Europe/Zurich"))
    with Items(pa.table({"at": zurich})).open() as rows:
        assert next(rows.batches)[0][0].isoformat() == "2026-07-01T12:00:00+00:00"


def test_no_rows_and_no_columns() -> None:
    """The headings are there all the same."""
    empty = TABLE.slice(0, 0)
    for items in (Items(empty), Items(pa.table({}))):
        assert as_tuples(items) == as_arrow(items) == []
    with Items(empty).open() as rows:
        assert rows.columns == ("id", "name")
