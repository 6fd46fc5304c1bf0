"""When the hearts of running steps begin to beat: not before a step has lasted for a first beat's time.

Most steps are over by then. One thread in each process looks at those that are not, so that a step of some
milliseconds starts no thread and waits for none.
"""

from __future__ import annotations

import logging
import os
import threading
import time

#: Seconds between two looks at the steps that are running.
LOOK = 1.0

logger = logging.getLogger(__name__)


class Watch:
    """Starts each thread that it is given when its time has come, unless it is taken back before."""

    def __init__(self) -> None:
        self.begin()
        os.register_at_fork(after_in_child=self.begin)

    def begin(self) -> None:
        """With nothing to watch. A fork takes no threads along, and leaves a lock as it was."""
        self._lock = threading.Lock()
        self._due: dict[threading.Thread, float] = {}
        self._watcher: threading.Thread | None = None

    def start_after(self, heart: threading.Thread, seconds: float) -> None:
        """Start a thread in so many seconds, or up to ``LOOK`` later; at once where that is too coarse."""
        if seconds < 2 * LOOK:
            heart.start()
            return
        with self._lock:
            self._due[heart] = time.monotonic() + seconds
            if self._watcher is None:
                self._watcher = threading.Thread(target=self._watch, name="bgtasks hearts", daemon=True)
                self._watcher.start()

    def take_back(self, heart: threading.Thread) -> bool:
        """Whether the thread was started; if not, it never will be."""
        with self._lock:
            return self._due.pop(heart, None) is None

    def _watch(self) -> None:
        while True:
            time.sleep(LOOK)
            with self._lock:
                now = time.monotonic()
                for heart in [heart for heart, due in self._due.items() if due <= now]:
                    self._start(heart)

    def _start(self, heart: threading.Thread) -> None:
        try:
            heart.start()
        except RuntimeError as error:  # no thread can be had just now: at the next look perhaps
            logger.warning("%s can't begin: %s", heart.name, error)
        else:
            del self._due[heart]


watch = Watch()
