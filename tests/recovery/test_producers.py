"""Whoever asks is answered when the request ends, whatever dies in between."""

from __future__ import annotations

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from bgtasks.canvas import STEPS
from tests.recovery.asked import Asked
from tests.recovery.conftest import ON_EACH_BROKER
from tests.recovery.scene import Scene
from tests.support.faults import ASKING, Point, Stop

pytestmark = ON_EACH_BROKER


def answer_after_deaths(asked: Asked, stops: list[Stop]) -> Any:
    """What ``.get()`` returns to a producer that waits while one child after the other is killed."""
    scene = asked.scene
    scene.worker()
    for stop in stops:
        stop.arm()
    asked.send()
    with ThreadPoolExecutor(1) as producer:
        answer = producer.submit(scene.app.AsyncResult(asked.id).get, timeout=90)
        for stop in stops:
            for child in scene.until_stopped([stop]):
                os.kill(child, signal.SIGKILL)
        return answer.result()


@pytest.mark.parametrize("steps", [(ASKING,), STEPS], ids=["while it is stored", "in each step"])
def test_a_producer_waits_for_the_end_and_no_longer(scene: Scene, steps: tuple[str, ...]) -> None:
    """The outcome is the answer, and not the death of a child that was on the way to it."""
    asked = scene.new()
    answer = answer_after_deaths(asked, [asked.stop_at(step, Point.WRITTEN) for step in steps])
    assert (answer["id"], answer["state"]) == (asked.id, "ready")
    scene.until_over([asked])
    asked.assert_is_served()


def test_a_request_that_dies_before_it_is_stored_is_not_lost(scene: Scene) -> None:
    """Its message comes again, with the same id: there is no row yet that a sweep could find."""
    asked = scene.new()
    answer = answer_after_deaths(asked, [asked.stop_at(ASKING, Point.DELIVERED)])
    assert (answer["id"], answer["state"]) == (asked.id, "ready")
    scene.until_over([asked])
    asked.assert_is_served()
