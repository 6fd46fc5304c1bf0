"""What goes wrong beside the parts themselves: a store, a database, a file type, or whoever has ended the request."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest

from bgtasks import endings, execution, publishing, registry, toolbox
from bgtasks.claims import Claim
from bgtasks.deployment import Deployment
from bgtasks.errors import ClaimLost, ObjectMissing, RequestFailed, TransientError
from bgtasks.pacing import Pace
from bgtasks.requests import Requests, part_sweeping
from bgtasks.running import RunningStep
from bgtasks.states import State
from bgtasks.stores import Store
from bgtasks.sweeps import cleaning
from bgtasks.sweeps import parts as sweeping
from tests.record.moves import now, set_row
from tests.support import divided
from tests.support.divided import EACH, alter_part, begin, fan_out, finish
from tests.support.handmade import fresh, in_seconds

PATIENCE = 300.0
AWAY = "s3://away"


def test_what_a_forgotten_claim_has_joined_is_never_another_ones_object(parts: Deployment) -> None:
    """A database that crashes may forget the claim of ``attach``, whose fence is granted again; not once it joins."""
    row = fan_out(parts)
    for number in range(3):
        row = finish(parts, begin(parts, row, number, EACH)).file_request
    forgotten = parts.requests.claim(Claim.of(row), "attach", row.step, "A")
    set_row(parts, row, fence=row.fence, leased_by=None, leased_until=None, dispatch_at=row.dispatch_at)
    granted = parts.requests.claim(Claim.of(row), "attach", row.step, "B")
    assert forgotten.object_key == granted.object_key
    theirs, ours = (
        RunningStep(parts, held, mock.Mock(), registry.get("numbers").restore(held.file_request))
        for held in (forgotten, granted)
    )
    real = Requests.keep

    def keep(self: Requests, held: Any, **columns: Any) -> Any:
        if held.owner == "B" and "object_key" in columns:  # the object is whole, and not named yet
            with pytest.raises(ClaimLost):
                theirs.begin_anew()
            theirs.unstage()
        return real(self, held, **columns)

    with mock.patch.object(Requests, "keep", keep):
        ours.begin_anew()
    named = now(parts, row)
    assert parts.store.size(str(named.object_key)) == named.size


def test_parts_of_an_unknown_type_keep_no_others_waiting(parts: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many there are, and however long."""
    monkeypatch.setattr(part_sweeping, "LIMIT", 3)
    sent = mock.Mock(return_value=True)
    monkeypatch.setattr(publishing, "attempt_parts", sent)
    gone, ours = fan_out(parts), fan_out(parts)
    set_row(parts, gone, file_type="gone")
    for number in range(3):
        alter_part(parts, gone, number, dispatch_at=in_seconds(-7200))
        alter_part(parts, ours, number, dispatch_at=in_seconds(-3600))
    sweeping.dispatch(lambda _: 0)
    assert [call.args[0].id for call in sent.call_args_list] == [ours.id] * 3
    for row, since in ((gone, -7200), (ours, -3600)):
        for number in range(3):
            alter_part(parts, row, number, dispatch_at=None, leased_by="dead", leased_until=in_seconds(since))
    sweeping.recover()
    assert [part.leased_by for part in parts.parting.of(ours.id)] == [None] * 3
    assert [part.leased_by for part in parts.parting.of(gone.id)] == ["dead"] * 3


@pytest.mark.parametrize(
    ("waited", "dispatches", "length", "lost"),
    [
        (29, 0, 0, False),  # it is being taken just now
        (31, 0, 0, True),
        (31, 2, 0, False),  # it was published twice already
        (121, 2, 0, True),
        (301, 0, 5, None),  # it may still be in the queue
        (2401, 0, 5, True),
        (301, 0, None, True),  # the broker can't tell
    ],
)
def test_a_part_is_believed_in_as_a_request_is(
    parts: Deployment, monkeypatch: pytest.MonkeyPatch, waited: float, dispatches: int, length: int | None, lost: Any
) -> None:
    """For a tenth of the time where its queue is empty, longer each time; up to eight times where it is not.

    :param lost: None: it is postponed.
    """
    sent = mock.Mock(return_value=True)
    monkeypatch.setattr(publishing, "attempt_parts", sent)
    row = fan_out(parts, most=1)
    wait = PATIENCE * min(2**dispatches, 8)
    moments = {"published_at": in_seconds(-waited), "dispatch_at": in_seconds(wait - waited)}
    alter_part(parts, row, 0, dispatches=dispatches, **moments)
    sweeping.dispatch(lambda _: length)
    assert sent.called is bool(lost)
    part = parts.parting.of(row.id)[0]
    assert part.dispatches == dispatches + bool(lost)  # what is postponed has not failed
    assert part.dispatch_at is not None
    expected = wait if lost else PATIENCE if lost is None else wait - waited
    assert abs((part.dispatch_at - in_seconds(expected)).total_seconds()) < 20


