"""The ``coalesce_key``: the same for what means the same, and never for anything else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from bgtasks.coalescing import key_of
from bgtasks.columns import columns_of
from tests.asking.roads import ADA, Alike

scalars = st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.text(max_size=5)
wishes = st.recursive(scalars, lambda some: st.lists(some, max_size=3) | st.dictionaries(st.text(max_size=3), some))


class Anything(Alike):
    """Takes any JSON."""

    Criteria = None  # type: ignore[assignment]


def key(wish: Any, cls: type[Alike] = Anything, requester: str = ADA) -> str:
    """The key of a wish."""
    made = key_of(cls(), columns_of(wish, "alike", requester))
    assert made is not None
    return made


def _turned(wish: Any) -> Any:
    """The same data, with every object's keys in the opposite order."""
    if isinstance(wish, dict):
        return {name: _turned(wish[name]) for name in reversed(wish)}
    return [_turned(part) for part in wish] if isinstance(wish, list) else wish


@given(wishes)
def test_a_key_does_not_depend_on_the_order_of_keys(wish: Any) -> None:
    """At whatever depth."""
    assert key(wish) == key(_turned(wish))


@given(wishes, wishes)
def test_another_wish_has_another_key(one: Any, other: Any) -> None:
    """As JSON tells values apart: ``1`` is neither ``"1"`` nor ``true``, and a list has an order."""
    assert (key(one) == key(other)) == (json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True))


def test_a_key_is_a_digest() -> None:
    """Nothing that was chosen can be read from it, and no two fields run into each other."""
    assert len(key({"count": 1})) == 64
    assert set(key({"count": 1})) <= set("0123456789abcdef")
    assert key(["a", "b"], requester="x") != key("b", requester='x", "a')


def test_every_process_makes_the_same_key() -> None:
    """A set of texts has another order in each; the web processes of a deployment must agree."""
    program = (
        "from tests.asking.test_coalesce_keys import Alike, key; "
        "print(key(Alike.Criteria(carriers=set('abcdefgh')), Alike))"
    )
    keys = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            check=True, capture_output=True, text=True,
        ).stdout
        for seed in ("1", "2", "3")
    }  # fmt: skip
    assert len(keys) == 1
