"""The deployment that the chaos comes over: real processes, a real broker, a real mail server."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from celery import Celery
from kombu.exceptions import KombuError
from sqlalchemy import or_, select

import celeryconfig as reference
from bgtasks import database, deployment, publishing, registry
from bgtasks.deployment import Deployment
from bgtasks.models import FileRequest, Part
from bgtasks.stack import Mailbox, Process, Stack
from bgtasks.states import LIVE
from tests.chaos import celeryconfig, exports, pulse
from tests.chaos.timeline import Timeline
from tests.conftest import KEY
from tests.support import producers
from tests.support.brokers import Broker
from tests.support.processes import children_of

ROOT = Path(reference.__file__).parent
WORKERS = ("worker1", "worker2")
SLOTS = 2
#: The share of the faults at workers and children that aim at those that are at work.
AIMED = 0.7
#: Requests whose messages are doubled at once.
FEW = 4
#: Seconds after which the mail server answers that it has taken a mail: who asked may be dead by then.
THOUGHT = 0.3
#: Seconds that a worker which was asked to end may take: a child of it may just be patient with a broker that is away.
ENDING = 60.0
#: A worker's last words where one of its children was killed before the worker was ready: Celery's way.
STILLBORN = "Could not start worker processes"

logger = logging.getLogger(__name__)


class PostOffice(Mailbox):
    """A mail server that can ask its clients to try again later."""

    refusing = 0  #: how many reasons it has to do so
    refused = 0  #: how often it has done so

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802 - aiosmtpd's name
        if self.refusing:
            self.refused += 1
            return "451 Try again later"
        answer = await super().handle_DATA(server, session, envelope)
        await asyncio.sleep(THOUGHT)
        return answer


@dataclass
class Scene:
    """What the faults hit, and what the producers use."""

    stack: Stack
    app: Celery
    parts: Deployment
    post: PostOffice
    store: Path  #: where the finished files are
    pulse: Path  #: where the children leave traces of their work
    broker: Broker
    workers: list[Process]
    beat: Process
    timeline: Timeline = field(default_factory=Timeline)
    errands: Executor = field(default_factory=lambda: ThreadPoolExecutor(1))
    down: set[str] = field(default_factory=set)  #: the processes that a fault has ended
    ended: list[str] = field(default_factory=list)  #: those that have ended by themselves
    stuck: list[str] = field(default_factory=list)  #: those that have not ended when they were asked to
    emptied: float = 0  #: when the broker came back last

    @property
    def away(self) -> tuple[type[Exception], ...]:
        """What anybody meets whose broker or database is away for a while."""
        connection: Any = self.app.connection_for_write()
        services = connection.connection_errors + connection.channel_errors
        results = getattr(self.app.backend, "connection_errors", ())
        return (*database.UNREACHABLE, KombuError, OSError, *services, *results)

    # -- processes ------------------------------------------------------------------------------

    def up(self) -> list[Process]:
        """The workers that run."""
        return [worker for worker in self.workers if worker.running]

    def some_worker(self, dice: Random) -> Process | None:
        """One of them, rather one that is at work; None: they are all down."""
        traces = pulse.at_work(self.pulse)
        busy = [worker for worker in self.up() if traces & set(children_of(worker.pid))]
        aimed = busy if busy and dice.random() < AIMED else self.up()
        return dice.choice(aimed) if aimed else None

    def some_child(self, dice: Random) -> int | None:
        """A process of their pools, rather one that is at work; None: there is none just now."""
        children = [child for worker in self.up() for child in children_of(worker.pid)]
        busy = sorted(pulse.at_work(self.pulse) & set(children))
        aimed = busy if busy and dice.random() < AIMED else children
        return dice.choice(aimed) if aimed else None

    def bring_down(self, process: Process, end: Callable[[], object], seconds: float) -> None:
        """End a worker, and start it again so many seconds after its end."""
        self.down.add(process.name)
        end()
        self.timeline.after(seconds, lambda: self._bring_up(process))

    def _bring_up(self, process: Process, patience: float = ENDING) -> None:
        if process.name not in self.down:  # it is up again already
            return
        if process.running and patience > 0:  # it was asked to end, and takes its time
            self.timeline.after(0.2, lambda: self._bring_up(process, patience - 0.2))
            return
        if process.running:
            self.stuck.append(process.name)
            process.send(signal.SIGUSR1)  # it writes into its log where it is (Celery's way)
            time.sleep(1)
        process.kill()  # with its children, if it has left some
        process.start()
        self.down.discard(process.name)

    @property
    def broker_is_up(self) -> bool:
        """Whether nobody has killed it."""
        return self.broker.process.name not in self.down

    def empty_broker(self, seconds: float) -> None:
        """Kill the broker; so many seconds later it comes back with nothing."""
        self.down.add(self.broker.process.name)
        self.broker.kill()
        # Some take long to start, and nobody else waits for that.
        self.timeline.after(seconds, lambda: self._look_after(self.errands.submit(self.broker.start_empty)))

    def _look_after(self, start: Future[None]) -> None:
        if not start.done():
            self.timeline.after(0.2, lambda: self._look_after(start))
            return
        start.result()
        self.down.discard(self.broker.process.name)
        if self.broker.name == "valkey":
            self.emptied = time.time()  # the results were there too

    def watch(self) -> None:
        """A process that ends, though nobody has ended it, is a fault of ours; and the run goes on."""
        for process in (self.broker.process, self.beat, *self.workers):
            if not process.running and process.name not in self.down:
                if STILLBORN not in process.output():
                    self.ended.append(process.name)
                process.kill()  # with its children, if it has left some
                process.start()

    # -- requests -------------------------------------------------------------------------------

    def outstanding(self) -> list[FileRequest]:
        """The requests that are not at rest, in the order in which they came."""
        outstanding = or_(
            FileRequest.state.in_(LIVE), FileRequest.dispatch_at.is_not(None), FileRequest.leased_by.is_not(None)
        )
        with self.parts.database.reading() as session:
            query = select(FileRequest).where(outstanding)
            return list(session.scalars(query.order_by(FileRequest.requested_at, FileRequest.id)))

    def some_requests(self, dice: Random) -> list[FileRequest]:
        """A few of them."""
        outstanding = self.outstanding()
        return dice.sample(outstanding, min(FEW, len(outstanding)))

    def rows(self) -> list[FileRequest]:
        """All requests."""
        with self.parts.database.reading() as session:
            return list(session.scalars(select(FileRequest)))

    def part_rows(self) -> list[Part]:
        """All parts that there are rows of."""
        with self.parts.database.reading() as session:
            return list(session.scalars(select(Part)))

    def message(self, row: FileRequest) -> Callable[[], bool]:
        """What publishes once more what a request waits for as it is now, or what is being done of it."""
        if row.parts_are_out:
            return functools.partial(publishing.publish_parts, row, self.parts.parting.of(row.id))
        return functools.partial(publishing.publish, row)

    def steps_at_work(self) -> list[str] | None:
        """The steps and parts that children do just now; None: not every worker answers."""
        answers = self.app.control.inspect(timeout=2).active() or {}
        names = [task["name"] for tasks in answers.values() for task in tasks]
        return [name for name in names if name in pulse.TASKS] if len(answers) == len(self.workers) else None


@contextlib.contextmanager
def running(folder: Path, database_url: str, start_broker: Callable[[Stack], Broker]) -> Iterator[Scene]:
    """A deployment in a new folder, on an empty database with our tables; ended at the end, whatever happens."""
    post = PostOffice()
    var, store, temporary, traces = (folder / name for name in ("var", "files", "tmp", "pulse"))
    for made in (var, store, temporary, traces):
        made.mkdir(parents=True)
    env = {
        "CELERY_CONFIG_MODULE": celeryconfig.__name__,
        "BGTASKS_DATABASE_URL": database_url,
        "BGTASKS_STORE_URL": str(store),
        "BGTASKS_DEFAULT_KEY": KEY,
        "BGTASKS_SMTP_URL": post.url,
        pulse.FOLDER: str(traces),
        "TMPDIR": str(temporary),  # where a child that is killed leaves what it had there
    }
    stack = Stack(ROOT, var, env)
    try:
        broker = start_broker(stack)
        with _producing(stack) as app:
            exports.fill(deployment.current().database)
            workers = [stack.start_worker("-c", str(SLOTS), name=name) for name in WORKERS]
            beat = stack.start_beat()
            yield Scene(stack, app, deployment.current(), post, store, traces, broker, workers, beat)
    finally:
        _resume(stack)
        stack.stop()
        post.stop()


@contextlib.contextmanager
def _producing(stack: Stack) -> Iterator[Celery]:
    """The app of the producers, in this process."""
    app = producers.producer("chaos", celeryconfig.__name__, stack)
    app.set_current()
    for file_type in exports.TYPES:
        registry.register(file_type)
    try:
        yield app
    finally:
        database.current().engine.dispose()
        app.close()


def _resume(stack: Stack) -> None:
    """What was stopped could not end itself."""
    for process in stack.processes:
        if process.running:
            process.send(signal.SIGCONT)
