"""Who publishes to our queues declares them as the workers do: RabbitMQ refuses any second way (406)."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from amqp.exceptions import PreconditionFailed
from celery import Celery
from celery.beat import Scheduler
from kombu import Connection, Queue

import bgtasks
from bgtasks import canvas, install, publishing, queues, request_file, steps, toolbox
from bgtasks.stack import wait_for
from tests.conftest import KEY, new_sqlite
from tests.support.brokers import Broker, on_every_broker

README = (Path(bgtasks.__file__).parent.parent / "README.md").read_text()
FILES = queues.queue_of("numbers")

rabbitmq = pytest.mark.parametrize("broker", ["rabbitmq"], indirect=True)


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    """Requests are stored here."""
    return new_sqlite(tmp_path)


def is_refused(broker: Broker, name: str, **arguments: Any) -> bool:
    """Whether the broker has the queue, and with other arguments than these."""
    arguments = {name.replace("_", "-"): value for name, value in arguments.items()}
    with Connection(broker.url) as connection:  # not the app's: that one remembers what it has declared
        assert wait_for(lambda: connection.channel().queue_declare(name, passive=True), "the queue is not there", 10)
        try:
            Queue(name, queue_arguments=arguments)(connection.channel()).queue_declare()
        except PreconditionFailed:
            return True
    return False


def by_beat(app: Celery) -> None:
    """What beat does when a sweep is due."""
    scheduler = Scheduler(app, lazy=True)
    scheduler.setup_schedule()
    scheduler.apply_async(scheduler.schedule["bgtasks-dispatch"], advance=False)


def by_a_step(app: Celery) -> None:
    """What a worker's child does when a step has ended: it publishes the rest of the message's chain."""
    row = toolbox.add_request({}, "numbers", "ada@example.com")
    links = canvas.build(row, canvas.STEPS, FILES, {}, app)
    app.signature(json.loads(json.dumps(links.tasks[1]))).apply_async((str(row.id),))


ROADS: dict[str, tuple[str, Callable[[Celery], Any]]] = {
    "request_file": (queues.QUEUE, lambda app: request_file.delay("numbers")),
    "add_request": (FILES, lambda app: toolbox.add_request({}, "numbers", schedule=True)),
    "a step of one's own": (FILES, lambda app: steps.attach.apply_async(("a claim",), queue=FILES)),
    "the next link": (FILES, by_a_step),
    "beat": (queues.QUEUE, by_beat),
}


@rabbitmq
@pytest.mark.parametrize("road", ROADS)
def test_every_road_declares_the_queue_with_priorities(app: Celery, broker: Broker, road: str) -> None:
    """Whichever process comes first; the application need not set anything for it."""
    name, publish = ROADS[road]
    publish(app)
    assert not is_refused(broker, name, x_max_priority=10)
    assert is_refused(broker, name)


class TestOwnQueues:
    """An application that has queues of its own, and its own idea of priorities."""

    @pytest.fixture
    def own(self, broker: Broker) -> Celery:
        """It has one that is called as if it were ours, too."""
        made = Celery("own", broker=broker.url, set_as_current=False)
        made.conf.update(
            bgtasks_default_key=KEY,
            task_queue_max_priority=5,
            task_queues=[Queue("exports", queue_arguments={"x-max-priority": 3}), Queue("files.own")],
        )
        install(made)
        return made

    @rabbitmq
    def test_its_own_queues_stay_as_they_are_and_ours_are_ours(self, own: Celery, broker: Broker) -> None:
        """In its workers, and in what it publishes; also where its file types use its queues."""
        queues.consume(own, [queues.QUEUE, FILES, "files.own", "exports", "unlisted"])
        consumed = own.amqp.queues.consume_from
        assert set(consumed) == {queues.QUEUE, FILES, "files.own", "exports", "unlisted"}
        with own.connection_for_write() as connection:
            for queue in consumed.values():
                queue(connection.channel()).declare()
        for name, highest in {queues.QUEUE: 10, FILES: 10, "files.own": 5, "exports": 3, "unlisted": 5}.items():
            own.tasks["bgtasks.attach"].apply_async(("a claim",), queue=name)
            assert not is_refused(broker, name, x_max_priority=highest)

    def test_a_list_of_queues_that_is_complete(self) -> None:
        """With ``task_create_missing_queues`` off, ours need not be listed: neither in workers nor in web processes."""
        own = Celery("own", broker="memory://", set_as_current=False)
        own.conf.update(task_create_missing_queues=False, task_queues=[Queue("own")], bgtasks_default_key=KEY)
        install(own)
        own.set_current()
        request_file.delay("numbers")
        queues.consume(own, install_names := [queues.QUEUE, FILES])
        assert set(own.amqp.queues.consume_from) == {"own", *install_names}
        own.close()


@rabbitmq
def test_a_queue_that_somebody_has_declared_otherwise(app: Celery, broker: Broker, caplog: Any) -> None:
    """The request is stored, and waits for the sweep; the log says what RabbitMQ says."""
    with Connection(broker.url) as connection:
        Queue(FILES)(connection.channel()).queue_declare()
    row = toolbox.add_request({}, "numbers", schedule=True)
    assert row.dispatch_at is not None
    assert "PRECONDITION_FAILED" in caplog.text
    assert publishing.attempt(row)  # a sweep goes on with the others


class TestForeign:
    """A producer that has Celery alone, in a process of its own."""

    @on_every_broker
    @pytest.mark.parametrize("worker_first", [True, False])
    def test_the_readmes_producer_is_understood(self, app: Celery, broker: Broker, worker_first: bool) -> None:
        """On each broker, whoever is the first to declare the queue."""
        if worker_first:
            self.declare_as_a_worker(app)
        (block,) = (one for one in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if "producer.send_task" in one)
        assert not self.run(block.replace("redis://localhost", broker.url))
        wait_for(lambda: queues.length(app, queues.QUEUE) == 1, "the message is not there", 10)
        self.declare_as_a_worker(app)

    @rabbitmq
    def test_one_that_knows_nothing_of_priorities_is_told(self, app: Celery, broker: Broker) -> None:
        """RabbitMQ's own error names the queue and the argument, and harms nobody else."""
        self.declare_as_a_worker(app)
        call = 'send_task("bgtasks.request_file", queue="bgtasks")'
        error = self.run(f"from celery import Celery; Celery(broker={broker.url!r}).{call}")
        assert "PRECONDITION_FAILED - inequivalent arg 'x-max-priority' for queue 'bgtasks'" in error
        request_file.delay("numbers")

    def declare_as_a_worker(self, app: Celery) -> None:
        """On a connection of its own."""
        queues.consume(app, [queues.QUEUE])
        with app.connection_for_write() as connection:
            app.amqp.queues[queues.QUEUE](connection.channel()).declare()

    def run(self, program: str) -> str:
        """What a Python program prints to its standard error."""
        done = subprocess.run(
            [sys.executable, "-c", program], check=False, capture_output=True, text=True, timeout=60, cwd="/"
        )
        return done.stderr
