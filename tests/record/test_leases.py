"""The heartbeat: it holds a request for as long as its step lives, and no longer."""

from __future__ import annotations

import os
import threading
import time
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import text

from bgtasks import hearts, leases
from bgtasks.deployment import Deployment
from bgtasks.errors import ClaimLost
from bgtasks.leases import Lease
from tests.record.conftest import Outage
from tests.record.moves import LONG, ask, claim, end, lapse, now, wait_for

SHORT = 0.6  # seconds


@pytest.fixture
def conf(impatient: None) -> dict[str, Any]:
    return {"bgtasks_lease": SHORT}


@pytest.fixture
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """Progress is written each time that it is noted."""
    monkeypatch.setattr(leases, "PROGRESS_EVERY", 0.0)


def heartbeats() -> list[threading.Thread]:
    """The hearts that beat in this process."""
    return [thread for thread in threading.enumerate() if thread.name.startswith("lease ")]


def test_the_heartbeat_renews_the_lease(parts: Deployment) -> None:
    """A step that takes longer than the lease keeps its request: nobody can take it over."""
    held = claim(parts, ask())
    first = held.file_request.leased_until
    assert first is not None
    with Lease(parts.requests, held, SHORT):
        wait_for(lambda: datetime.now(UTC) > first)
        seen = now(parts, held.file_request)
        assert seen.leased_until is not None
        assert seen.leased_until > first
        assert parts.requests.recover(seen) is None
    assert end(parts, held).attempts == 0


def test_the_heart_stops_with_its_step(parts: Deployment) -> None:
    """It is joined on the way out, of an error too: no renewal can come after the step's end."""
    held = claim(parts, ask())
    with pytest.raises(ZeroDivisionError), Lease(parts.requests, held, SHORT):
        assert len(heartbeats()) == 1
        raise ZeroDivisionError
    assert heartbeats() == []


@pytest.fixture
def looking_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits for its first beat is looked at every few milliseconds."""
    monkeypatch.setattr(hearts, "LOOK", 0.01)


def test_a_step_that_is_over_soon_starts_no_thread(parts: Deployment, looking_often: None) -> None:
    """Its heart would not have beaten once."""
    held = claim(parts, ask())
    with Lease(parts.requests, held, SHORT):
        assert heartbeats() == []
    end(parts, held)


def test_a_step_that_lasts_gets_its_heart_in_time(parts: Deployment, looking_often: None) -> None:
    """The first beat comes as early as if the thread had been there from the start."""
    held = claim(parts, ask())
    first = held.file_request.leased_until
    assert first is not None
    with Lease(parts.requests, held, SHORT):
        wait_for(lambda: heartbeats() != [])
        wait_for(lambda: (seen := now(parts, held.file_request).leased_until) is not None and seen > first)
    assert heartbeats() == []


def test_a_heart_that_can_not_begin_is_tried_again(
    parts: Deployment, looking_often: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine without a thread to spare just now costs no other step its heart."""
    refused, start = [], threading.Thread.start

    def refuse_once(thread: threading.Thread) -> None:
        if thread.name.startswith("lease ") and not refused:
            refused.append(thread)
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse_once)
    with Lease(parts.requests, claim(parts, ask()), SHORT):
        wait_for(lambda: heartbeats() != [])
    assert refused
    assert heartbeats() == []


