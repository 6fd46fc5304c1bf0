"""A mail server that is down or too busy for a while."""

from __future__ import annotations

import pytest

from bgtasks.states import State
from tests.recovery.scene import Scene


@pytest.mark.parametrize("trouble", ["down", "busy"])
def test_the_mail_comes_when_the_server_is_back(scene: Scene, trouble: str) -> None:
    """The file is ready all the while; the telling is handed back, so that it holds no slot, and is done once."""
    scene.worker()
    if trouble == "down":
        scene.post.close()
    scene.post.busy = True
    asked = scene.ask()
    scene.until(lambda: asked.mishaps, "nothing is handed back")
    assert asked.row is not None
    assert asked.row.state == State.READY
    assert asked.mails == []

    scene.post.busy = False
    if trouble == "down":
        scene.post.reopen()
    scene.until_over([asked])
    asked.assert_is_served(handed_back=asked.mishaps["handed_back"])
