"""SIGTERM to a worker that is at work: it hands back what it can't finish, and another goes on within seconds."""

from __future__ import annotations

import signal

import pytest

from tests.recovery.asked import FLIGHTS_CSV, Asked
from tests.recovery.conftest import ON_EACH_BROKER
from tests.recovery.scene import Scene
from tests.support.faults import Point
from tests.support.processes import children_of

pytestmark = ON_EACH_BROKER

#: What ``gated_items`` makes.
THREE_ROWS = b"number\r\n0\r\n1\r\n2\r\n"
#: "Within seconds", on a machine that may be busy.
SECONDS = 20.0


@pytest.fixture(scope="module")
def times() -> dict[str, str]:
    """A lease and a patience that outlast these tests: what happens here has not waited for them."""
    return {"BGTASKS_LEASE": "600", "BGTASKS_PATIENCE": "600"}


def in_the_middle(scene: Scene, file_type: str) -> Asked:
    """A request whose worker is in its file type's own code."""
    asked = scene.ask(file_type)
    scene.until(lambda: asked.gate.arrivals, "nobody comes to the gate", sweeping=False)
    return asked


@pytest.mark.parametrize(
    ("file_type", "contents"),
    [("gated_flights", FLIGHTS_CSV), ("gated_items", THREE_ROWS)],
    ids=["writing", "selecting"],
)
def test_a_worker_that_is_told_to_stop_hands_its_work_back(scene: Scene, file_type: str, contents: bytes) -> None:
    """No lease has to lapse and no sweep to run; no attempt is counted; what was written so far is gone."""
    first = scene.worker()
    asked = in_the_middle(scene, file_type)
    second = scene.start_worker()

    first.send(signal.SIGTERM)
    scene.until(lambda: len(asked.gate.arrivals) == 2, "nobody goes on", seconds=SECONDS, sweeping=False)
    assert first.wait_until_ended(SECONDS) == 0
    one, other = asked.gate.arrivals
    assert one != other
    assert asked.mishaps == {"handed_back": 1}
    asked.gate.open()

    scene.until_over([asked], sweeping=False)
    asked.assert_is_served(contents, handed_back=1)
    assert f"<{file_type} {asked.id[:8]}" in second.output()
    scene.assert_nothing_is_orphaned()


def test_a_worker_that_can_finish_in_time_does(scene: Scene) -> None:
    """The soft shutdown is for what is nearly done: nothing is repeated, and the rest waits for another worker."""
    worker = scene.worker()
    asked = in_the_middle(scene, "gated_flights")
    worker.send(signal.SIGTERM)
    asked.gate.open()
    assert worker.wait_until_ended(SECONDS) == 0
    assert "write_bytes" in asked.steps
    assert asked.mishaps == {}

    another = scene.start_worker()
    scene.until_over([asked], sweeping=False)
    asked.assert_is_served()
    another.send(signal.SIGTERM)  # it has nothing to do, and stops as well
    assert another.wait_until_ended(SECONDS) == 0


def test_a_mail_that_is_on_its_way_is_not_cut_off(scene: Scene) -> None:
    """A worker that is told to stop notes first what the mail server has taken: no stop sends a second copy."""
    worker = scene.worker()
    asked = scene.new()
    stop = asked.stop_at("notify", Point.ACCEPTED).arm()
    asked.send()
    (child,) = scene.until_stopped([stop])
    worker.send(signal.SIGTERM)
    scene.until(lambda: set(children_of(worker.pid)) <= {child}, "the children are not told to stop", sweeping=False)
    stop.release()
    assert worker.wait_until_ended(SECONDS) == 0
    assert asked.mishaps == {"handed_back": 1}

    scene.start_worker()
    scene.until_over([asked], sweeping=False)
    asked.assert_is_served(handed_back=1)
