"""The periodic tasks: what a lost message or a dead worker left behind is published again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from celery.result import AsyncResult
from sqlalchemy import select

from bgtasks import publishing, queues, registry, results, sweeps, toolbox
from bgtasks.deployment import Deployment
from bgtasks.errors import RequestFailed
from bgtasks.models import Event, FileRequest
from bgtasks.queues import QUEUE, queue_of
from bgtasks.states import State
from tests.record.moves import advanced, claim, end, fall_due, lapse, now, set_row, told, wait_for
from tests.support.file_types import Numbers

#: What beat has a worker do.
SWEPT = ("dispatch", "recover", "remind", "clean")


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The first step of each chain that is published, as ``<step> #<fence>``; each goes to the broker as well."""
    steps: list[str] = []
    publish = publishing.publish

    def record(file_request: FileRequest) -> bool:
        links = registry.get(file_request.file_type).restore(file_request).canvas(file_request)
        steps.append(f"{links.tasks[0].task.removeprefix('bgtasks.')} #{file_request.fence}")
        return publish(file_request)

    monkeypatch.setattr(publishing, "publish", record)
    return steps


@pytest.fixture(autouse=True)
def _empty_queue(parts: Deployment) -> None:
    """Other tests' messages are nobody's; the broker in memory is the whole process's."""
    lose_messages(parts)


def lose_messages(parts: Deployment) -> None:
    """The broker is restarted, and has lost what it had."""
    with parts.app.connection_for_write() as connection:
        connection.channel().queue_purge(queue_of("numbers"))


def waiting(parts: Deployment) -> FileRequest:
    """A request whose next step is due, and whose message never came."""
    return fall_due(parts, end(parts, claim(parts, advanced(parts, "fetch_criteria"))))


def aged(parts: Deployment, seen: FileRequest, seconds: float) -> FileRequest:
    """The row, after it has waited for so much longer."""
    with parts.database.writing() as session:
        for entry in session.scalars(select(Event).where(Event.request_id == seen.id)):
            entry.at -= timedelta(seconds=seconds)
    assert seen.dispatch_at is not None
    return set_row(parts, seen, dispatch_at=seen.dispatch_at - timedelta(seconds=seconds))


def test_a_lost_message_is_published_again(parts: Deployment, published: list[str]) -> None:
    """From the first step whose outcome is not on the row, once per sweep; no attempt is counted."""
    row = waiting(parts)
    sweeps.dispatch()
    sweeps.dispatch()
    assert published == ["write_bytes #2"]
    after = now(parts, row)
    assert (after.fence, after.attempts, after.dispatches) == (row.fence, 0, 1)
    assert claim(parts, row).step == "write_bytes"


def test_each_time_the_message_is_believed_in_for_longer(parts: Deployment, published: list[str]) -> None:
    """Up to eight times the patience."""
    row, waits = waiting(parts), []
    for _ in range(6):
        row = fall_due(parts, row)
        lose_messages(parts)
        sweeps.dispatch()
        before, row = row, now(parts, row)
        assert row.dispatch_at is not None
        assert before.dispatch_at is not None
        waits.append(round((row.dispatch_at - before.dispatch_at).total_seconds() / parts.settings.patience, 1))
    assert waits == pytest.approx([1, 2, 4, 8, 8, 8], abs=0.1)
    assert len(published) == 6


def test_a_long_queue_is_not_filled_with_copies(parts: Deployment, published: list[str]) -> None:
    """While messages wait in the queue, ours may be among them; after eight times the patience it is not."""
    patience = parts.settings.patience
    row = toolbox.add_request({}, "numbers", schedule=True)
    published.clear()
    for _ in range(7):
        row = aged(parts, row, patience)
        sweeps.dispatch()
        row = now(parts, row)
        assert (published, row.dispatches) == ([], 0)
        assert row.dispatch_at is not None
        assert row.dispatch_at > datetime.now(UTC) + timedelta(seconds=patience * 0.9)
    aged(parts, row, patience)
    sweeps.dispatch()
    sweeps.dispatch()
    assert published == ["fetch_criteria #0"]
    assert now(parts, row).dispatches == 1


def test_what_an_empty_queue_has_lost_is_published_sooner(parts: Deployment, published: list[str]) -> None:
    """After a tenth of the patience; later each time, since it may be in a worker's hands already."""
    tenth = parts.settings.patience / 10
    row = toolbox.add_request({}, "numbers", schedule=True)
    published.clear()
    aged(parts, row, tenth + 1)
    sweeps.dispatch()
    assert published == []  # it is in the queue

    lose_messages(parts)
    sweeps.dispatch()
    assert published == ["fetch_criteria #0"]
    lose_messages(parts)
    sweeps.dispatch()
    aged(parts, now(parts, row), tenth + 1)
    sweeps.dispatch()
    assert published == ["fetch_criteria #0"]  # twice as long, this time
    aged(parts, now(parts, row), tenth + 1)
    sweeps.dispatch()
    assert published == ["fetch_criteria #0"] * 2


