"""How one step runs: claim, heartbeat, work, end; and what becomes of an error.

``step`` makes a function a step of the chain: ours (``steps.py``) and a user's own alike.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import random
import socket
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn, TypeVar

from celery import Task, shared_task
from celery.exceptions import Ignore, SoftTimeLimitExceeded

from bgtasks import database, deployment, publishing, registry, results
from bgtasks.canvas import task_name
from bgtasks.claims import Claim, Held
from bgtasks.deployment import Deployment
from bgtasks.errors import BgtasksError, ClaimLost, ImproperlyConfigured, RequestFailed, TransientError
from bgtasks.leases import Lease
from bgtasks.models import FileRequest
from bgtasks.requests import NOTIFY
from bgtasks.states import LIVE, EventKind, State
from bgtasks.stores import ObjectWriter

#: Seconds that a step tries again in its slot, before it is handed back.
IN_SLOT = 5.0
#: How often a request is handed back, before an outage fails it after all: hours, by the growing delay.
MOST_HAND_BACKS = 40
#: What a task may raise without a traceback of Celery's in the log: ours has been written there.
EXPECTED = (RequestFailed,)

logger = logging.getLogger(__name__)
Result = TypeVar("Result")


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
        return self.deployment.store.open_writer(self.held.object_key)

    def unstage(self) -> None:
        """Remove what this step has written, unless the row names it after all."""
        if self.staged:
            self.deployment.unstage(self.held)


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
            try:
                return run(name, Claim.parse(claim), f"{self.request.hostname} {self.request.id}")
            except ClaimLost:
                # A doubled or late message, or a cancel: the chain ends here in silence.
                raise Ignore from None

        # Not functools.wraps: Celery would check a message's arguments against the body's signature.
        task.__name__, task.__qualname__ = body.__name__, body.__qualname__
        task.__module__, task.__doc__ = body.__module__, body.__doc__
        made: Task[Any, Any] = shared_task(bind=True, name=task_name(name), ignore_result=True, throws=EXPECTED)(task)
        return made

    return decorate


def run(name: str, claim: Claim, worker: str) -> Claim:
    """Do one step, and return the claim for the next one.

    :param worker: the host and the delivery.
    Raises: ClaimLost, where there is nothing to do (any more); RequestFailed; UnknownFileType.
    """
    parts = deployment.current()
    steps = registry.get(claim.file_type).steps
    if name not in steps:
        raise ClaimLost(claim.request_id)
    if name not in _bodies:
        raise ImproperlyConfigured(f"{claim.file_type} names a step {name!r}, which no imported module has made")
    before = ("", *steps)[steps.index(name)]
    owner = f"{worker} {uuid.uuid4().hex[:8]}"
    held = _persistently(lambda: parts.requests.claim(claim, name, before, owner))
    return _work(parts, held, is_last=name == steps[-1])


def here() -> str:
    """The name of this process as a worker of its own, where there is no Celery delivery."""
    return f"{socket.gethostname()} {os.getpid()}"


def _work(parts: Deployment, held: Held, *, is_last: bool) -> Claim:
    """The work of a held step, from the heartbeat's first beat to the end on the row."""
    try:
        with _leased(parts, held) as running:
            outcome = Outcome.of(_persistently(running.do))
    except ClaimLost:
        raise
    except Exception as error:
        if is_transient(error) and _times_handed_back(parts, held) < MOST_HAND_BACKS:
            _hand_back(parts, held, error)
        _fail(parts, held, error)
    try:
        row = _persistently(
            lambda: parts.requests.finish(held, dict(outcome.columns), outcome.event, waits=not is_last)
        )
    except ClaimLost:
        running.unstage()
        raise
    _drop_replaced(parts, held, row)
    _tell_whoever_waits(parts, held, row)
    return Claim.of(row)


def _tell_whoever_waits(parts: Deployment, held: Held, row: FileRequest) -> None:
    """The producer's ``.get()``; and once more at the last step, in case that the first word was lost."""
    if row.state == State.READY != held.file_request.state:
        results.announce(parts.app, row)
    elif held.step == NOTIFY:
        results.confirm(parts.app, row)


def _drop_replaced(parts: Deployment, held: Held, row: FileRequest) -> None:
    """A step of the user's own may have written the object anew."""
    replaced = held.file_request.object_key
    if replaced and replaced != row.object_key:
        parts.store.delete(replaced)


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


def _times_handed_back(parts: Deployment, held: Held) -> int:
    entries = parts.requests.history(held.file_request.id)
    return sum(entry.kind == EventKind.HANDED_BACK for entry in entries)


def _hand_back(parts: Deployment, held: Held, error: BaseException) -> NoReturn:
    """A service is away: somebody shall repeat this step a little later. Raises: ClaimLost, to end the chain."""
    logger.warning("%r hands back %s: %s", held.claim, held.step, type(error).__name__, exc_info=error)
    delay = min(parts.settings.patience, 2.0**held.file_request.dispatches) * _jitter()
    _persistently(
        lambda: parts.requests.hand_back(held, delay, getattr(error, "error_code", TransientError.error_code))
    )
    raise ClaimLost(held.file_request.id) from None


def _fail(parts: Deployment, held: Held, error: Exception) -> NoReturn:
    """What can't succeed fails at once. Raises: RequestFailed, which reveals nothing but the code."""
    code, sentence = _told(error)
    logger.error("%r fails in %s: %s", held.claim, held.step, code, exc_info=error)
    if held.file_request.state in LIVE:
        tells = NOTIFY in registry.get(held.file_request.file_type).steps
        row = _persistently(lambda: parts.requests.fail(held, code, sentence, waits=tells))
        results.announce(parts.app, row)
        if tells:
            publishing.publish(row)
    else:  # a finished file never turns into a failure because its requester could not be told
        _persistently(lambda: parts.requests.finish(held, {}, EventKind.NOTIFY_FAILED, waits=False))
    raise RequestFailed(sentence, held.file_request.id, code) from None


def _told(error: Exception) -> tuple[str, str]:
    """An error's code and a sentence that is fit for the requester."""
    if isinstance(error, SoftTimeLimitExceeded):
        return "time_limit", "It took longer than this file may take. Please narrow it down."
    if isinstance(error, BgtasksError) and not isinstance(error, ImproperlyConfigured):
        return error.error_code, str(error)
    return getattr(error, "error_code", BgtasksError.error_code), BgtasksError.default_message()


def is_transient(error: BaseException) -> bool:
    """Whether trying again may work: a service is away, and nothing is wrong with what was asked."""
    return isinstance(error, TransientError) or database.is_unreachable(error)


def _jitter() -> float:
    """So that what failed together does not come back together."""
    return random.uniform(0.5, 1.5)  # noqa: S311 - nothing secret


def _persistently(call: Callable[[], Result]) -> Result:
    """Try again for a few seconds while a service is away; every call must bear being repeated."""
    deadline, pause = time.monotonic() + IN_SLOT, 0.1
    while True:
        try:
            return call()
        except Exception as error:
            if not is_transient(error) or time.monotonic() + pause > deadline:
                raise
            time.sleep(pause * _jitter())
            pause *= 2
