"""How many messages wait in a queue, as every broker is asked."""

from __future__ import annotations

import time
from pathlib import Path

import psutil
from celery import Celery

from bgtasks import queues
from bgtasks.stack import wait_for
from tests.support.brokers import Broker, on_every_broker, silent_port

#: What a broker that does not answer may cost. Seconds, on a machine that may be busy.
SOON = 2.0


def put(app: Celery, name: str, count: int = 1) -> None:
    """So many messages of every priority that we use, in a queue, once all are there: RabbitMQ confirms none."""
    for priority in queues.priorities(app) * count:
        app.send_task("numbers", queue=queues.declared(app, name), priority=priority)
    wait_for(lambda: queues.length(app, name) == 3 * count, "the messages are not counted", 10)


def purge(app: Celery, name: str) -> None:
    """All that is in a queue is taken."""
    with app.connection_for_write() as connection:
        connection.channel().queue_purge(name)


def connections(broker: Broker) -> int:
    """How many this process has to the broker."""
    found = psutil.Process().net_connections()
    return sum(bool(one.raddr) and one.raddr.port == broker.port for one in found)


def asked_soon(app: Celery) -> int | None:
    """The answer, which must not take long."""
    before = time.monotonic()
    answer = queues.length(app, queues.QUEUE)
    assert time.monotonic() - before < SOON
    return answer


@on_every_broker
def test_every_priority_is_counted_and_every_other_queue_is_not(app: Celery) -> None:
    """Redis keeps a list for each priority."""
    put(app, queues.QUEUE, 2)
    put(app, "files.numbers")
    assert (queues.length(app, queues.QUEUE), queues.length(app, "files.numbers")) == (6, 3)


def test_messages_in_memory_are_counted_too() -> None:
    """For an application's own tests; what is in memory is the whole process's."""
    app = Celery("memory", broker="memory://", set_as_current=False)
    assert queues.length(app, "files.of_this_test") == 0
    put(app, "files.of_this_test")


@on_every_broker
def test_a_queue_that_is_empty_and_one_that_never_was(app: Celery) -> None:
    """Nothing waits in either; and asking makes no queue, nor keeps anybody from publishing."""
    put(app, queues.QUEUE)
    purge(app, queues.QUEUE)
    assert queues.length(app, queues.QUEUE) == 0
    assert [queues.length(app, "files.never") for _ in range(2)] == [0, 0]
    put(app, "files.never")


@on_every_broker
def test_asking_leaves_no_connection_behind(app: Celery, broker: Broker) -> None:
    """Sweeps ask for ever, for queues that are there and for queues that are not."""
    put(app, queues.QUEUE)
    queues.length(app, queues.QUEUE)
    before = connections(broker)
    for _ in range(5):
        queues.length(app, queues.QUEUE)
        queues.length(app, "files.never")
    assert connections(broker) == before


@on_every_broker
def test_a_broker_that_does_not_run(app: Celery, broker: Broker) -> None:
    """None, at once; and a number when it is there again."""
    put(app, queues.QUEUE)
    broker.kill()
    assert asked_soon(app) is None
    broker.start_empty()
    assert asked_soon(app) == 0


@on_every_broker
def test_a_broker_that_falls_silent(app: Celery, broker: Broker) -> None:
    """It still takes connections: None, soon, and however patient this process is otherwise."""
    put(app, queues.QUEUE)
    with broker.asleep():
        assert asked_soon(app) is None
    assert asked_soon(app) == 3


@on_every_broker
def test_something_that_never_answers(app: Celery, broker: Broker) -> None:
    """Whatever it is that listens there."""
    with silent_port() as port:
        app.conf.broker_url = broker.at(port)
        assert asked_soon(app) is None


def test_a_broker_that_kombu_can_not_count_on(tmp_path: Path) -> None:
    """Most of its transports say 0, whatever is in the queue: that would be taken for a loss."""
    app = Celery("files", broker="filesystem://", set_as_current=False)
    app.conf.broker_transport_options = {"data_folder_in": str(tmp_path), "data_folder_out": str(tmp_path)}
    assert queues.length(app, queues.QUEUE) is None
