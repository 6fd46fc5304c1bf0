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


def jitter() -> float:
    """So that what failed together does not come back together."""
    return random.uniform(0.5, 1.5)  # noqa: S311 - nothing secret


def persistently(call: Callable[[], Result]) -> Result:
    """What the call returns, tried again while a service is away; every call must bear being repeated."""
    deadline, pause = time.monotonic() + IN_SLOT, 0.1
    while True:
        try:
            return call()
        except Exception as error:
            if not is_transient(error) or time.monotonic() + pause > deadline:
                raise
            time.sleep(pause * jitter())
            pause *= 2
