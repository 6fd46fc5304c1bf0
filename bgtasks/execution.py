"""How one step runs: claim, heartbeat, work, end; and what becomes of an error.

``step`` makes a function a step of the chain: ours (``steps.py``) and a user's own alike.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import socket
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from celery import Task, shared_task
from celery.exceptions import Ignore, WorkerShutdown, WorkerTerminate

from bgtasks import deployment, endings, publishing, registry, results, stopping, watching, whereabouts
from bgtasks.canvas import TELL_EXPIRY, before, following, task_name
from bgtasks.claims import Claim, Held
from bgtasks.deployment import Deployment
from bgtasks.errors import ClaimLost, ImproperlyConfigured, Interrupted, RequestFailed, TimeLimitPassed
from bgtasks.leases import Lease
from bgtasks.models import FileRequest
from bgtasks.patience import persistently
from bgtasks.queues import QueueTask
from bgtasks.requests import NOTIFY
from bgtasks.states import EventKind, State
from bgtasks.stopping import Stopping

if TYPE_CHECKING:
    from bgtasks.stores import ObjectWriter

logger = logging.getLogger(__name__)

#: What a task may raise without a traceback of Celery's in the log: ours has been written there.
EXPECTED = (RequestFailed,)
#: What ends this process, and is no fault of the step.
STOPS = (Stopping, KeyboardInterrupt, WorkerShutdown, WorkerTerminate)


@dataclass
class RunningStep:
    """A step at work: what its function is given."""

    deployment: Deployment
    held: Held
    lease: Lease
    file_type: Any  #: the request's FileType, restored
    staged: bool = False

    @property
    def file_request(self) -> FileRequest:
        """The row, as it was when this step began."""
        return self.held.file_request

    @functools.cached_property
    def dataset(self) -> Any:
        """The criteria, restored and validated, and what they select. Raises: InvalidCriteria."""
        return self.file_type.restore_dataset(self.file_request)

    def do(self) -> Outcome | Mapping[str, Any] | None:
        """The step's work; each try asks for its items afresh, since the last one may have used them up."""
        self.__dict__.pop("dataset", None)
        return _bodies[self.held.step](self)

    def open_object(self) -> ObjectWriter:
        """A binary file that streams into the store, under a key of this step's own."""
        self.staged = True
        # Whoever writes hears of a cancel, also where no rows are counted.
        return self.deployment.store_at(self.store_url).open_writer(self.held.object_key, self.lease.note)

    @functools.cached_property
    def store_url(self) -> str | None:
        """The store that this step writes to, the same for as long as it runs; None: the deployment's own.

        Raises: ImproperlyConfigured.
        """
        return whereabouts.store_url_of(self.file_type)

    def leave_former_store(self) -> None:
        """Remove what an earlier try has left in a store that the file type has left since.

        Once the row names another object, nobody would look for it there. Raises: TransientError.
        """
        row = self.file_request
        if row.object_key is not None and row.store_url != self.store_url:
            try:
                self.deployment.store_of(row).delete(row.object_key)
            except ImproperlyConfigured as error:
                logger.warning("the object %s is left behind: %s", row.object_key, error)

    def located(self, columns: Mapping[str, Any]) -> dict[str, Any]:
        """An outcome, in which an object that this step has written is said to be where it is."""
        is_ours = columns.get("object_key") == self.held.object_key and self.staged
        return {"store_url": self.store_url, **columns} if is_ours else dict(columns)

    def unstage(self) -> None:
        """Remove what this step has written, unless the row names it after all."""
        if self.staged:
            self.deployment.unstage(self.held, self.store_url)


@dataclass(frozen=True)
class Outcome:
    """What a step leaves: columns of the row, and what else its history shall tell."""

    columns: Mapping[str, Any] = field(default_factory=dict)
    event: EventKind | None = None

    @classmethod
    def of(cls, returned: Outcome | Mapping[str, Any] | None) -> Outcome:
        """The outcome, however the step has put it."""
        return returned if isinstance(returned, Outcome) else cls(returned or {})


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
            return _deliver(name, Claim.parse(claim), f"{self.request.hostname} {self.request.id}", limit)

        # Not functools.wraps: Celery would check a message's arguments against the body's signature.
        task.__name__, task.__qualname__ = body.__name__, body.__qualname__
        task.__module__, task.__doc__ = body.__module__, body.__doc__
        made: Task[Any, Any] = shared_task(
            bind=True, base=QueueTask, name=task_name(name), ignore_result=True, throws=EXPECTED
        )(task)
        return made

    return decorate


