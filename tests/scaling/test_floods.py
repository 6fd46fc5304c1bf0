"""How a producer tells a flood from what comes by itself."""

from __future__ import annotations

from bgtasks.floods import AT_ONCE, MOST_TYPES, PER_SECOND, Allowance


class Clock:
    """It stands still until somebody moves it."""

    time = 1000.0

    def __call__(self) -> float:
        return self.time


def taken(allowance: Allowance, name: str, tries: int) -> int:
    """How many of so many tries are granted."""
    return sum(allowance.take(name) for _ in range(tries))


def test_the_first_ones_go_before_others_and_more_with_time() -> None:
    """So many at once, then so many each second, and never more than those."""
    allowance = Allowance(clock := Clock())
    assert taken(allowance, "flights", 1000) == AT_ONCE
    clock.time += 1
    assert taken(allowance, "flights", 1000) == PER_SECOND
    clock.time += 0.4 / PER_SECOND
    assert taken(allowance, "flights", 10) == 0
    clock.time += 0.7 / PER_SECOND
    assert taken(allowance, "flights", 10) == 1
    clock.time += 3600
    assert taken(allowance, "flights", 1000) == AT_ONCE


def test_each_type_has_its_own() -> None:
    """One type's flood takes nothing from another."""
    allowance = Allowance(Clock())
    taken(allowance, "flights", 1000)
    assert taken(allowance, "login_events", 1) == 1


def test_names_of_a_producers_own_making_fill_no_memory() -> None:
    """Whoever asks by ever new names."""
    allowance = Allowance(Clock())
    for number in range(3 * MOST_TYPES):
        allowance.take(f"type_{number}")
    assert len(allowance._left) <= MOST_TYPES
