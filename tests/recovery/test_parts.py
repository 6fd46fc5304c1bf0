"""Files that many workers write: what is lost of one part costs no other, and the chain goes on once."""

from __future__ import annotations

import hashlib
import os
import signal
import time
from collections import Counter

import pytest

from bgtasks import registry, sweeps, toolbox
from bgtasks.canvas import STEPS
from bgtasks.states import EventKind, State
from tests.recovery.asked import FLIGHTS_CSV, Asked
from tests.recovery.conftest import Services, on
from tests.recovery.gates import Gate
from tests.recovery.scene import Scene
from tests.support.faults import Point, part_step

pytestmark = [
    on(Services(database="postgresql")),  # where several parts can end at once
    # By Celery's Redis backend: who cancels stores the result.
    pytest.mark.filterwarnings("ignore:Call to deprecated setex:DeprecationWarning"),
]

PARTS = 3
#: "Within seconds", on a machine that may be busy.
SOON = 5.0


@pytest.fixture(scope="module")
def times() -> dict[str, str]:
    """A lease that a killed worker's parts outlast by little, and a message that is soon missed in an empty queue."""
    return {"BGTASKS_LEASE": "4", "BGTASKS_PATIENCE": "20"}


def gate(asked: Asked, name: object) -> Gate:
    """Where a part waits while it is written."""
    return Gate(f"{asked.id}.{name}", asked.scene.folder / "gates")


def open_gates(asked: Asked, *numbers: int) -> None:
    """Let these parts be written to their ends; none named: all of them."""
    for number in numbers or range(PARTS):
        gate(asked, number).open()


def keys(asked: Asked) -> dict[int, str]:
    """The objects of the parts that are done."""
    return {part.number: part.object_key for part in asked.scene.parts.parting.of(asked.id) if part.object_key}


def but_one(scene: Scene) -> Asked:
    """A file of which all parts are done but the one in the middle, which is being written."""
    asked = scene.new("parted_flights")
    open_gates(asked, 0, 2)
    asked.send()
    scene.until(lambda: gate(asked, 1).arrivals and len(keys(asked)) == 2, "they are not written", sweeping=False)
    return asked


def about_parts(asked: Asked, kind: EventKind) -> list[str]:
    """What the history tells of single parts."""
    entries = asked.scene.parts.requests.history(asked.id)
    return sorted(str(entry.detail).partition(" dev")[0].split(":")[0] for entry in entries if entry.kind == kind)


def assert_is_written(asked: Asked, parts: int = PARTS, **mishaps: int) -> None:
    """One right file, one mail; each part and each step ended once, and nothing is left of the parts."""
    row = asked.row
    assert row is not None
    assert (row.state, row.step, row.attempts) == (State.READY, "notify", 0), asked.tale
    assert asked.steps == list(STEPS), asked.tale
    assert asked.mishaps == Counter(mishaps), asked.tale
    assert about_parts(asked, EventKind.PART) == [f"{number + 1}/{parts}" for number in range(parts)]
    assert (row.size, row.sha256) == (len(FLIGHTS_CSV), hashlib.sha256(FLIGHTS_CSV).hexdigest())
    assert len(asked.mails) == 1
    assert asked.download() == FLIGHTS_CSV
    assert_leaves(asked, {row.object_key})


def assert_leaves(asked: Asked, objects: set[str | None]) -> None:
    """No part and no object but these; no sweep had to come for it."""
    assert asked.scene.parts.parting.of(asked.id) == []
    assert {key for key in asked.scene.objects() if key.startswith(asked.id)} == objects
    sweeps.clean()
    assert {key for key in asked.scene.objects() if key.startswith(asked.id)} == objects


def test_a_killed_child_costs_its_own_part_alone(scene: Scene) -> None:
    """It is noticed at once; the other parts stay as they are, and no attempt of the request is counted."""
    scene.worker()
    asked = but_one(scene)
    before = keys(asked)
    (child,) = gate(asked, 1).arrivals
    scene.until(lambda: child in scene.at_work(), "the worker does not know", sweeping=False)
    os.kill(child, signal.SIGKILL)
    scene.until(lambda: len(gate(asked, 1).arrivals) == 2, "nobody goes on", sweeping=False)
    assert keys(asked) == before
    assert not registry.dispatch(asked.id)  # whose parts are out needs nobody else
    assert keys(asked) == before
    open_gates(asked, 1)
    scene.until_over([asked], sweeping=False)
    assert_is_written(asked, recovered=1)
    assert about_parts(asked, EventKind.RECOVERED) == ["part 2"]


@pytest.mark.parametrize("step", ["write_bytes", part_step(1)])
def test_a_child_that_dies_before_it_publishes_what_it_has_made_due(scene: Scene, step: str) -> None:
    """The parts, once they are out; or the rest of the chain, once the last part is done."""
    scene.worker()
    asked = scene.new("parted_flights")
    open_gates(asked, 0, 2)
    if step == "write_bytes":
        open_gates(asked, 1)
    stop = asked.stop_at(step, Point.WRITTEN).arm()
    asked.send()
    if step != "write_bytes":
        scene.until(lambda: len(keys(asked)) == 2, "they are not written", sweeping=False)
        open_gates(asked, 1)
    (child,) = scene.until_stopped([stop])
    os.kill(child, signal.SIGKILL)
    scene.until_over([asked], sweeping=False)
    assert_is_written(asked)


