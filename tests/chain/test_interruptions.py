"""A step that is interrupted: by a stop, a cancel, a lack of memory, or the end of its child."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from celery import Celery
from celery.exceptions import TimeLimitExceeded, WorkerLostError
from kombu.utils.json import dumps

from bgtasks import FileType, canvas, deployment, execution, registry, stopping, sweeps, toolbox
from bgtasks.claims import Claim
from bgtasks.deployment import Deployment
from bgtasks.errors import ClaimLost, Interrupted, RequestFailed, TransientError
from bgtasks.models import FileRequest
from bgtasks.requests import Requests
from bgtasks.stack import Mailbox
from bgtasks.states import EventKind, State
from tests.record.moves import advanced, ask, claim, now, set_row, told
from tests.support.file_types import Numbers


@pytest.fixture
def parts(app: Celery, mailbox: Mailbox) -> Deployment:
    """The deployment of the test's app, with a mail server."""
    app.conf.bgtasks_smtp_url = mailbox.url
    return deployment.current()


class Meddled(Numbers):
    """Its rows come one by one, and something happens between them."""

    file_type = "meddled"
    meddle: Callable[[], None]

    def get_items(self, criteria: Any) -> Iterator[tuple[int, str]]:
        yield (0, "zero")
        type(self).meddle()
        yield from ((number, "more") for number in range(5000))


def meddled(parts: Deployment, meddle: Callable[[], None]) -> FileRequest:
    """A request for such a file, whose items are counted already."""
    registry.register(Meddled)
    Meddled.meddle = staticmethod(meddle)
    return advanced(parts, "build_items", toolbox.add_request({}, "meddled", "ada@example.com", schedule=True))


def write(seen: FileRequest) -> Claim:
    """Do the step write_bytes of a row, as a worker would."""
    return execution.run("write_bytes", Claim.of(seen), "host delivery")


def nothing_is_stored(parts: Deployment) -> bool:
    """Whether the store has no file, and no half of one."""
    return not [file for file in (parts.settings.path(parts.settings.store_url)).rglob("*") if file.is_file()]


@pytest.fixture
def listening() -> Iterator[None]:
    """This process is one that can be told to stop, as a worker's child."""
    before = signal.getsignal(signal.SIGUSR2)
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    stopping.listen(signal.SIGUSR2)
    yield
    stopping._watch.asked_at = None
    signal.signal(signal.SIGUSR2, before)


def stop() -> None:
    """What a worker does to its children in the end."""
    os.kill(os.getpid(), signal.SIGUSR2)


@pytest.mark.usefixtures("listening")
def test_a_step_that_is_told_to_stop_is_handed_over(parts: Deployment) -> None:
    """At once: the fence grows, it is due now, no attempt is counted, and nothing half is left."""
    row = meddled(parts, stop)
    with pytest.raises(Interrupted):
        write(row)
    after = now(parts, row)
    assert (after.fence, after.attempts, after.leased_by, after.step) == (row.fence + 2, 0, None, "build_items")
    assert (after.dispatches, after.dispatch_at is not None) == (0, True)
    entry = parts.requests.history(row.id)[-1]
    assert (entry.kind, entry.step, entry.detail) == (EventKind.HANDED_BACK, "write_bytes", "stopping")
    assert nothing_is_stored(parts)
    assert stopping.asked()


