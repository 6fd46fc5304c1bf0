"""A process that is told to stop while it does a step: the step is left, so that it can be handed back.

Celery's cold shutdown signals the children of the pool (SIGTERM, or what REMAP_SIGTERM names) once
``worker_soft_shutdown_timeout`` is over. What is not a step of ours meets the signal as it would without us.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any

from billiard.common import TERM_SIGNAL
from celery.signals import worker_process_init

#: How much sooner than the child the pool may think that a time limit has passed. Seconds.
SLACK = 0.5

#: Seconds. A child that lives for longer was not stopped with its worker: somebody has terminated that one task.
HOLDS = 60.0


class Stopping(BaseException):
    """This process shall end soon."""


class _Watch:
    """What a signal that arrives now finds."""

    asked_at: float | None = None  #: when there was one, by the monotonic clock
    in_step = False  #: whether a step is being done
    overdue_at: float | None = None  #: when that step is killed at its time limit
    may_leave = False  #: whether it can be left just now: not while it writes its state
    in_new_child = False  #: whether this is a child of a worker's pool that does not listen yet


_watch = _Watch()


@contextlib.contextmanager
def in_step(limit: float | None = None) -> Iterator[None]:
    """Within this block a signal waits for the next moment at which a step can be left.

    :param limit: seconds after which the pool kills this child; with the same signal, at first.
    """
    if _watch.in_new_child:
        _watch.in_new_child = False
        listen(*{signal.SIGTERM, TERM_SIGNAL})
    if _watch.asked_at is not None and time.monotonic() > _watch.asked_at + HOLDS:
        _watch.asked_at = None
    _watch.in_step = True
    _watch.overdue_at = None if limit is None else time.monotonic() + limit - SLACK
    try:
        yield
    finally:
        _watch.in_step = False


@contextlib.contextmanager
def leaving() -> Iterator[None]:
    """Such moments: a signal raises Stopping here, also one that has come before."""
    _watch.may_leave = True
    try:
        if asked():
            raise Stopping
        yield
    finally:
        _watch.may_leave = False


@contextlib.contextmanager
def staying() -> Iterator[None]:
    """Within such moments, one that must not be cut in two: a signal waits for its end."""
    before, _watch.may_leave = _watch.may_leave, False
    try:
        yield
    finally:
        _watch.may_leave = before
    if before and asked():
        _watch.may_leave = False
        raise Stopping


def is_overdue() -> bool:
    """Whether it is the step's time limit for which this process is told to stop."""
    return _watch.overdue_at is not None and time.monotonic() >= _watch.overdue_at


def asked() -> bool:
    """Whether this process was told to stop."""
    return _watch.asked_at is not None


def listen(*numbers: int) -> None:
    """Be told to stop by these signals from now on."""
    for number in numbers:
        _listen(number)


def _listen(number: int) -> None:
    before = signal.getsignal(number)

    def stop(number: int, frame: FrameType | None) -> None:
        if not _watch.in_step:
            _as_before(before, number, frame)
            return
        _watch.asked_at = time.monotonic()
        if _watch.may_leave:
            _watch.may_leave = False  # a second signal must not disturb the handing back
            raise Stopping

    signal.signal(number, stop)


def _as_before(handler: Any, number: int, frame: FrameType | None) -> None:
    if callable(handler):
        handler(number, frame)
    elif handler == signal.SIG_DFL:
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)


@worker_process_init.connect(weak=False)
def _begin_in_child(**_: object) -> None:
    # The pool sets signal handlers of its own after this: ours come with the first step.
    _watch.asked_at, _watch.in_step, _watch.may_leave = None, False, False  # the parent may have had other values
    _watch.in_new_child = True
