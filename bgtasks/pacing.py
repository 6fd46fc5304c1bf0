"""How much one run of a command or a sweep may do: for so long, so many things, with pauses between them."""

from __future__ import annotations

import gc
import itertools
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from bgtasks import stopping

#: Seconds after which a pause looks whether the process was told to stop.
NAP = 0.1

Thing = TypeVar("Thing")


class Stride:
    """How many things are done at once: as many as take so long, whatever the machine and whoever else uses it.

    :param size: to begin with.
    :param most: how many at most.
    :param seconds: what a batch should take, more or less.
    """

    def __init__(self, size: int, most: int, seconds: float) -> None:
        self.size, self._most, self._seconds = size, most, seconds

    @contextmanager
    def taken(self) -> Iterator[None]:
        """One batch: the next one is half as large where this one takes too long, and grows where it is quick."""
        began = time.monotonic()
        yield
        seconds = time.monotonic() - began
        if seconds > self._seconds:
            self.size = max(self.size // 2, 1)
        elif seconds < self._seconds / 2:
            self.size = min(self.size + self.size // 4 + 1, self._most)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """No garbage is collected in this block: a transaction's, which has many rows locked.

    To look at all that a process has imported takes a tenth of a second. What is due is done right afterwards.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


class Pace:
    """The bounds of one run. It ends between two things, also when the process is told to stop (``stopping``).

    :param timeout: seconds after which no other thing is begun.
    :param sleep: seconds between two things.
    :param items: how many things there may be; who handles them counts them.
    """

    def __init__(self, timeout: float | None = None, sleep: float = 0.0, items: int | None = None) -> None:
        self.is_bounded = timeout is not None or items is not None
        self._deadline = None if timeout is None else time.monotonic() + timeout
        self._sleep, self._left = sleep, items
        self._has_begun = False

    @property
    def is_over(self) -> bool:
        """Whether no other thing may be begun."""
        return (self._left is not None and self._left <= 0) or self._is_late() or stopping.asked()

    def count(self, things: int = 1) -> None:
        """So many were handled."""
        if self._left is not None:
            self._left -= things

    def each(self, things: Iterable[Thing]) -> Iterator[Thing]:
        """One at a time, until the run is over; with a pause before each but the first of the run."""
        rest = iter(things)
        while not self.is_over and (thing := next(rest, None)) is not None:
            self._pause()
            if not self.is_over:
                yield thing

    def batches(self, things: Iterable[Thing], size: int) -> Iterator[list[Thing]]:
        """The same for what is looked at by the batch: never more at once than may still be counted."""
        rest = iter(things)
        yield from self.each(iter(lambda: list(itertools.islice(rest, self._at_most(size))), []))

    def together(self, things: Iterable[Thing], stride: Stride) -> Iterator[list[Thing]]:
        """The same for what is done by the batch: one at a time, where there are to be pauses between two."""
        rest = iter(things)
        sizes = iter(lambda: list(itertools.islice(rest, self._at_most(1 if self._sleep else stride.size))), [])
        yield from self.each(sizes)

    def _at_most(self, size: int) -> int:
        return size if self._left is None else min(size, self._left)

    def _is_late(self) -> bool:
        return self._deadline is not None and time.monotonic() >= self._deadline

    def _pause(self) -> None:
        ends = time.monotonic() + (self._sleep if self._has_begun else 0.0)
        self._has_begun = True
        while not self.is_over and (left := ends - time.monotonic()) > 0:
            time.sleep(min(left, NAP))
