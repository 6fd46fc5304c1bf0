"""A deployment that things happen to."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller
from celery import Celery
from sqlalchemy import select

from bgtasks import queues, sweeps
from bgtasks.deployment import Deployment
from bgtasks.models import FileRequest
from bgtasks.stack import HOST, Mailbox, Process, Stack
from tests.recovery.asked import Asked
from tests.support.brokers import Broker
from tests.support.faults import Stop

_numbers = itertools.count(1)


class PostOffice(Mailbox):
    """A mail server that can be away for a while, or too busy to take mails."""

    busy = False

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802 - aiosmtpd's name
        return "451 Try again later" if self.busy else await super().handle_DATA(server, session, envelope)

    def close(self) -> None:
        """Nobody listens any more."""
        self._controller.stop()

    def reopen(self) -> None:
        """Listen at the same place again."""
        self._controller = Controller(self, HOST, self._controller.port)
        self._controller.start()


@dataclass
class Scene:
    """Broker, database, mail server, store and workers of one module's tests."""

    stack: Stack
    broker: Broker
    app: Celery
    parts: Deployment
    post: PostOffice
    folder: Path
    workers: list[Process] = field(default_factory=list)

    @property
    def store(self) -> Path:
        """Where the finished files are."""
        return self.folder / "files"

    # -- workers --------------------------------------------------------------------------------

    def start_worker(self, *, slots: int = 4) -> Process:
        """One more worker, ready."""
        arguments = ("-c", str(slots), "--without-gossip")
        self.workers.append(worker := self.stack.start_worker(*arguments, name=f"worker{len(self.workers) + 1}"))
        return worker

    def worker(self, *, slots: int = 4) -> Process:
        """A worker that runs already, or a new one: starting one takes seconds."""
        return next((one for one in self.workers if one.running), None) or self.start_worker(slots=slots)

    def at_work(self) -> set[int]:
        """The children of whom their worker knows that they have taken up a task."""
        running = sum(worker.running for worker in self.workers)
        answers = self.app.control.inspect(timeout=30, limit=running).active()  # it returns when so many have answered
        return {task["worker_pid"] for tasks in answers.values() for task in tasks if task["acknowledged"]}

    def until_stopped(self, stops: Iterable[Stop], *, sweeping: bool = False) -> set[int]:
        """The children that have stopped at all of these points, once their workers know what they are doing.

        A child that dies before that gives its delivery back to its worker's pool, as if it had never had it.
        """
        stops = list(stops)
        self.until(lambda: all(stop.child for stop in stops), "nobody stops there", sweeping=sweeping)
        children = {stop.child for stop in stops if stop.child}
        self.until(lambda: children <= self.at_work(), "the workers don't know", sweeping=False)
        return children

    # -- the broker -----------------------------------------------------------------------------

    def waiting(self, file_type: str = "flights") -> int | None:
        """How many messages wait in the queue of a file type."""
        return queues.length(self.app, queues.queue_of(file_type))

    def drop_messages(self, file_type: str = "flights") -> None:
        """Lose all that waits there."""
        with self.app.connection_for_write() as connection:
            connection.channel().queue_purge(queues.queue_of(file_type))

    # -- time -----------------------------------------------------------------------------------

    def sweep(self) -> None:
        """What beat has a worker do every ten seconds."""
        sweeps.dispatch()
        sweeps.recover()

    def until(self, condition: Callable[[], Any], what: str, *, seconds: float = 90.0, sweeping: bool = True) -> Any:
        """The first true answer of a condition that is asked again and again, between sweeps."""
        deadline = time.monotonic() + seconds
        while not (found := condition()):
            assert time.monotonic() < deadline, f"{what}: not within {seconds:.0f} seconds"
            if sweeping:
                self.sweep()
            time.sleep(0.05)
        return found

    def until_over(self, asked: Iterable[Asked], **options: Any) -> None:
        """Until nothing more will happen to any of these requests."""
        outstanding = list(asked)

        def are_over() -> bool:
            outstanding[:] = [one for one in outstanding if not one.is_over]
            return not outstanding

        try:
            self.until(are_over, "some requests are not over", **options)
        except AssertionError as late:
            tales = "\n".join(f"{one.row!r} {one.row and one.row.step}: {one.tale}" for one in outstanding)
            raise AssertionError(f"{late}:\n{tales}") from None

    # -- requests -------------------------------------------------------------------------------

    def new(self, file_type: str = "flights", **criteria: Any) -> Asked:
        """A request that is not sent yet, by a requester of its own."""
        return Asked(self, file_type, criteria, f"requester{next(_numbers)}@example.com")

    def ask(self, file_type: str = "flights", **criteria: Any) -> Asked:
        """A request that is on its way."""
        return self.new(file_type, **criteria).send()

    def slots_taken(self, slots: int) -> Busy:
        """A context in which every slot of the workers is busy, so that messages wait."""
        return Busy(self, slots)

    # -- the store ------------------------------------------------------------------------------

    def objects(self) -> set[str]:
        """All that lies in the store's folder, what a local writer has staged (``key#1``) too."""
        return {str(file.relative_to(self.store)) for file in self.store.rglob("*") if file.is_file()}

    def assert_nothing_is_orphaned(self) -> None:
        """After a sweep there are the objects that rows name, and no others."""
        sweeps.clean()
        with self.parts.database.reading() as session:
            named = set(session.scalars(select(FileRequest.object_key).where(FileRequest.object_key.is_not(None))))
        assert self.objects() == named


class Busy(ExitStack):
    """Requests that wait at their gates, one in each slot; the gates are opened in the end."""

    def __init__(self, scene: Scene, slots: int) -> None:
        super().__init__()
        self.asked = [scene.ask("gated_flights") for _ in range(slots)]
        for one in self.asked:
            self.callback(one.gate.open)
        scene.until(lambda: all(one.gate.arrivals for one in self.asked), "the slots are not taken")