def test_a_forked_child_has_a_watch_of_its_own(parts: Deployment, looking_often: None) -> None:
    """Its parent's thread is not there: what the child runs must not wait for it."""
    hearts.watch.start_after(threading.Thread(), LONG)
    child = os.fork()
    if not child:
        beats = threading.Event()
        hearts.watch.start_after(threading.Thread(target=beats.set), 0.03)
        os._exit(0 if beats.wait(5) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_past_its_deadline_a_step_is_not_held_any_more(parts: Deployment) -> None:
    """A step that hangs has no heartbeat, so that it is taken over."""
    held = claim(parts, ask())
    with Lease(parts.requests, held, SHORT, deadline=0.1) as lease:
        wait_for(lambda: heartbeats() == [])
        taken = wait_for(lambda: parts.requests.recover(now(parts, held.file_request)))
        assert taken.attempts == 1
        with pytest.raises(ClaimLost):
            end(parts, held)
        del lease


def test_a_lost_lease_is_noticed(parts: Deployment) -> None:
    """A step whose request was taken over stops at its next note, at once and without asking the database."""
    held = claim(parts, ask())
    with Lease(parts.requests, held, SHORT) as lease:
        lease.note(rows_written=1)
        assert parts.requests.cancel(held.file_request.id) is not None
        wait_for(lambda: heartbeats() == [])
        with pytest.raises(ClaimLost):
            lease.note(rows_written=2)


def test_a_cancel_is_noticed_by_the_progress(parts: Deployment, no_pause: None) -> None:
    """It need not wait for a heartbeat."""
    held = claim(parts, ask())
    with Lease(parts.requests, held, 3600) as lease:
        lease.note(rows_written=1)
        assert now(parts, held.file_request).rows_written == 1
        parts.requests.cancel(held.file_request.id)
        with pytest.raises(ClaimLost):
            lease.note(rows_written=2)


def test_progress_is_written_once_a_second_at_most(parts: Deployment) -> None:
    """A fast loop costs no more than a slow one."""
    held = claim(parts, ask())
    with Lease(parts.requests, held, 3600) as lease:
        for rows in range(1, 2000):
            lease.note(rows_written=rows)
    assert now(parts, held.file_request).rows_written == 0


def test_a_look_does_not_keep_progress_back(parts: Deployment) -> None:
    """Who looks whether the request is still theirs, as each write does, says the number of rows nevertheless."""
    held = claim(parts, ask())
    with Lease(parts.requests, held, 3600) as lease:
        lease._written = dict.fromkeys(lease._written, time.monotonic() - 2)
        lease.note()
        lease.note(rows_written=7)
    assert now(parts, held.file_request).rows_written == 7


def test_an_outage_costs_a_line_of_progress_and_no_work(parts: Deployment, outage: Outage, no_pause: None) -> None:
    """While the database is away a step goes on; afterwards it is still the holder."""
    held = claim(parts, ask())
    with Lease(parts.requests, held, 3600) as lease:
        with outage():
            lease.note(rows_written=1)
        lease.note(rows_written=2)
    assert now(parts, held.file_request).rows_written == 2


def test_the_heart_beats_on_after_an_outage(
    parts: Deployment, outage: Outage, caplog: pytest.LogCaptureFixture
) -> None:
    """A heartbeat that fails is followed by the next one."""
    held = claim(parts, ask())
    with Lease(parts.requests, held, SHORT) as lease:
        with outage():
            wait_for(lambda: "heartbeat fails" in caplog.text)
        lapsed = lapse(parts, held.file_request)
        wait_for(lambda: now(parts, lapsed).leased_until != lapsed.leased_until)
        lease.note()
    assert end(parts, held).attempts == 0


def test_the_heart_survives_whatever_a_database_says(parts: Deployment, caplog: pytest.LogCaptureFixture) -> None:
    """Tables that are away for a moment, in a migration for example, stop no heart either."""
    held = claim(parts, ask())
    with Lease(parts.requests, held, SHORT):
        _rename(parts, "bgtasks_file_requests", "elsewhere")
        wait_for(lambda: "heartbeat fails" in caplog.text)
        _rename(parts, "elsewhere", "bgtasks_file_requests")
        lapsed = lapse(parts, held.file_request)
        wait_for(lambda: now(parts, lapsed).leased_until != lapsed.leased_until)


def _rename(parts: Deployment, old: str, new: str) -> None:
    with parts.database.writing() as session:
        session.execute(text(f"ALTER TABLE {old} RENAME TO {new}"))
