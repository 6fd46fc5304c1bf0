"""What comes in floods waits behind what does not.

All requests go through one queue, first come, first served: whoever asks for a thousand files at once would keep
everybody else waiting until all of them are stored. So the first requests of a type go before the others, and its
more numerous ones among themselves. Each producer counts its own.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

#: How many requests of one type go before others, when they come at once; and how many more with each second: a small
#: part of what one process can store, and more than people ask for.
AT_ONCE, PER_SECOND = 10, 10.0
#: The types that are counted. Whoever asks for more, by names of their own making, begins anew.
MOST_TYPES = 1000


class Allowance:
    """So many at once, and so many more with each second, for each name."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._left: dict[str, tuple[float, float]] = {}  # how many, and when that was
        self._lock = threading.Lock()

    def take(self, name: str) -> bool:
        """Take one of what is left; False: there is none."""
        with self._lock:
            now = self._clock()
            if name not in self._left and len(self._left) >= MOST_TYPES:
                self._left.clear()
            left, since = self._left.get(name, (AT_ONCE, now))
            left = min(AT_ONCE, left + (now - since) * PER_SECOND)
            has_some = left >= 1
            self._left[name] = (left - has_some, now)
            return has_some


#: What this process may still ask for, by the name of the file type.
ALLOWANCE = Allowance()
