"""A request that has run out of memory goes on where there is more of it."""

from __future__ import annotations

from typing import Any

import pytest
from billiard.common import human_status
from celery.exceptions import Ignore, TimeLimitExceeded, WorkerLostError

from bgtasks import execution, publishing, registry, sweeps, toolbox
from bgtasks.claims import Claim
from bgtasks.deployment import Deployment
from bgtasks.models import FileRequest
from bgtasks.states import EventKind, State
from tests.chain.test_interruptions import Lost
from tests.record.moves import advanced, claim, now, set_row
from tests.scaling.file_types import BIG, Hungry
from tests.support.file_types import Numbers

KILLED = WorkerLostError(f"Worker exited prematurely: {human_status(-9)} Job: 3.")


class Light(Hungry):
    """It has nowhere else to go."""

    file_type = "light"
    heavy_queue = None


@pytest.fixture(autouse=True)
def _hungry(parts: Deployment) -> None:
    registry.register(Hungry)
    registry.register(Light)


def about_to_write(parts: Deployment, file_type: str = "hungry") -> FileRequest:
    """A request whose next step needs the memory."""
    return advanced(parts, "build_items", toolbox.add_request({"end": "raised"}, file_type, "ada", schedule=True))


def killed(parts: Deployment, row: FileRequest) -> FileRequest:
    """The row, after its step's child was killed."""
    claim(parts, row, "host delivery 1a2b")
    sweeps.recover_lost(Claim.of(row), "delivery", False, killed=True)
    return now(parts, row)


def test_what_was_killed_goes_on_in_the_heavy_queue(parts: Deployment) -> None:
    """One attempt is counted; the row, its message and its history say where it goes on."""
    row = killed(parts, about_to_write(parts))
    assert (row.queue, row.attempts, row.step, row.state) == (BIG, 1, "build_items", State.RUNNING)
    assert publishing.queue_of(row) == BIG
    entry = next(one for one in parts.requests.history(row.id) if one.kind == EventKind.RECOVERED)
    assert entry.detail == f"host delivery 1a2b: out of memory, goes on in {BIG}"


def test_what_has_raised_goes_on_there_too(parts: Deployment) -> None:
    """``MemoryError``: the worker lives, and hands it over at once."""
    row = about_to_write(parts)
    with pytest.raises(Ignore):
        execution._deliver("write_bytes", Claim.of(row), "host delivery", None)
    after = now(parts, row)
    assert (after.queue, after.attempts, after.leased_by) == (BIG, 1, None)
    assert parts.requests.history(row.id)[-1].kind == EventKind.DISPATCHED


def test_what_is_killed_there_ends_as_everywhere(parts: Deployment) -> None:
    """It is taken over where it is, until its attempts are used up."""
    row = killed(parts, killed(parts, about_to_write(parts)))
    assert (row.queue, row.attempts, row.state) == (BIG, 2, State.RUNNING)
    recovered = [one.detail for one in parts.requests.history(row.id) if one.kind == EventKind.RECOVERED]
    assert recovered[1] == "host delivery 1a2b"
    row = killed(parts, row)
    assert (row.queue, row.attempts, row.state, row.error_code) == (BIG, 3, State.FAILED, "worker_lost")


def test_without_a_heavy_queue_nothing_changes(parts: Deployment) -> None:
    """It is tried again where it was."""
    row = killed(parts, about_to_write(parts, "light"))
    assert (row.queue, row.attempts, row.state) == (None, 1, State.RUNNING)
    assert publishing.queue_of(row) == "files.many"


def test_what_is_lost_otherwise_stays_where_it_is(parts: Deployment) -> None:
    """Another signal, another exit code, a lease that lapsed: nothing says that memory was short."""
    row = about_to_write(parts)
    claim(parts, row, "host delivery 1a2b")
    sweeps.recover_lost(Claim.of(row), "delivery", False)
    assert (now(parts, row).queue, now(parts, row).attempts) == (None, 1)


def test_a_retry_begins_in_the_heavy_queue(parts: Deployment) -> None:
    """It was found to be too heavy for the first one; a third of its attempts would be lost to find that again."""
    row = set_row(parts, killed(parts, about_to_write(parts)), state=State.FAILED)
    assert toolbox.retry(row)
    after = now(parts, row)
    assert (after.state, after.step, after.attempts, after.queue) == (State.PENDING, "", 0, BIG)
    assert publishing.queue_of(after) == BIG


def test_a_type_whose_code_raises_keeps_nobody_from_taking_over(parts: Deployment) -> None:
    """The request goes on where it was."""

    @registry.register
    class Faulty(Numbers):
        file_type = "faulty"

        def get_heavy_queue(self) -> str | None:
            raise ZeroDivisionError

    row = killed(parts, advanced(parts, "build_items", toolbox.add_request({}, "faulty", schedule=True)))
    assert (row.queue, row.attempts) == (None, 1)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (KILLED, {"killed": True}),
        (WorkerLostError(f"Worker exited prematurely: {human_status(-15)} Job: 9."), {}),
        (WorkerLostError(f"Worker exited prematurely: {human_status(1)} Job: 9."), {}),
        (TimeLimitExceeded(9), {}),
    ],
)
def test_the_errback_says_that_it_was_sigkill(
    error: Exception, said: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As billiard words it; and says nothing otherwise, which workers of before understand."""
    sent: list[Any] = []
    monkeypatch.setattr(sweeps.recover_lost, "apply_async", lambda *_, kwargs, **__: sent.append(kwargs))
    sweeps.on_lost(Lost(Claim("00000000-0000-0000-0000-000000000000", "hungry", 2)), error, None)
    assert sent == [said]
