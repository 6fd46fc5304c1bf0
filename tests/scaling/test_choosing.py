"""Which queue a request waits in: chosen before it is begun, and again when its rows are counted."""

from __future__ import annotations

from typing import Any

import pytest
from celery.exceptions import Ignore

from bgtasks import execution, publishing, queues, registry, sweeps, toolbox
from bgtasks.claims import Claim
from bgtasks.deployment import Deployment
from bgtasks.errors import ImproperlyConfigured, RequestFailed
from bgtasks.install import queue_names
from bgtasks.models import FileRequest
from bgtasks.states import EventKind, State
from tests.record.moves import advanced, now
from tests.scaling.file_types import BIG, Hungry, Many
from tests.support.file_types import Numbers
from tests.sweeps.test_sweeps import aged

FIRST = "files.many"


@pytest.fixture(autouse=True)
def _many(parts: Deployment) -> None:
    """The type is known, and its queues are empty: the broker in memory is the whole process's."""
    registry.register(Many)
    empty(parts, FIRST, BIG)


def empty(parts: Deployment, *names: str) -> None:
    """What was in these queues is lost."""
    with parts.app.connection_for_write() as connection:
        for name in names:
            queues.consume(parts.app, [name])
            parts.app.amqp.queues[name].bind(connection.channel()).declare()
            connection.channel().queue_purge(name)


def waiting(parts: Deployment, name: str) -> list[str]:
    """The steps whose messages wait in a queue, taken out of it."""
    with parts.app.connection_for_read() as connection:
        channel = connection.channel()
        messages = iter(lambda: channel.basic_get(name, no_ack=True), None)
        return [message.headers["task"].removeprefix("bgtasks.") for message in messages]


def counted_next(parts: Deployment, count: int) -> FileRequest:
    """A request for so many rows, which are to be counted next."""
    row = toolbox.add_request({"count": count}, "many", "ada", schedule=True)
    row = advanced(parts, "fetch_criteria", row)
    empty(parts, FIRST, BIG)
    return row


def deliver(row: FileRequest, step: str = "build_items") -> Claim:
    """Do a step as a worker does with its message. What the next step is claimed with."""
    return Claim.of(delivered(row, step)[0])


def delivered(row: FileRequest, step: str = "build_items") -> tuple[FileRequest, bool]:
    """The same; the row, and whether the chain is over."""
    return execution._deliver(step, Claim.of(row), "host delivery", None)


def moved(parts: Deployment) -> FileRequest:
    """A request that was found to be large."""
    after, is_over = delivered(counted_next(parts, 1000))
    assert is_over
    return now(parts, after)


def test_a_small_file_stays_where_it_is(parts: Deployment) -> None:
    """Its chain goes on by itself."""
    row = counted_next(parts, 3)
    after, is_over = delivered(row)
    assert (Claim.of(after), is_over) == (Claim.of(now(parts, row)), False)
    assert (now(parts, row).queue, waiting(parts, FIRST), waiting(parts, BIG)) == (None, [], [])


def test_a_large_file_goes_on_in_another_queue(parts: Deployment) -> None:
    """The old chain ends in silence, a new one begins there, and the row and its history say where."""
    row = moved(parts)
    assert (row.queue, row.step, row.rows_total) == (BIG, "build_items", 1000)
    assert (waiting(parts, FIRST), waiting(parts, BIG)) == ([], ["write_bytes"])
    assert parts.requests.history(row.id)[-1].detail == BIG
    assert deliver(row, "write_bytes").fence == row.fence + 1
    assert now(parts, row).queue == BIG


def test_doubled_messages_of_the_old_chain_do_nothing(parts: Deployment) -> None:
    """They bear a fence that has passed; and of the new chain's, one is granted the claim."""
    row = counted_next(parts, 1000)
    deliver(row)
    after = now(parts, row)
    assert waiting(parts, BIG) == ["write_bytes"]
    for _ in range(2):
        with pytest.raises(Ignore):
            deliver(row)
        with pytest.raises(Ignore):
            deliver(row, "write_bytes")
    assert (now(parts, row).fence, waiting(parts, FIRST), waiting(parts, BIG)) == (after.fence, [], [])
    deliver(after, "write_bytes")
    with pytest.raises(Ignore):
        deliver(after, "write_bytes")