def test_the_last_two_parts_end_at_the_same_moment(scene: Scene) -> None:
    """The chain goes on once."""
    scene.worker()
    asked = [scene.new("parted_flights", parts=2) for _ in range(2)]
    stops = [one.stop_at(part_step(number), Point.DONE).arm() for one in asked for number in range(2)]
    for one in asked:
        open_gates(one)
        one.send()
    scene.until_stopped(stops)
    for stop in stops:
        stop.release()
    scene.until_over(asked, sweeping=False)
    for one in asked:
        assert_is_written(one, parts=2)


def test_a_part_that_fails_ends_them_all(scene: Scene) -> None:
    """One failure, one mail, no object; and a retry of what was mended makes a right file."""
    scene.worker()
    asked = scene.new("parted_flights", fault=1)
    open_gates(asked, 0)
    asked.send()
    scene.until(lambda: gate(asked, 2).arrivals, "nobody writes", sweeping=False)
    scene.until_over([asked], sweeping=False)
    asked.assert_has_failed("internal_error")
    open_gates(asked, 2)  # which is still being written
    scene.until(lambda: gate(asked, 2).departures and not scene.at_work(), "it goes on", sweeping=False)
    assert_leaves(asked, set())

    gate(asked, "mended").open()
    open_gates(asked)
    row = asked.row
    assert row is not None
    assert toolbox.retry(row)
    scene.until(
        lambda: asked.is_over and asked.row and asked.row.state == State.READY, "it is not over", sweeping=False
    )
    assert asked.download() == FLIGHTS_CSV
    assert_leaves(asked, {asked.row and asked.row.object_key})


def test_a_cancel_stops_all_parts_soon(scene: Scene) -> None:
    """Each hears of it where it writes; nothing is left, and nobody is told."""
    scene.worker()
    asked = scene.ask("endless_parts")
    everybody = [gate(asked, number) for number in range(PARTS)]
    scene.until(lambda: all(one.arrivals for one in everybody), "nobody writes", sweeping=False)
    assert asked.row is not None
    assert toolbox.cancel(asked.row)
    before = time.monotonic()
    scene.until(lambda: all(one.departures for one in everybody), "they go on", sweeping=False)
    assert time.monotonic() - before < SOON
    scene.until(lambda: not scene.at_work(), "somebody is at work", sweeping=False)
    assert (asked.row.state, asked.mishaps, asked.mails) == (State.CANCELLED, {"cancelled": 1}, [])
    assert_leaves(asked, set())


def test_messages_of_parts_that_are_lost_are_published_again(scene: Scene) -> None:
    """By the sweep, which misses them in the empty queue."""
    scene.worker()
    asked = scene.new("parted_flights", parts=6)
    for number in range(4, 6):
        open_gates(asked, number)
    asked.send()  # four of them take all slots
    scene.until(lambda: (scene.waiting("parted_flights") or 0) >= 2, "the messages don't wait", sweeping=False)
    scene.drop_messages("parted_flights")
    open_gates(asked, *range(4))
    scene.until_over([asked])
    assert_is_written(asked, parts=6)


def test_parts_that_wait_for_their_turn_let_new_requests_go_first(scene: Scene) -> None:
    """One is at work at a time, though slots are free; where none is, what was asked for since is done before it."""
    slots = 4
    scene.worker(slots=slots)
    asked = scene.new("one_by_one").send()
    scene.until(lambda: gate(asked, 0).arrivals, "nobody writes", sweeping=False)
    meanwhile = scene.new("one_by_one", parts=1).send()
    scene.until_over([meanwhile], sweeping=False)
    assert not gate(asked, 1).arrivals
    with scene.slots_taken(slots - 1):
        late = scene.new("one_by_one", parts=1).schedule()
        open_gates(asked, 0)
        scene.until(lambda: late.is_over or gate(asked, 1).arrivals, "nobody goes on", sweeping=False)
        assert late.is_over
    open_gates(asked)
    scene.until_over([asked], sweeping=False)
    assert_is_written(asked)
    for one in (meanwhile, late):
        one.assert_is_served()


def test_a_worker_that_is_told_to_stop_hands_its_part_back(scene: Scene) -> None:
    """At once, and no attempt is counted; what it has written is gone."""
    first = scene.worker()
    asked = but_one(scene)
    before = keys(asked)
    scene.start_worker()
    first.send(signal.SIGTERM)
    scene.until(lambda: len(gate(asked, 1).arrivals) == 2, "nobody goes on", sweeping=False)
    assert keys(asked) == before
    open_gates(asked, 1)
    scene.until_over([asked], sweeping=False)
    assert_is_written(asked, handed_back=1)
    assert about_parts(asked, EventKind.HANDED_BACK) == ["part 2"]
    first.wait_until_ended(30)


def test_a_killed_worker_costs_its_own_part_alone(scene: Scene) -> None:
    """Nobody is left to notice: the part's lease lapses, and another worker writes it."""
    worker = scene.worker()
    asked = but_one(scene)
    before = keys(asked)
    worker.kill()
    scene.start_worker()
    scene.until(lambda: len(gate(asked, 1).arrivals) == 2, "nobody goes on")
    assert keys(asked) == before
    open_gates(asked, 1)
    scene.until_over([asked])
    assert_is_written(asked, recovered=1)
