"""The chain of a request, as Celery signatures by task name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from celery import Celery, chain, group

from bgtasks import queues, settings
from bgtasks.claims import Claim, PartClaim
from bgtasks.models import FileRequest, Part
from bgtasks.states import State

#: The steps, in the order in which they run.
STEPS = ("fetch_criteria", "build_items", "write_bytes", "attach", "tokenize", "notify")

#: The step that comes after all others, for a file that nobody has downloaded when its time is nearly over: no chain
#: begins with its link, the sweep ``remind`` does.
TELL_EXPIRY = "tell_expiry"

#: The task that writes one part of a file, where ``write_bytes`` leaves it to many workers.
WRITE_PART = "bgtasks.write_part"

#: The errback of every step.
LOST = "bgtasks.on_lost"


def task_name(step: str) -> str:
    """The Celery task of a step."""
    return f"bgtasks.{step}"


def following(steps: Sequence[str], file_request: FileRequest) -> tuple[str, ...]:
    """The steps whose outcome is not on the row; of an ended request only the telling is left."""
    if file_request.parts_are_out:
        return ()  # whoever does the last of them goes on
    waits = file_request.dispatch_at is not None
    if file_request.state == State.FAILED or (file_request.state == State.CANCELLED and waits):
        return ("notify",) if file_request.step != "notify" and "notify" in steps else ()
    if file_request.state in (State.READY, State.CANCELLED) and not waits:
        return ()  # attached by hand, or told already, or being told, or cancelled by one who needs no telling
    if file_request.state == State.READY and file_request.step == steps[-1]:
        return (TELL_EXPIRY,)
    if not file_request.step:
        return tuple(steps)
    return tuple(steps[steps.index(file_request.step) + 1 :]) if file_request.step in steps else ()


def at_work(steps: Sequence[str], file_request: FileRequest) -> str:
    """The step that a row's lease is for."""
    if file_request.state in (State.FAILED, State.CANCELLED):
        return "notify"
    known = ("", *steps, TELL_EXPIRY)
    return known[known.index(file_request.step) + 1]


def before(steps: Sequence[str], step: str) -> str | None:
    """The step that must be the last finished one, so that this one is next; None: no chain of these has it."""
    known = ("", *steps, TELL_EXPIRY)
    return known[known.index(step, 1) - 1] if step in known[1:] else None


def build(
    file_request: FileRequest,
    steps: Sequence[str],
    queue: str,
    options: dict[str, Any],
    app: Celery | None = None,
    time_limit: float | None = None,
) -> Any:
    """The chain of a request's outstanding steps, from the row as it is; None where nothing is left.

    :param options: more for each link's ``apply_async``.
    :param time_limit: seconds that each link may take.
    """
    app = app or settings.this_app()
    # Requests that have been started go first.
    first, later, _ = queues.priorities(app)
    links, limits = [], _limits(app, time_limit, options)
    for number, step in enumerate(following(steps, file_request)):
        has_begun = number > 0 or file_request.step != ""
        routed = {"queue": queue, "priority": later if has_begun else first}
        handed = () if number else (Claim.of(file_request),)
        links.append(_link(app, task_name(step), handed, {**routed, **options, **limits}))
    return chain(*links, app=app) if links else None


def build_parts(
    file_request: FileRequest,
    parts: Sequence[Part],
    queue: str,
    options: dict[str, Any],
    app: Celery | None = None,
    time_limit: float | None = None,
    at_once: int | None = None,
) -> Any:
    """The Celery group of some parts that wait for a worker. They are as good as a request that has been started.

    :param options: more for each one's ``apply_async``.
    :param time_limit: seconds that each of them may take.
    :param at_once: the parts after so many queue up behind the requests that nobody has begun; None: no part does.
    """
    app = app or settings.this_app()
    limits, known = _limits(app, time_limit, options), queues.priorities(app)
    links = []
    for part in parts:
        is_kept_back = at_once is not None and part.number >= at_once
        routed = {"queue": queue, "priority": known.first if is_kept_back else known.later}
        handed = (PartClaim.of(file_request, part),)
        links.append(_link(app, WRITE_PART, handed, {**routed, **options, **limits}))
    return group(links, app=app)


def _link(app: Celery, task: str, arguments: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """A signature that keeps no result, and whose death is heard of."""
    link = app.signature(task, args=arguments)
    link.set(**{"ignore_result": True, **options})
    link.link_error(app.signature(LOST))
    return link


def _limits(app: Celery, time_limit: float | None, options: dict[str, Any]) -> dict[str, float]:
    """Celery's limits of a link: its own, or else the file type's, or the app's where it is shorter.

    The step is interrupted at the soft one. The hard one kills its child: before its lease has lapsed,
    so that its end is told as what it is.
    """
    soft = options.get("soft_time_limit") or _shorter(time_limit, app.conf.task_soft_time_limit)
    later = soft and soft + settings.current(app).lease / 2
    hard = options.get("time_limit") or _shorter(later, app.conf.task_time_limit)
    soft = _shorter(soft, hard)  # the pool looks at the hard one only when the soft one has passed
    return {name: limit for name, limit in (("soft_time_limit", soft), ("time_limit", hard)) if limit}


def _shorter(*limits: float | None) -> float | None:
    return min((limit for limit in limits if limit), default=None)
