"""A table with a column of every type, and rows for it."""

from __future__ import annotations

import enum
import math
import uuid
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st
from sqlalchemy import (
    CHAR,
    JSON,
    BigInteger,
    Boolean,
    Column,
    Date,
    DateTime,
    Double,
    Enum,
    Float,
    Integer,
    LargeBinary,
    MetaData,
    Numeric,
    SmallInteger,
    String,
    Table,
    Text,
    Time,
    TypeDecorator,
    Uuid,
    insert,
)
from sqlalchemy.dialects.postgresql import JSONB

from bgtasks import database
from bgtasks.models import UtcDateTime

metadata = MetaData()


class Mood(enum.Enum):
    """Kept by its names."""

    HAPPY = "happy indeed"
    SAD = "sad"


class Shouted(TypeDecorator[str]):
    """Read in capitals, though not kept so."""

    impl = String
    cache_ok = True

    def process_result_value(self, value: str | None, dialect: Any) -> str | None:
        return value and value.upper()


class Seconds(TypeDecorator[datetime]):
    """A time, kept as a number."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Any) -> int | None:
        return None if value is None else int(value.timestamp())

    def process_result_value(self, value: int | None, dialect: Any) -> datetime | None:
        return None if value is None else datetime.fromtimestamp(value, UTC)


#: Those that have a kind of their own as Arrow.
PLAIN = {
    "small": SmallInteger,
    "whole": Integer,
    "big": BigInteger,
    "single": Float(24),
    "double": Double,
    "money": Numeric(12, 2),
    "exact": Numeric,
    "text": Text,
    "name": String(200),
    "padded": CHAR(5),
    "flag": Boolean,
    "day": Date,
    "naive": DateTime,
    "aware": DateTime(timezone=True),
    "ours": UtcDateTime,
    "clock": Time,
    "state": Enum("new", "old", name="item_state"),
    "label": Enum("new", "old", native_enum=False),
}
#: Those whose values Python finishes.
FINISHED = {
    "rounded": Numeric(12, 2, asdecimal=False),
    "decimal": Float(asdecimal=True),
    "key": Uuid,
    "key_text": Uuid(as_uuid=False),
    "data": LargeBinary,
    "document": JSON,
    "tree": JSON().with_variant(JSONB(), "postgresql"),
    "mood": Enum(Mood),
    "shouted": Shouted,
    "seconds": Seconds,
}
everything = Table(
    "everything",
    metadata,
    Column("id", Integer, primary_key=True),
    *(Column(name, kind) for name, kind in (PLAIN | FINISHED).items()),
)

texts = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), max_size=20)
naive = st.datetimes()
aware = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC))  # noqa: DTZ001
documents = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)
decimals = st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**12), max_value=10**12, places=6)
cents = st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**9), max_value=10**9, places=2)
floats = st.floats(allow_nan=False, allow_infinity=False, min_value=-(2.0**100), max_value=2.0**100, width=32)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "small": st.integers(-(2**15), 2**15 - 1),
    "whole": st.integers(-(2**31), 2**31 - 1),
    "big": st.integers(-(2**63), 2**63 - 1),
    "single": floats,
    "double": st.floats(allow_nan=False, allow_infinity=False),
    "money": cents,
    "exact": decimals,
    "text": texts,
    "name": texts,
    "padded": texts.map(lambda text: text[:5]),
    "flag": st.booleans(),
    "day": st.dates(),
    "naive": naive,
    "aware": aware,
    "ours": aware,
    "clock": st.times(),
    "state": st.sampled_from(["new", "old"]),
    "label": st.sampled_from(["new", "old"]),
    "rounded": cents,
    "decimal": st.floats(-1e6, 1e6),
    "key": st.uuids(),
    "key_text": st.uuids().map(str),
    "data": st.binary(max_size=20),
    "document": documents,
    "tree": documents,
    "mood": st.sampled_from(Mood),
    "shouted": texts,
    "seconds": st.datetimes(datetime(1970, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
}
#: What only PostgreSQL keeps.
SPECIAL: dict[str, st.SearchStrategy[Any]] = {
    "single": st.sampled_from([math.inf, -math.inf, math.nan]),
    "double": st.sampled_from([math.inf, -math.inf, math.nan]),
    "exact": st.sampled_from([Decimal("NaN"), Decimal("Infinity"), Decimal("-Infinity"), Decimal("1E+40")]),
    "money": st.just(Decimal("NaN")),
}
USUAL = {
    "small": 1, "whole": 2, "big": 3, "single": 1.1, "double": 0.1, "money": Decimal("1.50"), "exact": Decimal("0.10"),
    "text": "Zoë", "name": "n", "padded": "ab", "flag": True, "day": date(2026, 7, 1),
    "naive": datetime(2026, 7, 1, 12), "aware": datetime(2026, 7, 1, 12, tzinfo=UTC),  # noqa: DTZ001
    "ours": datetime(2026, 7, 1, 12, 0, 0, 5, tzinfo=UTC), "clock": time(23, 59, 59, 999999), "state": "new",
    "label": "old", "rounded": Decimal("2.50"), "decimal": 0.5,
    "key": uuid.UUID(int=7), "key_text": str(uuid.UUID(int=8)),
    "data": b"\0\xff", "document": {"a": [1, None]}, "tree": [{"b": "ü"}], "mood": Mood.SAD, "shouted": "quiet",
    "seconds": datetime(2026, 7, 1, tzinfo=UTC),
}  # fmt: skip


def rows(special: bool) -> st.SearchStrategy[list[dict[str, Any]]]:
    """Rows with anything in them, and nothing.

    :param special: with the values that SQLite has not.
    """
    values = {
        name: st.none() | (kind | SPECIAL[name] if special and name in SPECIAL else kind)
        for name, kind in VALUES.items()
    }
    return st.lists(st.fixed_dictionaries(values), max_size=6)


def refill(rows: list[dict[str, Any]]) -> None:
    """These rows, and no others, are in the table of everything."""
    with database.current().writing() as session:
        session.execute(everything.delete())
        if rows:
            session.execute(insert(everything), [row | {"id": number} for number, row in enumerate(rows)])
