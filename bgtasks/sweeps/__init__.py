"""The periodic tasks: what a lost message or a dead worker has left behind goes on, and what is over goes.

Two at once do no harm: each change is a compare-and-set, and a message too many does nothing.
"""

from __future__ import annotations

from typing import Any

from celery import shared_task

from bgtasks.canvas import LOST
from bgtasks.claims import parsed
from bgtasks.queues import ONCE_MORE, QUEUE, QueueTask, priorities
from bgtasks.sweeps import cleaning, dispatching, noting, recovering, reminding

#: Seconds between two runs of each; a run that could not start by then is dropped.
SWEEPS = {"dispatch": 10.0, "recover": 10.0, "remind": 60.0, "clean": 600.0}


def schedule() -> dict[str, dict[str, Any]]:
    """The beat entries of the sweeps."""
    return {
        f"bgtasks-{name}": {
            "task": f"bgtasks.{name}",
            "schedule": interval,
            "options": {"queue": QUEUE, "expires": interval},
        }
        for name, interval in SWEEPS.items()
    }


class SweepTask(QueueTask):
    """Goes to our queue, before everything else that waits there, whoever publishes it."""

    def apply_async(self, *args: Any, **options: Any) -> Any:
        """As Celery's."""
        routed = {"queue": QUEUE, "priority": priorities(self.app).sweeps}
        return super().apply_async(*args, **{**routed, **options})

    def on_success(self, *_: Any) -> None:
        """What runs periodically is known to have run: ``celery bgtasks check`` asks."""
        if (name := str(self.name).removeprefix("bgtasks.")) in SWEEPS:
            noting.ran(name)


@shared_task(base=SweepTask, name="bgtasks.dispatch", ignore_result=True)
def dispatch() -> None:
    """Publish again what should have been taken up by now, and give up what was never started."""
    dispatching.dispatch()


@shared_task(base=SweepTask, name="bgtasks.recover", ignore_result=True)
def recover() -> None:
    """Take over what a dead worker had begun."""
    recovering.recover()


@shared_task(base=SweepTask, name="bgtasks.remind", ignore_result=True)
def remind() -> None:
    """Have requesters be reminded of files that expire soon."""
    reminding.remind()


@shared_task(base=SweepTask, name="bgtasks.clean", ignore_result=True)
def clean() -> None:
    """Remove expired files, rows that were kept for long enough, and objects that no row names."""
    cleaning.clean_a_while()


@shared_task(name=LOST, ignore_result=True)
def on_lost(request: Any, error: BaseException, _: Any) -> None:
    """The errback of every step: its child was killed, and that is seen to now, not when its lease lapses."""
    # Called within the worker's main process, which must not talk to the database: a message does the work.
    if recovering.is_lost(error) and request.args:
        claim, overdue = parsed(request.args[0]), recovering.is_overdue(error)
        # Said only where it is so: a worker of an earlier release does not know the word.
        more = {"killed": True} if recovering.is_killed(error) else {}
        recover_lost.apply_async((claim, request.id, overdue), kwargs=more, **ONCE_MORE)


@shared_task(base=SweepTask, name="bgtasks.recover_lost", ignore_result=True)
def recover_lost(claim: Any, delivery: str, overdue: bool, killed: bool = False) -> None:
    """Take over what one dead child had begun."""
    recovering.recover_lost(parsed(claim), delivery, overdue=overdue, killed=killed)
