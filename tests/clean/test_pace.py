"""A run keeps to its bounds, and ends between two things when it is told to."""

from __future__ import annotations

import itertools
import time

import pytest

from bgtasks import pacing
from bgtasks.pacing import Pace, Stride


class Watch:
    """A clock that moves when somebody sleeps."""

    def __init__(self) -> None:
        self.now, self.naps = 1000.0, list[float]()

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.naps.append(seconds)
        self.now += seconds


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    """Time for these tests alone."""
    made = Watch()
    monkeypatch.setattr(pacing, "time", made)
    return made


def test_without_bounds_everything_is_handled() -> None:
    """At once."""
    begun = time.monotonic()
    assert list(Pace().each(range(1, 1000))) == list(range(1, 1000))
    assert time.monotonic() - begun < 1


def test_it_pauses_between_two_and_neither_before_nor_after(watch: Watch) -> None:
    """Also between the last of one kind and the first of the next."""
    pace = Pace(sleep=2.5)
    assert list(pace.each("abc")) == ["a", "b", "c"]
    assert watch.now - 1000 == pytest.approx(5)
    assert list(pace.each("d")) == ["d"]
    assert watch.now - 1000 == pytest.approx(7.5)
    assert list(pace.each("")) == []
    assert watch.now - 1000 == pytest.approx(7.5)


def test_it_stops_when_its_time_is_over(watch: Watch) -> None:
    """A pause is not waited to its end for nothing."""
    pace = Pace(timeout=10, sleep=4)
    assert list(pace.each("abcdef")) == ["a", "b", "c"]
    assert pace.is_over
    assert watch.now - 1000 == pytest.approx(10, abs=pacing.NAP)
    assert list(pace.each("g")) == []


def test_it_stops_when_so_many_are_counted() -> None:
    """What is not counted does not use it up; the next thing is not even looked for."""
    pace, rest = Pace(items=2), iter(range(1, 100))
    handled = []
    for thing in pace.each(rest):
        handled.append(thing)
        if thing != 2:
            pace.count()
    assert handled == [1, 2, 3]
    assert pace.is_over
    assert next(rest) == 4


def test_batches_are_no_larger_than_what_is_left() -> None:
    """So that no more is looked at than may be counted."""
    pace, sizes = Pace(items=7), []
    for batch in pace.batches(itertools.count(1), 3):
        sizes.append(len(batch))
        pace.count(len(batch))
    assert sizes == [3, 3, 1]
    assert [len(batch) for batch in Pace().batches(range(7), 3)] == [3, 3, 1]


def test_it_stops_when_the_process_is_told_to(watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    """Within a pause too, and soon."""
    monkeypatch.setattr("bgtasks.stopping.asked", lambda: watch.now > 1020)
    assert list(Pace(sleep=9).each("abcdef")) == ["a", "b", "c"]
    assert watch.now - 1020 <= 2 * pacing.NAP
    assert max(watch.naps) <= pacing.NAP


def test_a_batch_is_as_large_as_the_time_allows(watch: Watch) -> None:
    """Half as large after one that was slow, and larger again after some that were quick; never more than allowed."""
    stride, sizes = Stride(20, 50, 0.02), []
    for seconds in (0.1, 0.1, 0.015, 0.001, 0.001, *[0.001] * 9, *[9.0] * 8):
        with stride.taken():
            watch.sleep(seconds)
        sizes.append(stride.size)
    assert sizes[:5] == [10, 5, 5, 7, 9]
    assert (max(sizes), sizes[-1]) == (50, 1)


def test_what_is_done_together_is_done_one_by_one_where_there_are_pauses(watch: Watch) -> None:
    """And never more than may be counted; whoever asks for pauses wants little done at once."""
    assert [len(batch) for batch in Pace().together(range(7), Stride(3, 3, 1.0))] == [3, 3, 1]
    assert [len(batch) for batch in Pace(sleep=1).together(range(3), Stride(3, 3, 1.0))] == [1, 1, 1]
    assert [len(batch) for batch in Pace(items=2).together(range(7), Stride(3, 3, 1.0))] == [2, 2, 2, 1]
