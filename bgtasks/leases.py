"""What keeps a running step's lease alive, and what its progress goes through."""

from __future__ import annotations

import contextlib
import contextvars
import logging
import threading
import time
from types import TracebackType
from typing import Any, Protocol, Self

from bgtasks import database, stopping
from bgtasks.claims import Held, HeldPart
from bgtasks.errors import ClaimLost
from bgtasks.hearts import watch

BEATS = 6  # heartbeats in one lease
PROGRESS_EVERY = 1.0  # seconds between two writes of a step's progress

logger = logging.getLogger(__name__)


class Record(Protocol):
    """Where a lease and its progress are written."""

    def renew(self, held: Any) -> bool:
        """Hold it for longer. False: it is not ours any more."""

    def progress(self, held: Any, **values: Any) -> None:
        """Note how far it has come. Raises: ClaimLost; and what shall end the work."""


class Lease:
    """A context in which a heartbeat thread renews the lease of a held request, or of a held part of one.

    It begins when a first beat is due. It is joined before the block is left, so that no renewal can come after the
    step's end.

    :param deadline: seconds after which the heart stops, so that a step that hangs is taken over.
    """

    def __init__(self, record: Record, held: Held | HeldPart, seconds: float, deadline: float | None = None) -> None:
        self._record = record
        self._held = held
        self._interval = seconds / BEATS
        self._began = time.monotonic()
        self._deadline = None if deadline is None else time.monotonic() + deadline
        self._over = threading.Event()
        self._lost = False
        # In the step's context: what the heart has to say is about that step.
        beat = contextvars.copy_context().run
        self._thread = threading.Thread(target=beat, args=(self._beat,), name=f"lease {held.claim!r}", daemon=True)
        #: When was last written, with news and without: who writes many bytes must not keep the rows' number back.
        self._written = {True: time.monotonic(), False: time.monotonic()}
        self._progress: dict[str, Any] = {}

    def __enter__(self) -> Self:
        watch.start_after(self._thread, self._interval)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._over.set()
        if watch.take_back(self._thread):
            self._thread.join()

    def note(self, **values: Any) -> None:
        """Write progress, or see that the request is still ours; each at most once a second.

        Raises: ClaimLost, if it is in other hands or over.

        :param values: columns; none: nothing new, but whoever has lost the request shall hear of it.
        """
        self._progress |= values
        if self._lost:
            raise ClaimLost(self._held.file_request.id)
        if time.monotonic() - self._written[bool(values)] >= PROGRESS_EVERY:
            self._written[bool(values)] = time.monotonic()
            # A database that does not answer loses a line of progress, never the work.
            with contextlib.suppress(*database.UNREACHABLE):
                self._write_progress()

    def _write_progress(self) -> None:
        try:
            with stopping.staying():  # a transaction that is cut in two is nobody's
                self._record.progress(self._held, **self._progress)
        except ClaimLost:
            self._lost = True
            raise

    def _beat(self) -> None:
        pause = max(0.0, self._began + self._interval - time.monotonic())
        while not self._over.wait(pause):
            pause = self._interval
            if self._deadline is not None and time.monotonic() > self._deadline:
                logger.warning("%r has passed its time limit: its lease is not renewed any more", self._held.claim)
                return
            try:
                if not self._record.renew(self._held):
                    self._lost = True
                    return
            except Exception as error:  # whatever it is: a heart that stops makes others repeat the work
                logger.warning("%r: a heartbeat fails: %s", self._held.claim, error)
