"""kill -9 to a worker's child, at each point of each step."""

from __future__ import annotations

import os
import signal

import pytest

from bgtasks.canvas import STEPS
from tests.recovery.cells import assert_are_repaired, cells_of, stopped_at
from tests.recovery.conftest import ON_EACH_OF_BOTH
from tests.recovery.scene import Scene

pytestmark = ON_EACH_OF_BOTH


@pytest.fixture(scope="module")
def times() -> dict[str, str]:
    """A lease and a patience that outlast these tests: what happens here has not waited for them."""
    return {"BGTASKS_LEASE": "600", "BGTASKS_PATIENCE": "600"}


@pytest.fixture(scope="module", autouse=True)
def _worker(scene: Scene) -> None:
    scene.start_worker(slots=6)


@pytest.mark.parametrize("step", STEPS)
def test_a_killed_child(scene: Scene, step: str) -> None:
    """Its worker notices at once, and the request goes on from where it was, before any sweep."""
    requests = stopped_at(scene, cells_of(step))
    for cell, asked in requests.items():
        os.kill(asked.stop_at(*cell).child or 0, signal.SIGKILL)
    scene.until_over(requests.values(), sweeping=False)
    assert_are_repaired(requests)
    scene.assert_nothing_is_orphaned()
