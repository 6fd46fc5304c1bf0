"""Trying again in the slot while a service is away, for a few seconds: longer outages must starve nobody."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TypeVar

from bgtasks import database
from bgtasks.errors import TransientError

#: Seconds that a step tries again in its slot, before it is handed back.
IN_SLOT = 5.0

Result = TypeVar("Result")


def is_transient(error: BaseException) -> bool:
    """Whether trying again may work: a service is away, and nothing is wrong with what was asked."""
    return isinstance(error, TransientError) or database.is_unreachable(error)


def asked_wait(error: BaseException) -> float:
    """Seconds for which the service does not want to be asked again, as far as it has said so."""
    return max(0.0, error.retry_after or 0.0) if isinstance(error, TransientError) else 0.0


def jitter() -> float:
    """So that what failed together does not come back together."""
    return random.uniform(0.5, 1.5)  # noqa: S311 - nothing secret


def persistently(call: Callable[[], Result]) -> Result:
    """What the call returns, tried again while a service is away; every call must bear being repeated.

    Where the service wants to be left alone for longer than that, its error is raised at once.
    """
    deadline, pause = time.monotonic() + IN_SLOT, 0.1
    while True:
        try:
            return call()
        except Exception as error:
            wait = asked_wait(error)
            if not is_transient(error) or time.monotonic() + max(pause, wait) > deadline:
                raise
            time.sleep(max(pause * jitter(), wait))
            pause *= 2
