"""Cancelling a request while it is worked on."""

from __future__ import annotations

import time

import pytest

from bgtasks import toolbox
from bgtasks.canvas import STEPS
from bgtasks.errors import RequestFailed
from bgtasks.states import State
from tests.recovery.asked import Asked
from tests.recovery.conftest import ON_EACH_DATABASE
from tests.recovery.scene import Scene
from tests.support.faults import Point
from tests.support.processes import children_of

pytestmark = [
    ON_EACH_DATABASE,
    # By Celery's Redis backend: who cancels stores the result.
    pytest.mark.filterwarnings("ignore:Call to deprecated setex:DeprecationWarning"),
]

#: "Within about a second of writing", on a machine that may be busy.
SOON = 4.0


def cancel(asked: Asked) -> None:
    """As its requester does."""
    assert asked.row is not None
    assert toolbox.cancel(asked.row)


def assert_is_cancelled(asked: Asked) -> None:
    """Ended, with no file, no mail and no leftovers; and who waits for it knows."""
    scene = asked.scene
    with pytest.raises(RequestFailed, match="cancelled"):
        scene.app.AsyncResult(asked.id).get(timeout=10)
    scene.until(
        lambda: not scene.waiting(asked.file_type) and not scene.at_work(), "somebody is at work", sweeping=False
    )
    assert asked.row is not None
    assert asked.row.state == State.CANCELLED
    assert asked.mishaps == {"cancelled": 1}
    assert asked.mails == []
    assert not [key for key in scene.objects() if key.startswith(asked.id)]
    scene.assert_nothing_is_orphaned()


@pytest.mark.parametrize("file_type", ["endless_rows", "endless_bytes"])
def test_a_step_that_writes_stops_soon(scene: Scene, file_type: str) -> None:
    """Through a format or in the type's own words; no child is killed for it, and what was written is gone."""
    children = children_of(scene.worker().pid)
    asked = scene.ask(file_type)
    scene.until(lambda: asked.gate.arrivals, "nobody writes", sweeping=False)
    cancel(asked)
    before = time.monotonic()
    scene.until(lambda: asked.gate.departures, "it goes on", sweeping=False)
    assert time.monotonic() - before < SOON
    assert_is_cancelled(asked)
    assert children_of(scene.worker().pid) == children


@pytest.mark.parametrize("point", [Point.DELIVERED, Point.CLAIMED, Point.DONE, Point.WRITTEN])
@pytest.mark.parametrize("step", STEPS[: STEPS.index("attach")])
def test_a_step_finds_its_request_cancelled(scene: Scene, step: str, point: Point) -> None:
    """Wherever it is, it writes nothing more, and nobody goes on."""
    children = children_of(scene.worker().pid)
    asked = scene.new()
    stop = asked.send_until(step, point)
    cancel(asked)
    stop.release()
    assert_is_cancelled(asked)
    assert children_of(scene.worker().pid) == children


def test_a_request_that_waits_is_cancelled_at_once(scene: Scene) -> None:
    """Its message finds nothing to do."""
    scene.worker()
    with scene.slots_taken(4) as busy:
        asked = scene.new().schedule()
        cancel(asked)
        assert asked.row is not None
        assert asked.row.state == State.CANCELLED
    scene.until_over(busy.asked)
    assert_is_cancelled(asked)
