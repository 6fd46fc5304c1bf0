"""The periodic tasks: what a lost message or a dead worker has left behind goes on.

Two at once do no harm: each change is a compare-and-set, and a message too many does nothing.
"""

from __future__ import annotations

from typing import Any

from celery import shared_task

from bgtasks.canvas import QUEUE
from bgtasks.sweeps import dispatching, recovering

SWEEPS = ("dispatch", "recover")
#: Seconds between two runs; a run that could not start by then is dropped.
INTERVAL = 10.0


def schedule() -> dict[str, dict[str, Any]]:
    """The beat entries of the sweeps."""
    options = {"queue": QUEUE, "expires": INTERVAL}
    return {f"bgtasks-{name}": {"task": f"bgtasks.{name}", "schedule": INTERVAL, "options": options} for name in SWEEPS}


@shared_task(name="bgtasks.dispatch", ignore_result=True)
def dispatch() -> None:
    """Publish again what should have been taken up by now, and give up what was never started."""
    dispatching.dispatch()


@shared_task(name="bgtasks.recover", ignore_result=True)
def recover() -> None:
    """Take over what a dead worker had begun."""
    recovering.recover()