@pytest.mark.usefixtures("listening")
def test_a_step_is_not_left_while_it_writes_its_state(parts: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stop that comes during the claim or the end waits: the claim is handed over, what has ended stays ended."""
    claiming, finishing = Requests.claim, Requests.finish

    def stopped_claim(*args: Any, **kwargs: Any) -> Any:
        stop()
        return claiming(*args, **kwargs)

    def stopped_finish(*args: Any, **kwargs: Any) -> Any:
        stop()
        return finishing(*args, **kwargs)

    row = ask()
    monkeypatch.setattr(Requests, "finish", stopped_finish)
    done = execution.run("fetch_criteria", Claim.of(row), "host delivery")
    assert (now(parts, row).step, now(parts, row).fence) == ("fetch_criteria", done.fence)

    stopping._watch.asked_at = None
    monkeypatch.setattr(Requests, "claim", stopped_claim)
    with pytest.raises(Interrupted):
        execution.run("build_items", done, "host delivery")
    assert (now(parts, row).step, now(parts, row).leased_by) == ("fetch_criteria", None)


@pytest.mark.usefixtures("listening")
def test_a_child_that_was_not_stopped_after_all_works_again(parts: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody has terminated one task: its child hands over what comes at once, and does what comes later."""
    row = meddled(parts, stop)
    with pytest.raises(Interrupted):
        write(row)
    with pytest.raises(Interrupted):
        write(now(parts, row))
    monkeypatch.setattr(stopping, "HOLDS", -1.0)
    Meddled.meddle = staticmethod(lambda: None)
    write(now(parts, row))
    assert now(parts, row).step == "write_bytes"


@pytest.mark.usefixtures("listening")
def test_what_is_no_step_of_ours_meets_the_signal_as_without_us() -> None:
    """It is ignored here, as it was before; nobody is told to stop."""
    stop()
    assert not stopping.asked()


def test_ctrl_c_hands_over_and_goes_on_up(parts: Deployment) -> None:
    """In a process of one's own: the request is free for others, and the interrupt is the caller's."""

    def interrupt() -> None:
        raise KeyboardInterrupt

    row = meddled(parts, interrupt)
    with pytest.raises(KeyboardInterrupt):
        write(row)
    assert (now(parts, row).leased_by, told(parts, row)[-1]) == (None, EventKind.HANDED_BACK)


def test_stops_are_not_counted_as_an_outage(parts: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    """However often the workers are restarted, an outage after that still has all its tries."""
    from bgtasks import endings, patience

    monkeypatch.setattr(endings, "MOST_HAND_BACKS", 1)
    monkeypatch.setattr(patience, "IN_SLOT", 0.0)
    row = ask()
    for _ in range(3):
        held = claim(parts, now(parts, row))
        endings.hand_over(parts, held)
    held = claim(parts, now(parts, row))
    with pytest.raises(ClaimLost):
        endings.after(parts, held, TransientError())
    with pytest.raises(RequestFailed):
        endings.after(parts, claim(parts, now(parts, row)), TransientError())


def test_a_lack_of_memory_counts_as_a_lost_worker(parts: Deployment) -> None:
    """It is taken over at once, and an attempt is counted; in the end it has failed, and whoever waits is told."""

    def grow() -> None:
        raise MemoryError

    row = meddled(parts, grow)
    for attempt in (1, 2, 3):
        with pytest.raises(Interrupted):
            write(now(parts, row))
        assert (now(parts, row).attempts, now(parts, row).leased_by) == (attempt, None)
    after = now(parts, row)
    assert (after.state, after.error_code) == (State.FAILED, "worker_lost")
    assert nothing_is_stored(parts)


def test_a_writer_of_bytes_hears_of_a_cancel(parts: Deployment) -> None:
    """Also one that counts no rows: within about a second of writing, and nothing of it stays."""

    class Endless(FileType):
        file_type = "endless"

        def get_items(self, criteria: Any) -> Any:
            return []

        def write_bytes(self, dataset: Any, buffer: Any) -> None:
            while True:
                buffer.write(b"more and more")
                time.sleep(0.01)

    registry.register(Endless)
    row = advanced(parts, "build_items", toolbox.add_request({}, "endless", "ada@example.com", schedule=True))
    app, lost = parts.app, []

    def work() -> None:
        app.set_current()
        try:
            write(row)
        except ClaimLost:
            lost.append(time.monotonic())

    worker = threading.Thread(target=work)
    worker.start()
    while now(parts, row).leased_by is None:
        time.sleep(0.01)
    assert toolbox.cancel(row)
    cancelled = time.monotonic()
    worker.join(30)
    assert lost
    assert lost[0] - cancelled < 10  # a second, on a machine that does nothing else
    assert nothing_is_stored(parts)
    assert now(parts, row).state == State.CANCELLED


def test_a_store_that_is_away_does_not_hide_what_went_wrong(parts: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    """The half of a file is left to the sweep; the request fails for its own reason."""

    def fail() -> None:
        monkeypatch.setattr(type(parts.store), "delete", lambda *_: (_ for _ in ()).throw(TransientError()))
        raise ZeroDivisionError

    row = meddled(parts, fail)
    with pytest.raises(RequestFailed):
        write(row)
    assert now(parts, row).error_code == "internal_error"


# -- a child that is dead, as its worker's main process sees it -----------------------------------


class Lost:
    """A message's context, as the errback is given it."""

    id = "delivery"

    def __init__(self, *args: Any) -> None:
        self.args = args


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """The messages that the errback has sent."""
    messages: list[tuple[Any, ...]] = []
    monkeypatch.setattr(sweeps.recover_lost, "apply_async", lambda args, **_: messages.append(args))
    return messages


@pytest.mark.parametrize(("error", "overdue"), [(WorkerLostError("gone"), False), (TimeLimitExceeded(5), True)])
def test_the_errback_names_the_delivery(sent: list[Any], error: Exception, overdue: bool) -> None:
    """It sends a message, and talks to no database: it runs in the worker's main process."""
    handed_on = {"request_id": "00000000-0000-0000-0000-000000000000", "file_type": "numbers", "fence": 2}
    sweeps.on_lost(Lost(handed_on), error, None)
    assert sent == [(Claim.parse(handed_on), "delivery", overdue)]


@pytest.mark.parametrize("error", [RequestFailed("no"), ValueError(), OSError()])
def test_the_errback_leaves_alone_what_has_ended_by_itself(sent: list[Any], error: Exception) -> None:
    """A failure is on the row already."""
    sweeps.on_lost(Lost(Claim("00000000-0000-0000-0000-000000000000", "numbers", 2)), error, None)
    assert sent == []


def test_every_link_has_the_errback(parts: Deployment) -> None:
    """And it tells no more than its name."""
    links = canvas.build(ask(), canvas.STEPS, "files.numbers", {}).tasks
    assert [[errback.task for errback in link.options["link_error"]] for link in links] == [["bgtasks.on_lost"]] * 6
    assert all(errback.args in ((), []) for link in links for errback in link.options["link_error"])
    assert len(dumps(links)) < 4000  # bytes that the first message carries


def test_a_step_whose_child_died_is_taken_over_at_once(parts: Deployment) -> None:
    """One attempt, however often its message comes; another delivery's work is left alone."""
    row = ask()
    held = claim(parts, row, "host delivery 1a2b")
    sweeps.recover_lost(Claim.of(row), "another", False)
    assert now(parts, row).leased_by == held.owner
    for _ in range(2):
        sweeps.recover_lost(Claim.of(row), "delivery", False)
    after = now(parts, row)
    assert (after.attempts, after.leased_by, after.fence) == (1, None, held.file_request.fence + 1)


@pytest.mark.parametrize("step", ["", "fetch_criteria"])
def test_a_link_that_died_with_its_child_is_published_again_once(parts: Deployment, step: str) -> None:
    """It died before it claimed, or between its end and the next link's publication: no attempt is counted."""
    before = ask(schedule=True)
    row = advanced(parts, step, before)
    for _ in range(3):
        sweeps.recover_lost(Claim.of(before), "delivery", False)
    assert told(parts, row).count(EventKind.DISPATCHED) == 1
    assert (now(parts, row).attempts, now(parts, row).fence) == (0, row.fence)


def test_a_step_that_was_killed_at_its_time_limit_has_failed(parts: Deployment, mailbox: Mailbox) -> None:
    """With the limit's own reason, at once, and told."""
    row = ask(schedule=True)
    claim(parts, row, "host delivery 1a2b")
    sweeps.recover_lost(Claim.of(row), "delivery", True)
    after = now(parts, row)
    assert (after.state, after.error_code, after.attempts) == (State.FAILED, "time_limit", 0)
    assert after.dispatch_at is not None
    sweeps.recover_lost(Claim.of(row), "delivery", True)
    assert told(parts, row).count(EventKind.FAILED) == 1


def test_a_telling_that_was_killed_at_its_time_limit_leaves_the_file_ready(parts: Deployment) -> None:
    """``notify_failed`` is in its history."""
    row = advanced(parts, "tokenize")
    claim(parts, row, "host delivery 1a2b")
    sweeps.recover_lost(Claim.of(row), "delivery", True)
    after = now(parts, row)
    assert (after.state, after.leased_by, after.dispatch_at) == (State.READY, None, None)
    assert told(parts, row)[-1] == EventKind.NOTIFY_FAILED


@pytest.mark.parametrize(
    ("of_the_type", "of_the_app", "expected"),
    [
        (100.0, {}, (100.0, 130.0)),
        (None, {}, (None, None)),
        (None, {"task_soft_time_limit": 7, "task_time_limit": 9}, (7, 9)),
        (100.0, {"task_soft_time_limit": 7}, (7, 37.0)),
        (100.0, {"task_time_limit": 50}, (50, 50)),
    ],
)
def test_the_time_limit_of_a_type_is_celerys_too(
    parts: Deployment, of_the_type: float | None, of_the_app: dict[str, float], expected: tuple[Any, Any]
) -> None:
    """Soft at the limit, hard half a lease later; the app's own hold where they are shorter; soft is never later."""
    parts.app.conf.update(of_the_app)
    links = canvas.build(ask(), canvas.STEPS, "files.numbers", {}, time_limit=of_the_type).tasks
    found = {(link.options.get("soft_time_limit"), link.options.get("time_limit")) for link in links}
    assert found == {expected}


def test_a_row_that_is_gone_needs_nothing(parts: Deployment) -> None:
    """It was deleted meanwhile."""
    row = set_row(parts, ask(), state=State.FAILED)
    assert toolbox.delete(row)
    sweeps.recover_lost(Claim.of(row), "delivery", False)
