"""What the record keeps of a range."""

from __future__ import annotations

import enum
import json
import math
from datetime import time, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgtasks.errors import ImproperlyConfigured
from bgtasks.parts.ranges import Range

zones = st.none() | st.timezones()
values = (
    st.integers()
    | st.text()
    | st.floats(allow_nan=False)
    | st.booleans()
    | st.decimals(allow_nan=False)
    | st.dates()
    | st.datetimes(timezones=zones)
    | st.uuids()
    | st.binary()
)


class Level(enum.StrEnum):
    """A text, and more."""

    HIGH = "high"


@given(
    lower=st.none() | values, upper=st.none() | values, until=st.none() | values, flags=st.tuples(*[st.booleans()] * 2)
)
def test_a_range_comes_back_from_json_as_it_was(lower: Any, upper: Any, until: Any, flags: tuple[bool, bool]) -> None:
    """Each value with its type, and a moment with its offset."""
    given = Range(lower, upper, *flags, until)
    found = Range.from_json(json.loads(json.dumps(given.to_json())))
    for name in ("lower", "upper", "closed", "nulls", "until"):
        before, after = getattr(given, name), getattr(found, name)
        assert type(before) is type(after)
        assert str(before) == str(after)


def test_nan_comes_back() -> None:
    """PostgreSQL has it as the highest of all."""
    assert math.isnan(Range.from_json(json.loads(json.dumps(Range(math.nan).to_json()))).lower)


@pytest.mark.parametrize("value", [time(1), timedelta(1), [1], Level.HIGH, object()])
def test_a_value_of_another_type_is_refused_in_words(value: Any) -> None:
    """Rather than kept as something else: a member of an enumeration is no text."""
    with pytest.raises(ImproperlyConfigured, match=f"part_key has values of the type {type(value).__name__}"):
        Range(value).to_json()
