"""kill -9 to a whole worker, main process and children, at each point of each step."""

from __future__ import annotations

import pytest

from tests.recovery.cells import ROWS, assert_are_repaired, cells_of, stopped_at
from tests.recovery.conftest import ON_EACH_OF_BOTH
from tests.recovery.scene import Scene
from tests.support.faults import Point

pytestmark = ON_EACH_OF_BOTH


@pytest.mark.parametrize("step", ROWS)
def test_a_killed_worker(scene: Scene, step: str) -> None:
    """Nobody is left to notice: the lease lapses, the message is missed, and another worker goes on."""
    worker = scene.worker(slots=6)
    # What is published goes on in another child: its death is the next step's.
    requests = stopped_at(scene, [cell for cell in cells_of(step) if cell.point != Point.PUBLISHED])
    worker.kill()

    scene.start_worker(slots=6)
    scene.until_over(requests.values())
    assert_are_repaired(requests)
    scene.assert_nothing_is_orphaned()