def test_a_back_off_is_bounded_however_often_it_was_published(parts: Deployment) -> None:
    """Two to the power of some thousand is no number of seconds."""
    row = fan_out(parts)
    alter_part(parts, row, 0, dispatches=5000)
    held = begin(parts, row, 0, 1)
    with pytest.raises(ClaimLost):
        endings.hand_back(parts, held, TransientError())
    assert parts.parting.of(row.id)[0].leased_by is None


def test_parts_in_a_store_that_is_away_are_not_lost_from_sight(
    parts: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their rows stay as long as their objects, and the next sweep removes both."""
    row = fan_out(parts)
    finish(parts, begin(parts, row, 0, EACH))
    key = str(parts.parting.of(row.id)[0].object_key)
    with monkeypatch.context() as away:
        away.setattr(Store, "delete", mock.Mock(side_effect=TransientError))
        assert toolbox.cancel(fresh(parts, row))
        assert len(parts.parting.of(row.id)) == 3
        assert not toolbox.forget(str(row.requester)).is_whole
    assert parts.store.size(key)
    cleaning.clean(Pace())
    with pytest.raises(ObjectMissing):
        parts.store.size(key)
    assert parts.parting.of(row.id) == []


def test_parts_in_a_store_that_is_away_keep_nothing_else_from_being_cleaned(parts: Deployment) -> None:
    """It is asked once; what is in the others goes."""
    for _ in range(3):
        gone = set_row(parts, fan_out(parts), store_url=AWAY)
        alter_part(parts, gone, 0, object_key=f"{gone.id}/3.0.1")
        parts.requests.cancel(gone.id)
    ours = fan_out(parts)
    finish(parts, begin(parts, ours, 0, EACH))
    parts.requests.cancel(ours.id)
    asked = mock.Mock(side_effect=TransientError)
    away = SimpleNamespace(delete=asked, is_there=lambda: False)
    real = Deployment.store_at
    with mock.patch.object(Deployment, "store_at", lambda self, url: away if url == AWAY else real(self, url)):
        done = cleaning.clean(Pace())
    assert isinstance(done.away, TransientError)
    assert (asked.call_count, [len(parts.parting.of(row.id)) for row in (gone, ours)]) == (1, [3, 0])


def test_whoever_deletes_a_request_removes_its_parts(parts: Deployment) -> None:
    """Who has cancelled it may have died before."""
    row = fan_out(parts)
    finish(parts, begin(parts, row, 0, EACH))
    key = str(parts.parting.of(row.id)[0].object_key)
    parts.requests.cancel(row.id)
    assert toolbox.delete(fresh(parts, row))
    with pytest.raises(ObjectMissing):
        parts.store.size(key)


def test_a_type_that_can_not_say_how_many_at_once_fails_its_request(parts: Deployment) -> None:
    """At once, as any code of a user's that raises."""
    divided.fill(parts, 9)

    class Undecided(divided.Logins):
        file_type = "undecided"

        def get_max_parts_at_once(self) -> int | None:
            raise LookupError

    registry.register(Undecided)
    row = toolbox.add_request({}, "undecided", "ada@example.com", schedule=True)
    with pytest.raises(RequestFailed):
        execution.run_outstanding(row)
    failed = fresh(parts, row)
    assert (failed.state, failed.leased_by) == (State.FAILED, None)


def test_what_an_earlier_life_has_joined_elsewhere_is_removed_there(parts: Deployment) -> None:
    """The type has moved to another store since: nobody would look for it once the row names the new one."""
    row = fan_out(parts)
    former = set_row(parts, row, object_key=f"{row.id}/1", store_url=None)
    with parts.store.open_writer(f"{row.id}/1", lambda: None) as buffer:
        buffer.write(b"x")
        buffer.commit()
    held: Any = SimpleNamespace(file_request=former, object_key="")
    moved: Any = SimpleNamespace(get_store_url=lambda: "elsewhere", file_type="moved")
    RunningStep(parts, held, mock.Mock(), moved).leave_former_store()
    with pytest.raises(ObjectMissing):
        parts.store.size(f"{row.id}/1")
