"""A broker that goes away and comes back empty, and messages that are lost, doubled or late."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from bgtasks import publishing
from bgtasks.canvas import STEPS
from bgtasks.stack import Process
from tests.recovery.asked import Asked
from tests.recovery.conftest import ON_EACH_BROKER
from tests.recovery.scene import Scene
from tests.support.faults import Point
from tests.support.processes import children_of

pytestmark = ON_EACH_BROKER

SLOTS = 2
#: Messages that are in the queue for sure when it is lost.
LOST = 2
#: "Within about 1 s", on a machine that may be busy.
AT_ONCE = 3.0


def some_that_wait(scene: Scene) -> list[Asked]:
    """Requests whose messages wait in the queue; on RabbitMQ the worker has fetched as many as it has slots."""
    waiting = [scene.new().schedule() for _ in range(SLOTS + LOST)]
    scene.until(lambda: (scene.waiting() or 0) >= LOST, "the messages don't wait", sweeping=False)
    return waiting


@pytest.fixture
def worker(scene: Scene) -> Iterator[Process]:
    """A worker of few slots; at the end of each test it is the same as ever, and so are its children."""
    worker = scene.worker(slots=SLOTS)
    children = children_of(worker.pid)
    yield worker
    assert children_of(worker.pid) == children


@pytest.mark.usefixtures("worker")
def test_a_broker_that_restarts_empty(scene: Scene) -> None:
    """Who is at work goes on; who has waited is missed and published again, and has not failed an attempt."""
    with scene.slots_taken(SLOTS) as busy:
        waiting = some_that_wait(scene)
        scene.broker.kill()
        scene.broker.start_empty()
        assert scene.waiting() == 0
    scene.until_over([*busy.asked, *waiting])
    for asked in (*busy.asked, *waiting):
        asked.assert_is_served()
    assert sum(asked.dispatched for asked in waiting) >= LOST
    assert not any(asked.dispatched for asked in busy.asked)
    scene.assert_nothing_is_orphaned()


@pytest.mark.usefixtures("worker")
def test_a_broker_that_is_away_for_a_while(scene: Scene) -> None:
    """A step that ends meanwhile keeps its next link until there is somebody to take it; producers don't wait."""
    with scene.slots_taken(1) as busy:
        scene.broker.kill()
        before = time.monotonic()
        stored = scene.new().schedule()
        assert time.monotonic() - before < AT_ONCE
        scene.sweep()  # a sweep that finds no broker is no disaster
    (writing,) = busy.asked
    scene.until(lambda: "write_bytes" in writing.steps, "the step does not end", sweeping=False)
    scene.broker.start_empty()
    scene.until_over([writing, stored])
    writing.assert_is_served()
    stored.assert_is_served()
    assert stored.dispatched
    scene.assert_nothing_is_orphaned()


@pytest.mark.usefixtures("worker")
def test_lost_messages(scene: Scene) -> None:
    """What is missing in the queue is published again, and has not failed an attempt."""
    with scene.slots_taken(SLOTS) as busy:
        waiting = some_that_wait(scene)
        scene.drop_messages()
    scene.until_over([*busy.asked, *waiting])
    for asked in waiting:
        asked.assert_is_served()
    assert sum(asked.dispatched for asked in waiting) >= LOST


@pytest.mark.usefixtures("worker")
@pytest.mark.parametrize("step", STEPS)
def test_doubled_and_late_messages(scene: Scene, step: str) -> None:
    """Every message that a request ever had comes again while a step is at work, and after the end: nothing happens."""
    asked = scene.new()
    stop = asked.stop_at(step, Point.DONE).arm()
    asked.schedule()
    seen = [asked.row]
    scene.until(lambda: seen.append(asked.row) or stop.child, "nobody stops there", sweeping=False)
    for row in seen:
        publishing.publish(row)
    scene.until(lambda: scene.waiting() == 0, "the messages are not taken", sweeping=False)
    stop.release()
    scene.until_over([asked])

    for row in seen:
        publishing.publish(row)
    scene.until(lambda: scene.waiting() == 0 and not scene.at_work(), "the messages are not taken", sweeping=False)
    asked.assert_is_served()
    assert not asked.dispatched
