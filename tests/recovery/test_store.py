"""A store that goes away, and objects that are not what the row says."""

from __future__ import annotations

import pytest

from bgtasks.states import EventKind
from tests.recovery.scene import Scene
from tests.support.faults import Point


def test_a_store_that_goes_away_in_the_middle_of_a_write(scene: Scene) -> None:
    """The step is handed back until the store is there again; then there is one whole file."""
    scene.worker()
    elsewhere = scene.store.with_name("elsewhere")
    with scene.slots_taken(1) as busy:
        scene.store.rename(elsewhere)
        scene.store.touch()  # a file where the folder was: nothing can be written there
    (asked,) = busy.asked
    scene.until(lambda: asked.mishaps, "nothing is handed back")
    scene.store.unlink()
    elsewhere.rename(scene.store)

    scene.until_over([asked])
    assert set(asked.mishaps) == {EventKind.HANDED_BACK}
    asked.assert_is_served(**asked.mishaps)
    scene.assert_nothing_is_orphaned()


@pytest.mark.parametrize("loss", ["gone", "cut"])
def test_an_object_that_is_lost_before_attach_looks(scene: Scene, loss: str) -> None:
    """No broken file is ever ready: the request fails, its requester is told, and nothing is left."""
    scene.worker()
    asked = scene.new()
    stop = asked.send_until("attach", Point.DELIVERED)
    assert asked.row is not None
    file = scene.store / str(asked.row.object_key)
    if loss == "gone":
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[:-1])
    stop.release()

    scene.until_over([asked])
    asked.assert_has_failed("object_missing")
    scene.assert_nothing_is_orphaned()
    assert not file.exists()
