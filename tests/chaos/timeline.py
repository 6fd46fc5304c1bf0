"""Things to do, each at its time, one after the other."""

from __future__ import annotations

import heapq
import itertools
import time
from collections.abc import Callable

Action = Callable[[], object]


class Timeline:
    """An action may bring others, for later."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._waiting: list[tuple[float, int, Action]] = []
        self._numbers = itertools.count()  # so that two of the same time stay in order

    @property
    def now(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self._began

    def at(self, seconds: float, action: Action) -> None:
        """Do it so many seconds from the beginning."""
        heapq.heappush(self._waiting, (seconds, next(self._numbers), action))

    def after(self, seconds: float, action: Action) -> None:
        """Do it so many seconds from now."""
        self.at(self.now + seconds, action)

    def run(self) -> None:
        """Until nothing is left to do."""
        while self._waiting:
            at, _, action = heapq.heappop(self._waiting)
            time.sleep(max(0.0, at - self.now))
            action()
