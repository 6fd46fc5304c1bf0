"""How one step runs: claim, heartbeat, work, end; and what becomes of an error.

``step`` makes a function a step of the chain: ours (``steps.py``) and a user's own alike.
"""

from __future__ import annotations

import contextlib
import os
import socket
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from celery import Task, shared_task
from celery.exceptions import Ignore

from bgtasks import deployment, endings, part_execution, publishing, registry, results, stopping, watching
from bgtasks.canvas import TELL_EXPIRY, before, following, task_name
from bgtasks.claims import Claim, Held
from bgtasks.deployment import Deployment
from bgtasks.errors import ClaimLost, ImproperlyConfigured, Interrupted, RequestFailed
from bgtasks.models import FileRequest, Part
from bgtasks.patience import persistently
from bgtasks.queues import QueueTask
from bgtasks.requests import NOTIFY
from bgtasks.running import Outcome, RunningStep
from bgtasks.states import State

#: What a task may raise without a traceback of Celery's in the log: ours has been written there.
EXPECTED = (RequestFailed,)

#: A step's function: it does the work and returns what it leaves on the row.
Body = Callable[[RunningStep], Outcome | Mapping[str, Any] | None]

_bodies: dict[str, Body] = {}


def step(name: str) -> Callable[[Body], Task[Any, Any]]:
    """Make a function a step of the chain, as the Celery task ``bgtasks.<name>``.

    It is called with a :class:`RunningStep` and returns the columns to set on the row, or None. It may
    be called again for the same request, after a crash. Name it in a file type's ``steps``.
    """

    def decorate(body: Body) -> Task[Any, Any]:
        if name in _bodies:
            raise ImproperlyConfigured(f"there is a step {name!r} already")
        _bodies[name] = body

        def task(self: Task[Any, Any], claim: Any) -> Claim:
            limit, _ = self.request.timelimit or (None, None)
            row, is_over = _deliver(name, Claim.parse(claim), f"{self.request.hostname} {self.request.id}", limit)
            if is_over:
                self.request.chain = None  # not Ignore: Flower would show for ever that the step is at work
            return Claim.of(row)

        # Not functools.wraps: Celery would check a message's arguments against the body's signature.
        task.__name__, task.__qualname__ = body.__name__, body.__qualname__
        task.__module__, task.__doc__ = body.__module__, body.__doc__
        made: Task[Any, Any] = shared_task(
            bind=True, base=QueueTask, name=task_name(name), ignore_result=True, throws=EXPECTED
        )(task)
        return made

    return decorate


def _deliver(name: str, claim: Claim, worker: str, limit: float | None) -> tuple[FileRequest, bool]:
    """Do the step of a message, and see that the request goes on. Raises: Ignore, RequestFailed.

    The row, and whether this chain is over: others go on.
    """
    try:
        ended = _run(name, claim, worker, limit)
    except Interrupted:
        _wake_another(claim)
        raise Ignore from None
    except ClaimLost:
        # A doubled or late message, or a cancel: the chain ends here in silence.
        raise Ignore from None
    except RequestFailed:
        publishing.publish_outstanding(claim.request_id)
        raise
    if ended.file_request.parts_are_out:
        # Whoever does the last of them publishes what comes after.
        publishing.publish_parts(ended.file_request, ended.released)
    elif ended.is_moved:
        # The rest of this chain is for the queue that it was published in: it ends here, and another begins there.
        publishing.publish(ended.file_request)
    return ended.file_request, ended.is_moved or ended.file_request.parts_are_out


def _wake_another(claim: Claim) -> None:
    """Have somebody else go on at once with what this worker could not."""
    requests = deployment.current().requests
    row = requests.get(claim.request_id)
    if row is not None and (waiting := requests.expedite(row)) is not None:
        publishing.publish(waiting)


def run(name: str, claim: Claim, worker: str) -> Claim:
    """Do one step, and return the claim for the next one; its parts, if it has any, as well.

    :param worker: the host and the delivery.
    Raises: ClaimLost, where there is nothing to do (any more), or others do it; Interrupted, where somebody else shall
    do it; RequestFailed; UnknownFileType.
    """
    ended = _run(name, claim, worker, None)
    row = ended.file_request
    return Claim.of(part_execution.run_all(row, ended.released, worker) if row.parts_are_out else row)


@dataclass(frozen=True)
class _Ended:
    """A step that is done."""

    file_request: FileRequest
    is_moved: bool  #: whether it has chosen another queue for the rest
    released: Sequence[Part]  #: the parts that are to be written now