def test_what_was_handed_back_waits_for_its_time(parts: Deployment, published: list[str]) -> None:
    """No message is in a queue, however long or short that is: it is published when its back-off is over."""
    held = claim(parts, advanced(parts, "fetch_criteria"))
    row = parts.requests.hand_back(held, 50, "service_unavailable")
    assert row is not None
    row = aged(parts, row, 49)
    sweeps.dispatch()
    assert published == []
    toolbox.add_request({}, "numbers", schedule=True)  # and the queue is not empty
    published.clear()
    aged(parts, row, 2)
    sweeps.dispatch()
    assert published == [f"build_items #{row.fence}"]


def test_a_broker_that_can_not_count_is_believed_in_until_the_time_is_over(
    parts: Deployment, published: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither sooner nor later."""
    monkeypatch.setattr(queues, "length", lambda *_: None)
    row = aged(parts, advanced(parts, "fetch_criteria"), parts.settings.patience - 5)
    sweeps.dispatch()
    assert published == []
    aged(parts, row, 10)
    sweeps.dispatch()
    assert published == ["build_items #1"]


def test_a_broker_that_goes_away_ends_the_sweep(parts: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each publication would wait for it; the others stay due, and nothing is counted for them."""
    rows = [waiting(parts) for _ in range(3)]
    tried: list[str] = []
    monkeypatch.setattr(publishing, "publish", lambda row: bool(tried.append(row.id)))
    sweeps.dispatch()
    assert len(tried) == 1
    assert sorted(now(parts, row).dispatches for row in rows) == [0, 0, 1]


def test_what_is_not_due_is_left_alone(parts: Deployment, published: list[str]) -> None:
    """A message that is still believed in, a step at work, a request of the caller's own, an ended one."""
    advanced(parts, "fetch_criteria")
    claim(parts, advanced(parts, "build_items"))
    toolbox.add_request("by hand")
    advanced(parts, "notify")
    sweeps.dispatch()
    sweeps.recover()
    assert published == []


def test_types_that_this_process_does_not_know_are_left_alone(parts: Deployment, published: list[str]) -> None:
    """The workers that know them have sweeps too."""
    due = set_row(parts, waiting(parts), file_type="of_another_deployment")
    held = set_row(parts, claim(parts, advanced(parts, "fetch_criteria")).file_request, file_type="of_another")
    lapsed = lapse(parts, held)
    sweeps.dispatch()
    sweeps.recover()
    assert published == []
    assert now(parts, due).dispatch_at == due.dispatch_at
    assert now(parts, lapsed).fence == lapsed.fence


def test_what_nobody_ever_starts_is_given_up(parts: Deployment, published: list[str]) -> None:
    """After ``bgtasks_give_up`` it has failed, with a reason; its requester is to be told, and who waits is."""
    long_ago = datetime.now(UTC) - timedelta(seconds=parts.settings.give_up + 60)
    old, begun = toolbox.add_request({}, "numbers", schedule=True), waiting(parts)
    by_hand = toolbox.add_request({}, "numbers")
    published.clear()
    for row in (old, begun, by_hand):
        set_row(parts, row, requested_at=long_ago)
    fall_due(parts, old)
    lose_messages(parts)
    sweeps.dispatch()
    sweeps.dispatch()
    given_up = now(parts, old)
    assert (given_up.state, given_up.error_code) == (State.FAILED, "never_started")
    assert sorted(published) == ["notify #0", "write_bytes #2"]
    assert [now(parts, row).state for row in (begun, by_hand)] == [State.RUNNING, State.PENDING]
    with pytest.raises(RequestFailed, match="Nobody was there"):
        AsyncResult(old.id, app=parts.app).get(timeout=5)


def test_a_request_whose_type_has_lost_its_step_has_failed(parts: Deployment, published: list[str]) -> None:
    """A deployment may take a step away under a request: it must not stay "running" for ever."""

    @registry.register
    class Shortened(Numbers):
        file_type = "shortened"
        steps = ("fetch_criteria", "write_bytes", "attach", "notify")

    row = fall_due(parts, set_row(parts, waiting(parts), file_type="shortened", step="scan"))
    sweeps.dispatch()
    after = now(parts, row)
    assert (after.state, after.error_code) == (State.FAILED, "improperly_configured")
    assert published == [f"notify #{row.fence}"]


def test_a_type_that_tells_nobody_leaves_nothing_to_do(parts: Deployment, published: list[str]) -> None:
    """A request of a type without the step ``notify`` that was given up or lost waits for nothing."""

    @registry.register
    class Silent(Numbers):
        file_type = "silent"
        steps = ("fetch_criteria", "build_items", "write_bytes", "attach")

    row = set_row(parts, claim(parts, advanced(parts, "fetch_criteria")).file_request, attempts=2, file_type="silent")
    lapse(parts, row)
    sweeps.recover()
    fall_due(parts, now(parts, row))
    sweeps.dispatch()
    after = now(parts, row)
    assert (after.state, after.dispatch_at, published) == (State.FAILED, None, [])


def test_a_dead_workers_step_is_published_again(parts: Deployment, published: list[str]) -> None:
    """The same step, under the next fence; one attempt is counted, however many sweeps run."""
    row = lapse(parts, claim(parts, advanced(parts, "write_bytes")).file_request)
    sweeps.recover()
    sweeps.recover()
    sweeps.dispatch()
    assert published == ["attach #5"]
    after = now(parts, row)
    assert (after.state, after.attempts, after.leased_by) == (State.RUNNING, 1, None)


def test_whoever_waits_is_told_of_a_worker_that_is_lost_again_and_again(
    parts: Deployment, published: list[str]
) -> None:
    """The sweep ends such a request, stores its result, and has its requester told."""
    row = set_row(parts, claim(parts, advanced(parts, "fetch_criteria")).file_request, attempts=2)
    lapse(parts, row)
    sweeps.recover()
    assert published == ["notify #3"]
    with pytest.raises(RequestFailed, match="worker was lost") as caught:
        AsyncResult(row.id, app=parts.app).get(timeout=1)
    assert caught.value.error_code == "worker_lost"
    assert told(parts, row)[-1] == "failed"


def test_a_notification_that_kills_its_worker_is_given_up(parts: Deployment, published: list[str]) -> None:
    """After as many attempts of its own; the file stays ready, and nothing is published or announced any more."""
    row = advanced(parts, "tokenize")
    for _ in range(parts.settings.max_attempts):
        lapse(parts, claim(parts, now(parts, row)).file_request)
        sweeps.recover()
    assert len(published) == parts.settings.max_attempts - 1
    published.clear()
    sweeps.dispatch()
    assert published == []
    assert (now(parts, row).state, now(parts, row).dispatch_at) == (State.READY, None)
    assert told(parts, row)[-1] == "notify_failed"
    assert AsyncResult(row.id, app=parts.app).state == "PENDING"


@pytest.mark.parametrize("file_type", ["", "numbers", "a_type_that_is_registered_nowhere"])
def test_a_dead_handlers_request_is_pending_again(parts: Deployment, published: list[str], file_type: str) -> None:
    """What is handled by hand needs no registered type, and no chain is published for it."""
    row = toolbox.add_request("by hand", file_type)
    lapse(parts, parts.requests.take(row, "me").file_request)
    sweeps.recover()
    sweeps.dispatch()
    assert published == []
    assert [found.id for found in FileRequest.to_handle()] == [row.id]
    assert toolbox.attach_file(now(parts, row), b"done").state == State.READY


def test_one_requests_fault_keeps_no_other_waiting(
    parts: Deployment, published: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    """A file type whose code raises costs a line in the log, and its own requests only."""

    @registry.register
    class Broken(Numbers):
        file_type = "broken"

        def get_queue(self) -> Any:
            raise ZeroDivisionError

    first = set_row(parts, waiting(parts), file_type="broken")
    second = waiting(parts)
    sweeps.dispatch()
    assert published == ["write_bytes #2"]
    for row in (first, second):
        lapse(parts, claim(parts, now(parts, row)).file_request)
    sweeps.recover()
    assert published == ["write_bytes #2", "write_bytes #4"]
    assert caplog.text.count("can't be published") == 2


def test_the_sweeps_are_scheduled_in_our_queue_and_expire() -> None:
    """They neither wait behind exports nor pile up."""
    entries = sweeps.schedule()
    assert {entry["task"] for entry in entries.values()} == {f"bgtasks.{name}" for name in SWEPT}
    for entry in entries.values():
        assert entry["options"] == {"queue": QUEUE, "expires": entry["schedule"]}


def test_a_result_backend_that_is_away_ends_no_sweep(
    parts: Deployment, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The row has the truth; who waits for a result asks it."""
    monkeypatch.setattr(parts.app.backend, "store_result", lambda *_, **__: 1 / 0)
    row = set_row(parts, claim(parts, advanced(parts, "fetch_criteria")).file_request, attempts=2)
    lapse(parts, row)
    sweeps.recover()
    assert now(parts, row).state == State.FAILED
    assert "could not be stored" in caplog.text
    results.announce(parts.app, row)
    assert wait_for(lambda: now(parts, row).dispatch_at)