def _deliver(name: str, claim: Claim, worker: str, limit: float | None) -> Claim:
    """Do the step of a message, and see that the request goes on. Raises: Ignore, RequestFailed."""
    try:
        row, is_moved = _run(name, claim, worker, limit)
    except Interrupted:
        _wake_another(claim)
        raise Ignore from None
    except ClaimLost:
        # A doubled or late message, or a cancel: the chain ends here in silence.
        raise Ignore from None
    except RequestFailed:
        publish_outstanding(claim)
        raise
    if is_moved:
        # The rest of this chain is for the queue that it was published in: it ends here, and another begins there.
        publishing.publish(row)
        raise Ignore
    return Claim.of(row)


def _wake_another(claim: Claim) -> None:
    """Have somebody else go on at once with what this worker could not."""
    requests = deployment.current().requests
    row = requests.get(claim.request_id)
    if row is not None and (waiting := requests.expedite(row)) is not None:
        publishing.publish(waiting)


def publish_outstanding(claim: Claim) -> None:
    """Wake somebody for what is left of a request that does not go on by its chain."""
    row = deployment.current().requests.get(claim.request_id)
    if row is not None and row.dispatch_at is not None:
        publishing.publish(row)


def run(name: str, claim: Claim, worker: str, limit: float | None = None) -> Claim:
    """Do one step, and return the claim for the next one.

    :param worker: the host and the delivery.
    :param limit: seconds after which this process is killed.
    Raises: ClaimLost, where there is nothing to do (any more); Interrupted, where somebody else shall do it;
    RequestFailed; UnknownFileType.
    """
    return Claim.of(_run(name, claim, worker, limit)[0])


def _run(name: str, claim: Claim, worker: str, limit: float | None) -> tuple[FileRequest, bool]:
    """The same: the row afterwards, and whether the step has chosen another queue for the rest."""
    parts = deployment.current()
    steps = registry.get(claim.file_type).steps
    if (last := before(steps, name)) is None:
        raise ClaimLost(claim.request_id)
    if name not in _bodies:
        raise ImproperlyConfigured(f"{claim.file_type} names a step {name!r}, which no imported module has made")
    owner = f"{worker} {uuid.uuid4().hex[:8]}"
    with stopping.in_step(limit), watching.step(claim, name):
        held = persistently(lambda: parts.requests.claim(claim, name, last, owner))
        row = _end(parts, held, *_work(parts, held), is_last=name in (steps[-1], TELL_EXPIRY))
        return row, row.queue != held.file_request.queue


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
    try:
        with _leased(parts, held) as running, running.file_type.in_locale(row), stopping.leaving():
            return running, Outcome.of(persistently(running.do))
    except ClaimLost:
        raise
    except STOPS as stop:
        if stopping.is_overdue():
            endings.fail(parts, held, TimeLimitPassed())
        endings.hand_over(parts, held)
        if isinstance(stop, Stopping):
            raise Interrupted(held.file_request.id) from None
        raise
    except (Exception, SystemExit) as error:  # a user's own sys.exit() must not end the worker's child
        endings.after(parts, held, error)


def _end(parts: Deployment, held: Held, running: RunningStep, outcome: Outcome, *, is_last: bool) -> FileRequest:
    """The end of a step on the row, and what follows from it."""
    columns = running.located(outcome.columns)
    try:
        row = persistently(lambda: parts.requests.finish(held, columns, outcome.event, waits=not is_last))
    except ClaimLost:
        running.unstage()
        raise
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
    """A step of the user's own may have written the object anew."""
    if held.file_request.object_key != row.object_key:
        parts.discard(held.file_request)


@contextlib.contextmanager
def _leased(parts: Deployment, held: Held) -> Iterator[RunningStep]:
    file_type = registry.get(held.file_request.file_type).restore(held.file_request)
    with Lease(parts.requests, held, parts.settings.lease, file_type.get_time_limit()) as lease:
        running = RunningStep(parts, held, lease, file_type)
        try:
            yield running
        except BaseException:
            running.unstage()
            raise
