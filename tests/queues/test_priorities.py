"""Priorities as the brokers have them: a message that must not wait is taken first."""

from __future__ import annotations

import time
from typing import Any

import pytest
from celery import Celery
from celery.beat import Scheduler

import celeryconfig
from bgtasks import floods, queues, request_file, sweeps
from bgtasks.stack import wait_for
from tests.support.brokers import on_every_broker


def taken(app: Celery, name: str, header: str = "task") -> list[str]:
    """The tasks in a queue, by a header, in the order in which the broker gives them out."""
    with app.connection_for_read() as connection:
        channel = connection.channel()
        return [message.headers[header] for message in iter(lambda: channel.basic_get(name, no_ack=True), None)]


def scheduled(app: Celery) -> None:
    """Every sweep is due."""
    scheduler = Scheduler(app, lazy=True)
    scheduler.setup_schedule()
    for name in sweeps.schedule():
        scheduler.apply_async(scheduler.schedule[name], advance=False)


@on_every_broker
def test_sweeps_go_before_whatever_waits_in_their_queue(app: Celery) -> None:
    """Beat's entries are made before the broker is known; who publishes them knows."""
    for _ in range(3):
        request_file.delay("numbers")
    scheduled(app)
    sweeps.recover.delay()
    count = len(sweeps.schedule()) + 4
    wait_for(lambda: queues.length(app, queues.QUEUE) == count, "the messages are not there", 10)
    assert taken(app, queues.QUEUE) == [
        *(f"bgtasks.{name}" for name in sweeps.SWEEPS),
        "bgtasks.recover",
        *["bgtasks.request_file"] * 3,
    ]


@on_every_broker
def test_a_flood_waits_behind_what_comes_by_itself(app: Celery) -> None:
    """All of them are in one queue, where the others would otherwise wait until all of the flood is stored."""
    began = time.monotonic()
    for _ in range(3 * floods.AT_ONCE):
        request_file.apply_async(kwargs={"file_type": "flood"}, argsrepr="flood")
    allowed = floods.AT_ONCE + floods.PER_SECOND * (time.monotonic() - began)
    request_file.apply_async(("other",), argsrepr="other")
    count = 3 * floods.AT_ONCE + 1
    wait_for(lambda: queues.length(app, queues.QUEUE) == count, "the messages are not there", 10)
    order = taken(app, queues.QUEUE, "argsrepr")
    assert len(order) == count
    assert order.index("other") <= allowed


@pytest.mark.parametrize("options", [celeryconfig.broker_transport_options], ids=["the reference deployment"])
def test_queues_take_turns_on_redis(app: Celery, options: dict[str, Any]) -> None:
    """A worker of all types: one's backlog keeps no other waiting, and whatever has begun goes before both."""
    app.conf.broker_transport_options = options
    first, later, _ = queues.priorities(app)
    for name, priority in [("files.one", first)] * 3 + [("files.two", first)] * 2 + [("files.two", later)]:
        app.send_task(f"{name} {priority}", queue=name, priority=priority)
    order: list[str] = []
    with app.connection_for_read() as connection, connection.channel() as channel:
        consumer = app.amqp.TaskConsumer(
            channel, [app.amqp.queues.select_add(name) for name in ("files.one", "files.two")]
        )
        consumer.register_callback(lambda _, message: order.append(message.headers["task"]))
        with consumer:
            while len(order) < 6:
                connection.drain_events(timeout=10)
    one, two = f"files.one {first}", f"files.two {first}"
    assert order == [f"files.two {later}", one, two, one, two, one]


@on_every_broker
def test_a_caller_may_choose_otherwise(app: Celery) -> None:
    """Whoever asks for a file says how urgent it is, in the broker's own numbers."""
    first, later, _ = queues.priorities(app)
    request_file.apply_async(("numbers",), priority=first, argsrepr="first")
    request_file.apply_async(("numbers",), priority=later, argsrepr="later")
    wait_for(lambda: queues.length(app, queues.QUEUE) == 2, "the messages are not there", 10)
    with app.connection_for_read() as connection:
        message: Any = connection.channel().basic_get(queues.QUEUE, no_ack=True)
    assert message.headers["argsrepr"] == "later"


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("redis://localhost", "redis"),
        ("rediss://localhost", "redis"),
        ("sentinel://localhost:26379", "redis"),
        ("amqp://localhost//", "amqp"),
        ("pyamqp://localhost//", "amqp"),
        ("amqps://localhost//", "amqp"),
        ("amqp://one//;amqp://two//", "amqp"),
        (["amqp://one//", "amqp://two//"], "amqp"),
        ("memory://", "memory"),
        (None, "amqp"),
    ],
)
def test_the_kind_of_a_broker(url: Any, kind: str) -> None:
    """However it is written; without one Celery takes RabbitMQ's own address."""
    app = Celery("kind", broker=url, set_as_current=False)
    app.conf.broker_use_ssl = {"ssl_cert_reqs": "required"}
    assert queues.kind(app) == kind


def test_a_broker_without_priorities() -> None:
    """Nothing is asked of it."""
    app = Celery("files", broker="filesystem://", set_as_current=False)
    assert queues.priorities(app) == (None, None, None)
