"""Parquet: a file for programs, in which each column has a type."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from decimal import Decimal
from enum import Enum, IntEnum
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgtasks.errors import ImproperlyConfigured, UnwritableValue
from bgtasks.formats import Format, resolve, row_groups
from bgtasks.formats.cells import Cells, unchanged
from bgtasks.formats.parquet import Parquet
from bgtasks.items import Items
from bgtasks.items.rows import Kind
from tests.formats.roads import TYPES, Given, Type, tables, written, zones

NOON = datetime(2024, 7, 1, 12, tzinfo=UTC)
NAIVE = NOON.replace(tzinfo=None)


class Colour(Enum):
    RED = "red"


class Level(IntEnum):
    HIGH = 3


class Name(str):
    __slots__ = ()


def read(content: bytes) -> pa.Table:
    """What a program reads."""
    return pq.read_table(io.BytesIO(content))


def column(values: Any, zone: tzinfo = UTC) -> tuple[str, list[Any]]:
    """The type that a column of values gets, and its values."""
    table = read(written(Items([(value,) for value in values], columns=("a",)), Parquet(), zone))
    return str(table.schema.field("a").type), table.column("a").to_pylist()


@pytest.fixture
def small_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of three rows."""
    monkeypatch.setattr(row_groups, "GROUP", 3)


def test_the_name_chooses_it() -> None:
    """``parquet`` is this format, and says what it is."""
    assert resolve("parquet") == Parquet()
    assert isinstance(Parquet(), Format)
    known = (Parquet.content_type, Parquet.suffix, Parquet.max_rows)
    assert known == ("application/vnd.apache.parquet", ".parquet", None)


@pytest.mark.parametrize(
    ("values", "type_", "read_back"),
    [
        (["a", None, Name("b"), Colour.RED], "string", ["a", None, "b", "red"]),
        ([1, None, -(2**63), Level.HIGH], "int64", [1, None, -(2**63), 3]),
        ([2**63, 1], "string", ["9223372036854775808", "1"]),
        ([0.1, None, math.inf, 2], "double", [0.1, None, math.inf, 2.0]),
        ([True, None], "bool", [True, None]),
        ([True, 1], "string", ["true", "1"]),
        ([Decimal("1.50"), Decimal("1E+5")], "string", ["1.50", "100000"]),
        ([date(2024, 2, 29)], "date32[day]", [date(2024, 2, 29)]),
        ([NAIVE], "timestamp[us]", [NAIVE]),
        ([NOON, NOON.astimezone(ZoneInfo("Asia/Kolkata"))], "timestamp[us, tz=UTC]", [NOON, NOON]),
        ([NOON, NAIVE], "string", ["2024-07-01 14:00:00+02:00", "2024-07-01 12:00:00"]),
        ([date(2024, 1, 1), NAIVE], "string", ["2024-01-01", "2024-07-01 12:00:00"]),
        ([time(12, 30)], "time64[us]", [time(12, 30)]),
        ([time(12, 30, tzinfo=UTC)], "string", ["12:30:00+00:00"]),
        ([timedelta(hours=26)], "string", ["26:00:00"]),
        ([UUID(int=1)], "string", [str(UUID(int=1))]),
        ([b"\x00", bytearray(b"a"), memoryview(b"b")], "binary", [b"\x00", b"a", b"b"]),
        ([[1, "a"], {"k": None}], "string", ['[1, "a"]', '{"k": null}']),
        ([None, None], "string", [None, None]),
        (["=1+1", 1], "string", ["=1+1", "1"]),
    ],
)
def test_the_type_is_that_of_the_first_values(values: list[Any], type_: str, read_back: list[Any]) -> None:
    """And text where they are of several types, or of one that Parquet has not. No formula is neutralised."""
    assert column(values, ZoneInfo("Europe/Zurich")) == (type_, read_back)


