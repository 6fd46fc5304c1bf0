"""Files expire: the row says so first, then the object goes, then its key; and only when nobody needs them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from werkzeug.exceptions import Gone
from werkzeug.test import Client

from bgtasks import toolbox
from bgtasks.claims import Claim
from bgtasks.deployment import Deployment
from bgtasks.errors import ClaimLost
from bgtasks.models import FileRequest
from bgtasks.states import EventKind, State
from bgtasks.sweeps import finding
from bgtasks.sweeps.cleaning import LEEWAY
from bgtasks.wsgi import application
from tests.clean.scenes import (
    LONG_AGO,
    added,
    advanced,
    cancelled,
    claim,
    end,
    failed,
    finished,
    in_seconds,
    keys,
    now,
    overdue,
    put,
    run,
    set_row,
    written,
)
from tests.record.moves import told
from tests.support.handmade import REQUESTER, Clock


def test_an_expired_file_goes(parts: Deployment) -> None:
    """Its row stays for a while, and says so; nobody else is answered with it, and no late message can claim it."""
    row = overdue(parts, coalesce_key="the same question")
    assert run().expired == 1
    after = now(parts, row)
    assert (after.state, after.object_key, after.fence) == (State.EXPIRED, None, row.fence + 1)
    assert (after.coalesce_key, after.size, after.sha256) == (None, row.size, row.sha256)
    assert told(parts, row)[-1] == "expired"
    assert keys(parts) == set()
    with pytest.raises(ClaimLost):
        parts.requests.claim(Claim.of(row), "notify", row.step, "late worker")
    assert run().expired == 0


def test_the_leeway_spares_downloads_under_way(parts: Deployment) -> None:
    """What has expired less than so many seconds ago stays; by default an hour."""
    row = overdue(parts, since=LEEWAY - 60)
    assert run().expired == 0
    assert keys(parts) == {row.object_key}
    assert run(leeway=LEEWAY - 120).expired == 1


def held_by_notify(parts: Deployment) -> FileRequest:
    """Its mail is being sent."""
    row = with_object(parts, "tokenize")
    return claim(parts, row).file_request


def still_to_tell(parts: Deployment) -> FileRequest:
    """Its mail is still to come."""
    return with_object(parts, "attach")


def with_object(parts: Deployment, step: str) -> FileRequest:
    """A ready request whose last finished step is this one, and its object."""
    row = advanced(parts, step, written(parts))
    return set_row(parts, row, expires_at=in_seconds(-2 * LEEWAY))


def without_end(parts: Deployment) -> FileRequest:
    """A file that never expires."""
    return set_row(parts, finished(), expires_at=None)


def running(parts: Deployment) -> FileRequest:
    """A file that is not attached yet."""
    return written(parts)


@pytest.mark.parametrize("made", [held_by_notify, still_to_tell, without_end, running])
def test_a_file_that_is_needed_stays(parts: Deployment, made: Callable[[Deployment], FileRequest]) -> None:
    """A mail that is still to come moves the expiry: who is told gets the file for as long as was promised."""
    row = made(parts)
    assert run(leeway=0).expired == 0
    after = now(parts, row)
    assert (after.state, after.fence, after.object_key) == (row.state, row.fence, row.object_key)
    assert parts.store.size(str(row.object_key)) == row.size


GRACE = 7 * 86_400.0  # bgtasks_give_up


def reminded(parts: Deployment) -> FileRequest:
    """Somebody was told that it is ready, and is to be told that it expires."""
    row = end(parts, claim(parts, with_object(parts, "tokenize")))
    return set_row(parts, row, notified_at=in_seconds(-LEEWAY), dispatch_at=in_seconds(0))


def held_by_the_dead(parts: Deployment) -> FileRequest:
    """Its worker died in the midst of it, and its file type was removed before a sweep came by."""
    return set_row(parts, held_by_notify(parts), leased_until=in_seconds(-GRACE - 60))


@pytest.mark.parametrize("made", [still_to_tell, reminded, held_by_the_dead])
def test_a_file_that_nobody_tells_of_goes_at_last(parts: Deployment, made: Callable[[Deployment], FileRequest]) -> None:
    """Nobody serves its queue, and so nobody has prolonged it: the history says that nobody was told."""
    row = set_row(parts, made(parts), expires_at=in_seconds(-GRACE - LEEWAY + 60))
    assert run().expired == 0
    row = set_row(parts, row, expires_at=in_seconds(-GRACE - LEEWAY - 60))
    assert run().expired == 1
    after = now(parts, row)
    assert (after.state, after.object_key, after.fence) == (State.EXPIRED, None, row.fence + 1)
    assert (after.dispatch_at, after.leased_by, after.leased_until) == (None, None, None)
    assert told(parts, row)[-2:] == ["not_notified", "expired"]
    assert keys(parts) == set()
    for seen in (row, after):  # the message that comes after all; and one that is published for the row as it is
        with pytest.raises(ClaimLost):
            parts.requests.claim(Claim.of(seen), "notify", row.step, "late worker")
    assert finding.due() == []


def test_a_file_that_is_being_told_of_stays(parts: Deployment) -> None:
    """However long ago it has expired: its worker gives signs of life, and will prolong it."""
    row = set_row(parts, held_by_notify(parts), expires_at=in_seconds(LONG_AGO))
    assert run().expired == 0
    assert now(parts, row).leased_by == row.leased_by


def test_a_file_of_which_somebody_was_told(parts: Deployment) -> None:
    """One recipient was, and another never could be: the history does not say that nobody was."""
    row = set_row(parts, still_to_tell(parts), expires_at=in_seconds(-2 * GRACE))
    parts.ledger.close(parts.ledger.open(row.id, "ready", "email", "ada@example.com"))
    parts.ledger.open(row.id, "ready", "email", "grace@example.com")
    assert run().expired == 1
    assert told(parts, row)[-1] == "expired"
    assert "not_notified" not in told(parts, row)


def test_what_was_said_meanwhile_is_not_said_again(parts: Deployment) -> None:
    """A sweep that saw the row waiting finds that somebody has had a try since."""
    seen = set_row(parts, reminded(parts), expires_at=in_seconds(LONG_AGO))
    held = parts.requests.claim(Claim.of(seen), "tell_expiry", seen.step, "worker")
    parts.requests.finish(held, {}, EventKind.NOT_NOTIFIED, waits=False)
    assert len(parts.requests.expire([seen], LEEWAY)) == 1
    assert [kind for kind in told(parts, seen) if kind in ("not_notified", "expired")] == ["not_notified", "expired"]


def test_a_file_that_was_told_expires(parts: Deployment) -> None:
    """Once its mail is sent, a ready file waits for nothing but its time."""
    row = set_row(parts, end(parts, claim(parts, with_object(parts, "tokenize"))), expires_at=in_seconds(-2 * LEEWAY))
    assert run().expired == 1
    assert now(parts, row).state == State.EXPIRED


def test_a_link_that_is_made_meanwhile_wins(parts: Deployment) -> None:
    """A row that was seen as expired, and lasts for longer now, is not withdrawn."""
    row = overdue(parts)
    toolbox.create_token(row)
    assert parts.requests.expire([row], LEEWAY) == []
    assert now(parts, row).state == State.READY


def test_types_that_this_process_does_not_know_expire_too(parts: Deployment) -> None:
    """Nothing of a file type is needed for it: the row says when."""
    row = overdue(parts, file_type="of_another_deployment")
    assert run().expired == 1
    assert now(parts, row).state == State.EXPIRED


@pytest.mark.parametrize("made", [cancelled, failed])
def test_what_an_ended_request_has_left_goes(parts: Deployment, made: Callable[[Deployment], FileRequest]) -> None:
    """Who cancelled it, or whose step failed, may have died before the object was removed."""
    row = made(parts)
    assert (row.object_key in keys(parts), keys(parts)) == (True, {row.object_key})
    assert run().leftovers == 1
    after = now(parts, row)
    assert (after.state, after.object_key, after.fence) == (row.state, None, row.fence)
    assert keys(parts) == set()
    assert run().leftovers == 0


def test_a_failed_request_that_is_being_told_is_left_alone(parts: Deployment) -> None:
    """Whoever holds a request finds it as it was; the next run removes what it has left."""
    held = claim(parts, failed(parts, waits=True))
    assert run().leftovers == 0
    assert keys(parts) == {held.file_request.object_key}
    end(parts, held)
    assert run().leftovers == 1


def test_what_a_dead_worker_holds_goes_at_last(parts: Deployment) -> None:
    """Its file type is gone: no sweep takes it over."""
    held = claim(parts, failed(parts, waits=True))
    set_row(parts, held.file_request, leased_until=in_seconds(-GRACE - 60))
    assert (run().leftovers, keys(parts)) == (1, set())


def test_a_retry_beside_the_sweep_keeps_its_own_object(parts: Deployment) -> None:
    """A sweep that saw the failed row removes the old object, whatever the new try has written meanwhile."""
    seen = failed(parts)
    again = parts.requests.retry(seen.id, scheduled=True)
    assert again is not None
    held = claim(parts, advanced(parts, "build_items", again))
    put(parts, held.object_key)
    row = end(parts, held)
    parts.store.delete(str(seen.object_key))
    assert parts.requests.drop_objects([seen]) == []
    assert now(parts, row).object_key == held.object_key
    assert keys(parts) == {held.object_key}


@pytest.mark.parametrize("while_running", [True, False])
def test_a_cancel_with_its_object_removed_leaves_nothing(parts: Deployment, while_running: bool) -> None:
    """Also where the toolbox removed the object itself: the key goes from the row."""
    row = written(parts)
    if while_running:
        claim(parts, row)
    toolbox.cancel(row)
    run()
    assert (now(parts, row).state, now(parts, row).object_key, keys(parts)) == (State.CANCELLED, None, set())


# -- what people see --------------------------------------------------------------------------------


def get(token: str) -> Any:
    """The answer to whoever follows a link."""
    return Client(application).get(f"/files/{token}", environ_overrides={"REMOTE_USER": REQUESTER})


def test_a_link_answers_410_until_the_row_goes_and_then_404(parts: Deployment) -> None:
    """Before and after the sweep alike; once the row is gone, nothing is known of the file."""
    made = finished()
    token = toolbox.create_token(made)
    assert get(token).status_code == 200
    set_row(parts, made, expires_at=in_seconds(-2 * LEEWAY))
    assert get(token).status_code == 410
    run()
    assert get(token).status_code == 410
    set_row(parts, made, expires_at=in_seconds(LONG_AGO))
    run()
    assert get(token).status_code == 404


def test_a_link_whose_own_time_is_over_answers_410(parts: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    """That is in the link itself, whether or not there is still a row."""
    clock, made = Clock(monkeypatch), finished()
    token = toolbox.create_token(made)
    clock.forward(86_401)
    assert get(token).status_code == 410
    set_row(parts, made, expires_at=in_seconds(LONG_AGO))
    run()
    assert parts.requests.get(made.id) is None
    assert get(token).status_code == 410


def test_serve_raises_what_it_was_given(parts: Deployment) -> None:
    """The toolbox asks nobody: it serves what there is."""
    row = overdue(parts)
    assert toolbox.serve(row).status_code == 200
    run()
    for seen in (now(parts, row), row):  # the second as it was read before the sweep
        with pytest.raises(Gone):
            toolbox.serve(seen, Gone)


def test_what_is_handled_by_hand_is_never_touched_while_it_is_live(parts: Deployment) -> None:
    """However old it is: nobody but its owner knows what becomes of it."""
    row = set_row(parts, added(), requested_at=in_seconds(LONG_AGO))
    held = parts.requests.take(set_row(parts, added(), requested_at=in_seconds(LONG_AGO)), "me")
    put(parts, held.object_key)
    run(leeway=0)
    assert (now(parts, row).state, now(parts, held.file_request).leased_by) == (State.PENDING, held.owner)
    assert keys(parts) == {held.object_key}
