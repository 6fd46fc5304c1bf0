"""What is told beside the chain, of a cancel and before a file expires: whoever dies, it is told, and not twice."""

from __future__ import annotations

import os
import signal

import pytest
from sqlalchemy import update

from bgtasks import sweeps, toolbox
from bgtasks.canvas import TELL_EXPIRY
from bgtasks.database import later
from bgtasks.models import FileRequest
from bgtasks.requests import NOTIFY
from bgtasks.states import EventKind, State
from tests.recovery.asked import Asked
from tests.recovery.scene import Scene
from tests.support.faults import Point

#: By Celery's Redis backend: who cancels stores the result.
pytestmark = pytest.mark.filterwarnings("ignore:Call to deprecated setex:DeprecationWarning")

SOON = 600.0


def made(scene: Scene) -> Asked:
    """A file that is ready and told of, and that expires soon."""
    asked = scene.new("talkative")
    asked.gate.open()
    asked.send()
    scene.until_over([asked])
    with scene.parts.database.writing() as session:
        session.execute(update(FileRequest).where(FileRequest.id == asked.id).values(expires_at=later(SOON)))
    return asked


def assert_is_told_once(asked: Asked, copies: int) -> None:
    """One mail, or a copy of the same."""
    assert len(asked.mails) == copies
    assert len({mail["Message-ID"] for mail in asked.mails}) == 1


@pytest.mark.parametrize(("point", "copies"), [(Point.CLAIMED, 1), (Point.ACCEPTED, 2)])
def test_a_cancel_is_told_whoever_dies(scene: Scene, point: Point, copies: int) -> None:
    """Who is killed as it tells: another does; a second copy only after the mail server has the first."""
    scene.worker()
    asked = scene.new("talkative")
    stop = asked.stop_at(NOTIFY, point).arm()
    asked.send()
    scene.until(lambda: asked.gate.arrivals, "nobody selects", sweeping=False)
    assert asked.row is not None
    assert toolbox.cancel(asked.row, "an operator")
    asked.gate.open()
    [child] = scene.until_stopped([stop])
    os.kill(child, signal.SIGKILL)
    scene.until_over([asked])
    assert asked.row is not None
    assert (asked.row.state, asked.row.step) == (State.CANCELLED, NOTIFY), asked.tale
    assert asked.mishaps == {EventKind.CANCELLED: 1, EventKind.RECOVERED: 1}, asked.tale
    assert_is_told_once(asked, copies)
    assert not [key for key in scene.objects() if key.startswith(asked.id)]


@pytest.mark.parametrize(("point", "copies"), [(Point.ACCEPTED, 2), (Point.DONE, 1)])
def test_a_reminder_is_sent_whoever_dies(scene: Scene, point: Point, copies: int) -> None:
    """The same for the reminder, also where beat is doubled."""
    scene.worker()
    asked = made(scene)
    assert asked.row is not None
    expires, [first] = asked.row.expires_at, asked.mails
    # The ledger's own point has the name of the step that tells everything else.
    stop = asked.stop_at(NOTIFY if point == Point.ACCEPTED else TELL_EXPIRY, point).arm()
    sweeps.remind()
    sweeps.remind()
    [child] = scene.until_stopped([stop])
    os.kill(child, signal.SIGKILL)
    scene.until_over([asked])
    sweeps.remind()
    scene.until_over([asked])
    assert (asked.row.state, asked.row.step, asked.row.expires_at) == (State.READY, TELL_EXPIRY, expires), asked.tale
    assert asked.mishaps == {EventKind.RECOVERED: 1}, asked.tale
    reminders = [mail for mail in asked.mails if mail["Message-ID"] != first["Message-ID"]]
    assert len(reminders) == copies
    assert len({mail["Message-ID"] for mail in reminders}) == 1
    assert asked.download().startswith(b"number\r\n0\r\n")
    assert asked.row.expires_at == expires
