"""What a host's name stands for, and a connection to it, without the operating system's own patience.

``getaddrinfo`` knows no deadline: where the resolver is away it blocks for as long as ``resolv.conf`` says. So it is
called in a thread that is left alone when the time is over.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

#: Questions that may be open at once in a process: a dead resolver must not pile up threads.
OPEN = 8

Address = tuple[socket.AddressFamily, Any]


class _Room:
    """For the questions of this process."""

    slots = threading.BoundedSemaphore(OPEN)


def _begin_anew() -> None:
    """A forked child has none of its parent's threads, nor what they hold."""
    _Room.slots = threading.BoundedSemaphore(OPEN)


os.register_at_fork(after_in_child=_begin_anew)


class _Question(threading.Thread):
    """One call of ``getaddrinfo``; nobody waits for it when the process ends."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__(name="bgtasks-resolver", daemon=True)
        self._asked = host, port
        self._slots = _Room.slots
        self.found: list[Address] = []
        self.fault: Exception | None = None

    def run(self) -> None:
        try:
            found = socket.getaddrinfo(*self._asked, type=socket.SOCK_STREAM)
            self.found = [(socket.AddressFamily(family), sockaddr) for family, _, _, _, sockaddr in found]
        except Exception as error:  # whatever it is, whoever asks raises it
            self.fault = error
        finally:
            self._slots.release()


def resolved(host: str, port: int, deadline: float) -> list[Address]:
    """The addresses of a host, in the order in which to try them.

    :param deadline: by the monotonic clock.
    Raises: OSError, and TimeoutError if there is no answer in time.
    """
    question = _asked(host, port, deadline)
    question.join(max(0.0, deadline - time.monotonic()))
    if isinstance(question.fault, UnicodeError):
        raise socket.gaierror("this is no name of a host") from question.fault
    if question.fault is not None:
        raise question.fault
    if not question.found:
        raise TimeoutError("the resolver does not answer in time")
    return question.found


def _asked(host: str, port: int, deadline: float) -> _Question:
    slots = _Room.slots
    if not slots.acquire(timeout=max(0.0, deadline - time.monotonic())):
        raise TimeoutError("the resolver answers none of the questions before")
    try:
        question = _Question(host, port)
        question.start()
    except RuntimeError as error:  # there are too many threads for the system
        slots.release()
        raise OSError("no thread can be started") from error
    return question


def connected(addresses: Iterable[Address], seconds: Callable[[], float]) -> socket.socket:
    """A connection to the first address that takes one.

    :param seconds: how long the next one may take to do so.
    Raises: OSError, the last one's.
    """
    fault: OSError = OSError("no address")
    for family, sockaddr in addresses:
        made = socket.socket(family, socket.SOCK_STREAM)
        try:
            made.settimeout(seconds())
            made.connect(sockaddr)
        except OSError as error:
            made.close()
            fault = error
        else:
            return made
    raise fault