def _run(name: str, claim: Claim, worker: str, limit: float | None) -> _Ended:
    parts = deployment.current()
    steps = registry.get(claim.file_type).steps
    if (last := before(steps, name)) is None:
        raise ClaimLost(claim.request_id)
    if name not in _bodies:
        raise ImproperlyConfigured(f"{claim.file_type} names a step {name!r}, which no imported module has made")
    owner = f"{worker} {uuid.uuid4().hex[:8]}"
    with stopping.in_step(limit), watching.step(claim, name):
        held = persistently(lambda: parts.requests.claim(claim, name, last, owner))
        running, outcome = _work(parts, held)
        if outcome.fans_out:
            return _fan_out(running, outcome)
        row = _end(running, outcome, is_last=name in (steps[-1], TELL_EXPIRY))
        return _Ended(row, row.queue != held.file_request.queue, ())


def _fan_out(running: RunningStep, outcome: Outcome) -> _Ended:
    """The end of a step that others go on with, each with a part."""
    parts, held = running.deployment, running.held
    standing = persistently(lambda: parts.parting.fan_out(held, outcome.columns, outcome.at_once))
    _drop_replaced(parts, held, standing.file_request)
    return _Ended(standing.file_request, False, standing.released)


def run_outstanding(file_request: FileRequest) -> bool:
    """Do all that is left to do of a request in this process, without a broker, under the same claims as the chain.

    False: somebody else does it, or there is nothing to do. Raises: RequestFailed, once its requester is told.
    """
    claim, steps = Claim.of(file_request), following(registry.get(file_request.file_type).steps, file_request)
    try:
        for name in steps:
            claim = run(name, claim, here())
    except ClaimLost:
        return False
    except RequestFailed:
        _tell_failure(claim)
        raise
    return bool(steps)


def run_parts(request_id: str) -> bool:
    """Do in this process the parts of a file that wait for somebody, and with the last of them all the rest.

    False: they are not out, or others have the rest of them. Raises: RequestFailed, once its requester is told.
    """
    parts = deployment.current()
    row = parts.requests.get(request_id)
    if row is None or not row.parts_are_out:
        return False
    waiting = [part for part in parts.parting.of(request_id) if part.dispatch_at is not None]
    try:
        return run_outstanding(part_execution.run_all(row, waiting, here()))
    except ClaimLost:
        return False
    except RequestFailed:
        _tell_failure(Claim.of(row))
        raise


def _tell_failure(claim: Claim) -> None:
    row = deployment.current().requests.get(claim.request_id)
    if row is not None and row.state == State.FAILED:
        with contextlib.suppress(ClaimLost, RequestFailed):  # it is told later, or has been logged
            run(NOTIFY, Claim.of(row), here())


def here() -> str:
    """The name of this process as a worker of its own, where there is no Celery delivery."""
    return f"{socket.gethostname()} {os.getpid()}"


def _work(parts: Deployment, held: Held) -> tuple[RunningStep, Outcome]:
    """The work of a held step, between the heartbeat's first beat and its last."""
    row = held.file_request
    with endings.of(parts, held), RunningStep.leased(parts, held) as running:
        with running.file_type.in_locale(row), stopping.leaving():
            return running, Outcome.of(persistently(lambda: _try(running)))


def _try(running: RunningStep) -> Outcome | Mapping[str, Any] | None:
    running.begin_anew()
    return _bodies[running.held.step](running)


def _end(running: RunningStep, outcome: Outcome, *, is_last: bool) -> FileRequest:
    """The end of a step on the row, and what follows from it."""
    parts, held, columns = running.deployment, running.held, running.located(outcome.columns)
    try:
        row = persistently(lambda: parts.requests.finish(held, columns, outcome.event, waits=not is_last))
    except ClaimLost:
        running.unstage()
        raise
    if held.file_request.parts_are_written and row.object_key is not None:
        parts.drop_parts(row)
    _drop_replaced(parts, held, row)
    _tell_whoever_waits(parts, held, row)
    return row


def _tell_whoever_waits(parts: Deployment, held: Held, row: FileRequest) -> None:
    """The producer's ``.get()``; and once more at the last step, in case that the first word was lost."""
    if row.state == State.READY != held.file_request.state:
        results.announce(parts.app, row)
    elif held.step == NOTIFY:
        results.confirm(parts.app, row)


def _drop_replaced(parts: Deployment, held: Held, row: FileRequest) -> None:
    """A step of the user's own may have written the object anew; and after a retry all of it is."""
    if held.file_request.object_key != row.object_key:
        parts.drop_object(held.file_request)