def test_a_worker_that_dies_before_it_publishes_there_is_made_good_by_the_sweep(
    parts: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The row knows the queue, whatever waits in the type's first one."""
    with monkeypatch.context() as crash:
        crash.setattr(publishing, "publish", lambda _: True)
        row = moved(parts)
    assert publishing.queue_of(row) == BIG
    toolbox.add_request({}, "many", schedule=True)
    aged(parts, row, parts.settings.patience / 10 + 1)
    sweeps.dispatch()
    assert waiting(parts, BIG) == ["write_bytes"]
    assert now(parts, row).dispatches == 1


def test_the_sweep_sees_what_waits_in_the_chosen_queue(parts: Deployment) -> None:
    """Its message is there: that the first queue is empty means nothing."""
    row = aged(parts, moved(parts), parts.settings.patience / 10 + 1)
    sweeps.dispatch()
    assert now(parts, row).dispatches == 0
    assert waiting(parts, BIG) == ["write_bytes"]


def test_a_queue_is_chosen_by_valid_criteria_before_anything_is_counted(parts: Deployment) -> None:
    """Criteria that are not valid are None here: the step that fetches them has the word on them."""
    asked: list[tuple[Any, Any]] = []

    @registry.register
    class Choosy(Numbers):
        file_type = "choosy"

        def get_queue(self, criteria: Any, count: int | None) -> str:
            asked.append((criteria and criteria.count, count))
            return "files.urgent" if criteria and criteria.count < 10 else "files.choosy"

    empty(parts, "files.urgent", "files.choosy")
    row = toolbox.add_request({"count": 3}, "choosy", schedule=True)
    toolbox.add_request({"count": "many"}, "choosy", schedule=True)
    assert asked == [(3, None), (None, None)]
    assert waiting(parts, "files.urgent") == waiting(parts, "files.choosy") == ["fetch_criteria"]
    deliver(advanced(parts, "fetch_criteria", row))
    assert asked[2:] == [(3, 3), (3, None)]
    assert now(parts, row).queue is None


def test_a_queue_that_is_no_name_fails_the_request(parts: Deployment) -> None:
    """The type's own code is at fault, and says so before a message is lost in a queue called None."""

    @registry.register
    class Nowhere(Numbers):
        file_type = "nowhere"

        def get_queue(self, criteria: Any, count: int | None) -> Any:
            return "files.nowhere" if count is None else None

    row = advanced(parts, "fetch_criteria", toolbox.add_request({}, "nowhere", schedule=True))
    with pytest.raises(RequestFailed):
        deliver(row)
    assert now(parts, row).state == State.FAILED


def test_an_override_without_arguments_goes_on_working(parts: Deployment) -> None:
    """It was right before there was anything to choose by."""

    @registry.register
    class Older(Numbers):
        file_type = "older"

        def get_queue(self) -> str:  # type: ignore[override]
            return "files.of_before"

    row = toolbox.add_request({}, "older", schedule=True)
    assert publishing.queue_of(row) == "files.of_before"
    deliver(advanced(parts, "fetch_criteria", row))
    assert now(parts, row).queue is None


def test_what_can_not_choose_is_refused_when_it_is_registered() -> None:
    """Not at night, in a worker."""

    class Halfway(Numbers):
        file_type = "halfway"

        def get_queue(self, criteria: Any) -> str:  # type: ignore[override]
            return "files.halfway"

    with pytest.raises(ImproperlyConfigured, match=r"Halfway.get_queue needs the arguments \(self, criteria, count\)"):
        registry.register(Halfway)
    for name in ("queue", "heavy_queue"):
        with pytest.raises(ImproperlyConfigured, match=f"{name} needs a queue's name"):
            registry.register(type("Empty", (Numbers,), {"file_type": "none", name: ""}))


def test_a_plain_worker_consumes_the_heavy_queues_too() -> None:
    """And one that begins with ``files.`` is declared with priorities, by everybody."""
    registry.register(Hungry)
    assert queue_names() == ["bgtasks", "files.many", BIG, "files.numbers"]


def test_a_step_of_ones_own_may_choose_too(parts: Deployment) -> None:
    """Whatever step leaves a ``queue`` on the row, the rest goes on there."""
    row = counted_next(parts, 3)
    held = parts.requests.claim(Claim.of(row), "build_items", "fetch_criteria", "somebody")
    row = parts.requests.finish(held, {"queue": BIG}, waits=True)
    assert publishing.queue_of(row) == BIG
    assert [entry.kind for entry in parts.requests.history(row.id)][-1] == EventKind.STEP