@pytest.mark.parametrize(
    ("first", "later"),
    [
        (1, 1.0),
        (1, True),
        (1, "1"),
        (1, 2**63),
        (0.5, 2**53 + 1),
        (True, 1),
        (date(2024, 1, 1), NAIVE),
        (NAIVE, NOON),
        (NOON, NAIVE),
        (NAIVE, date(2024, 1, 1)),
        (time(1), time(1, tzinfo=UTC)),
        (b"a", "a"),
        (1, Level),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("small_groups")
def test_a_later_value_that_does_not_fit_is_refused_by_row_and_column(first: Any, later: Any) -> None:
    """Arrow would cut 1.5 to 1, and take a local time for one of UTC."""
    with pytest.raises(UnwritableValue) as refused:
        column([first, None, first, first, later])
    assert str(refused.value) == "A value does not fit the type of its column (row 5, column a)."


@pytest.mark.usefixtures("small_groups")
def test_a_column_of_texts_takes_anything_later() -> None:
    """As text: nothing is lost by that."""
    assert column(["a", None, "b", 1, NOON]) == ("string", ["a", None, "b", "1", "2024-07-01 12:00:00+00:00"])
    assert column([None, None, None, 1.5]) == ("string", [None, None, None, "1.5"])


def test_a_text_that_is_no_unicode_is_refused() -> None:
    """Half of a surrogate pair can't be encoded."""
    with pytest.raises(UnwritableValue) as refused:
        column(["whole", "half \ud83d"])
    assert str(refused.value) == "A text is not valid Unicode (row 2, column a)."


def comparable(values: Any) -> list[Any]:
    """NaN equals nothing."""
    return ["NaN" if isinstance(value, float) and math.isnan(value) else value for value in values]


def _expected(table: Given, zone: tzinfo) -> list[list[Any]]:
    """Each column's values as they are read back."""
    text = Cells(zone, unchanged)
    kept = [kind.kind is not Kind.OTHER and (kind.kind is not Kind.DECIMAL or kind.decimal) for kind in table.types]
    return [
        comparable(
            value if is_kept or value is None or isinstance(value, bytes) else str(text(value)) for value in column
        )
        for is_kept, column in zip(kept, list(zip(*table.rows, strict=True)) or [()] * len(kept), strict=True)
    ]


@given(tables(), zones)
def test_both_roads_write_the_same_bytes_which_read_back(table: Given, zone: tzinfo) -> None:
    """Of every type, wherever Arrow's batches are cut; small row groups included."""
    content = written(table.items("tuples"), Parquet(), zone)
    assert written(table.items("arrow"), Parquet(), zone) == content
    back = read(content)
    assert tuple(back.column_names) == table.names
    assert [comparable(values.to_pylist()) for values in back.columns] == _expected(table, zone)


@pytest.mark.usefixtures("small_groups")
@pytest.mark.parametrize("cuts", [[], [1, 2, 3, 4], [3, 6], [5, 5]])
def test_row_groups_are_cut_at_the_same_rows_on_both_roads(cuts: list[int]) -> None:
    """However the rows arrive."""
    rows = [(number, f"text {number}", Decimal(number).scaleb(-2)) for number in range(8)]
    types = [next(kind for kind in TYPES if kind.kind is wanted) for wanted in (Kind.INTEGER, Kind.TEXT, Kind.DECIMAL)]
    table = Given(("n", "t", "d"), tuple(types), rows, cuts)
    content = written(table.items("arrow"), Parquet())
    metadata = pq.read_metadata(io.BytesIO(content))
    assert [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)] == [3, 3, 2]
    assert content == written(table.items("tuples"), Parquet())
    assert metadata.row_group(0).column(0).compression == "ZSTD"
    assert str(read(content).schema.field("d").type) == "decimal128(12, 2)"


def test_a_decimal_that_a_declared_column_does_not_hold_is_refused() -> None:
    """NaN, which PostgreSQL's numeric may be, is none of Parquet's decimals."""
    texts = Type(Kind.DECIMAL, pa.string(), st.nothing(), str, decimal=(12, 2))
    table = Given(("d",), (texts,), [(Decimal("1.50"),), (Decimal("NaN"),)])
    for road in ("tuples", "arrow"):
        with pytest.raises(UnwritableValue, match=r"does not fit the type of its column \(row 2, column d\)"):
            written(table.items(road), Parquet())


def test_rows_without_names_have_numbered_columns() -> None:
    """Parquet has none without a name."""
    assert read(written(Items([(1, "a")]), Parquet())).column_names == ["column_1", "column_2"]


@pytest.mark.parametrize("columns", [None, ("a", "b")])
def test_no_rows_make_a_file_too(columns: Any) -> None:
    """With the columns that are known."""
    table = read(written(Items([], columns=columns), Parquet()))
    assert (table.num_rows, tuple(table.column_names)) == (0, columns or ())
    assert read(written(Items([()]), Parquet())).column_names == []


def test_two_columns_of_one_name_are_refused() -> None:
    """Programs find a column by its name."""
    with pytest.raises(ImproperlyConfigured, match="Parquet needs a name of its own for each column: 'a'"):
        written(Items([(1, 2)], columns=("a", "a")), Parquet())


@pytest.mark.parametrize("row", [(1,), (1, 2, 3), ()])
def test_a_row_of_another_length_is_refused(row: Any) -> None:
    """Which value is whose nobody could tell."""
    with pytest.raises(UnwritableValue) as refused:
        written(Items([(1, 2), row], columns=("a", "b")), Parquet())
    assert refused.value.row == 2


@pytest.mark.usefixtures("small_groups")
def test_half_a_file_has_no_end() -> None:
    """pyarrow would write the end as soon as its writer is forgotten."""
    buffer = io.BytesIO()

    def rows() -> Iterator[tuple[int]]:
        for number in range(10_000):
            yield (number,)
        raise LookupError

    with pytest.raises(LookupError):
        Parquet().write(Items(rows()), buffer)
    assert buffer.getvalue().startswith(b"PAR1")
    assert not buffer.getvalue().endswith(b"PAR1")


def groups_of(rows: list[Any]) -> list[int]:
    """How many rows each row group has."""
    meta = pq.read_metadata(io.BytesIO(written(Items(rows, columns=("a", "b")), Parquet())))
    return [meta.row_group(number).num_rows for number in range(meta.num_row_groups)]


def test_a_row_group_of_many_columns_has_fewer_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has to be in memory at once: 65,536 rows of 2,000 columns would be 10 GB."""
    monkeypatch.setattr(row_groups, "CELLS", 7)
    assert groups_of([(number, "x") for number in range(8)]) == [3, 3, 2]
    monkeypatch.setattr(row_groups, "CELLS", 1)
    assert groups_of([(number, "x") for number in range(2)]) == [1, 1]


def test_a_row_group_of_large_texts_ends_with_their_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """On both roads; what else there is in a row has no size to speak of."""
    monkeypatch.setattr(row_groups, "LARGE", 3_000_000)
    rows = [(number, "x" * 1000) for number in range(5_000)]
    assert groups_of(rows) == [4_000, 1_000]
    table = pa.table({"a": [a for a, _ in rows], "b": [b for _, b in rows]})
    content = written(Items(pa.Table.from_batches(table.to_batches(max_chunksize=2_000))), Parquet())
    meta = pq.read_metadata(io.BytesIO(content))
    assert [meta.row_group(number).num_rows for number in range(meta.num_row_groups)] == [4_000, 1_000]
