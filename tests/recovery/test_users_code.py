"""File types that raise, that take too long, and that are the death of their worker's children."""

from __future__ import annotations

import os
import signal

import pytest

from bgtasks.states import State
from tests.recovery.scene import Scene
from tests.support.faults import Point

#: What a file type's own code does, and what its request ends as.
FAULTS = {
    "get_items": "internal_error",
    "items": "internal_error",
    "write_bytes": "internal_error",
    "sys.exit": "internal_error",
}
#: What kills a child each time that it is tried.
DEADLY = ("memory", "killed")
#: Types that have no end, by how they are stopped.
ENDLESS = ("too_slow", "limited", "stubborn")


@pytest.mark.parametrize(("fault", "code"), FAULTS.items(), ids=FAULTS)
def test_code_that_raises(scene: Scene, fault: str, code: str) -> None:
    """It fails at once, with a sentence that reveals nothing, and what was written is gone."""
    scene.worker()
    asked = scene.ask("faulty", fault=fault)
    scene.until_over([asked], sweeping=False)
    asked.assert_has_failed(code)
    assert asked.row is not None
    assert "fault" not in str(asked.row.error_message)
    scene.assert_nothing_is_orphaned()


@pytest.mark.parametrize("fault", DEADLY)
def test_code_that_kills_each_child(scene: Scene, fault: str) -> None:
    """It is taken over at once each time, and given up after bgtasks_max_attempts."""
    scene.worker()
    asked = scene.ask("faulty", fault=fault)
    scene.until_over([asked], sweeping=False)
    asked.assert_has_failed("worker_lost", recovered=2)
    assert asked.row is not None
    assert asked.row.attempts == 3
    scene.assert_nothing_is_orphaned()


def test_telling_that_kills_each_child(scene: Scene) -> None:
    """A file that is ready never turns into a failure."""
    scene.worker()
    asked = scene.ask("untellable", fault="none")
    scene.until_over([asked], sweeping=False)
    assert asked.row is not None
    assert (asked.row.state, asked.row.attempts) == (State.READY, 3)
    assert asked.mishaps == {"recovered": 2, "notify_failed": 1}
    scene.assert_nothing_is_orphaned()
    assert (scene.store / str(asked.row.object_key)).exists()


@pytest.mark.parametrize("file_type", ENDLESS)
def test_code_that_takes_too_long(scene: Scene, file_type: str) -> None:
    """Interrupted, or killed with its child: it fails as what it is, is told, and leaves nothing."""
    scene.worker()
    asked = scene.ask(file_type)
    scene.until_over([asked], sweeping=False)
    asked.assert_has_failed("time_limit")
    assert asked.row is not None
    assert asked.row.attempts == 0
    assert len(asked.gate.arrivals) == 1
    scene.assert_nothing_is_orphaned()


@pytest.mark.parametrize("point", [Point.DONE, Point.WRITTEN])
def test_a_child_that_dies_when_it_has_failed(scene: Scene, point: Point) -> None:
    """Before the failure is written the step is tried again; afterwards only the telling is left to do."""
    scene.worker()
    asked = scene.new("faulty", fault="write_bytes")
    stop = asked.stop_at("write_bytes", point).arm()
    asked.send()
    for child in scene.until_stopped([stop]):
        os.kill(child, signal.SIGKILL)
    scene.until_over([asked], sweeping=False)
    asked.assert_has_failed("internal_error", **({"recovered": 1} if point == Point.DONE else {}))
    scene.assert_nothing_is_orphaned()
