"""Two beats at once, by mistake or by design: everything that is swept is swept twice."""

from __future__ import annotations

from bgtasks.stack import Process
from tests.recovery.cells import assert_are_repaired, cells_of, stopped_at
from tests.recovery.conftest import ON_EACH_DATABASE
from tests.recovery.scene import Scene
from tests.support.faults import Point

pytestmark = ON_EACH_DATABASE


def start_beat(scene: Scene, name: str) -> Process:
    """One more beat, ready."""
    beat = scene.stack.celery(name, "beat", "-l", "INFO", "-s", str(scene.folder / name), "--pidfile=")
    beat.wait_until(lambda: "beat: Starting..." in beat.output())
    return beat


def test_two_beats_at_once_do_no_harm(scene: Scene) -> None:
    """A worker dies with a request at each point of a step, and nobody but the two beats sees to it."""
    worker = scene.worker(slots=6)
    requests = stopped_at(scene, [cell for cell in cells_of("write_bytes") if cell.point != Point.PUBLISHED])
    worker.kill()

    beats = [start_beat(scene, "one"), start_beat(scene, "two")]
    another = scene.start_worker(slots=6)
    scene.until_over(requests.values(), sweeping=False)
    assert_are_repaired(requests)
    for name in ("dispatch", "recover", "clean"):
        assert all(f"(bgtasks.{name})" in beat.output() for beat in beats)
        assert another.output().count(f"Task bgtasks.{name}[") >= len(beats)
    scene.assert_nothing_is_orphaned()
