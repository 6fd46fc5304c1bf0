"""The moves of the protocol, as tests make them: a row that stands where a test wants it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import update

from bgtasks import settings, toolbox
from bgtasks.canvas import STEPS, following
from bgtasks.claims import Claim, Held
from bgtasks.database import later
from bgtasks.deployment import Deployment
from bgtasks.models import FileRequest
from bgtasks.states import State

#: A number of seconds in which nothing that the tests wait for can come to pass by itself.
LONG = 3600.0


def ask(**more: Any) -> FileRequest:
    """A pending request, of which no message is in a queue."""
    return toolbox.add_request({"count": 3}, "numbers", **{"requester": "ada@example.com", **more})


def claim(parts: Deployment, seen: FileRequest, owner: str = "worker 1") -> Held:
    """Take the next step of a row as it was seen."""
    return parts.requests.claim(Claim.of(seen), following(STEPS, seen)[0], seen.step, owner)


def end(parts: Deployment, held: Held) -> FileRequest:
    """End a held step as the chain would."""
    waits = held.step != "notify"
    if held.step == "attach":
        return parts.requests.publish(held, {"filename": "numbers.csv"}, LONG, waits=waits)
    outcome = {"object_key": held.object_key, "size": 3} if held.step == "write_bytes" else {}
    return parts.requests.finish(held, outcome, waits=waits)


def advanced(parts: Deployment, step: str, seen: FileRequest | None = None) -> FileRequest:
    """A request whose last finished step is this one."""
    row = seen or ask()
    while row.step != step:
        row = end(parts, claim(parts, row, f"worker for {row.step}"))
    return row


def now(parts: Deployment, seen: FileRequest) -> FileRequest:
    """The row as it is."""
    row = parts.requests.get(seen.id)
    assert row is not None
    return row


def set_row(parts: Deployment, seen: FileRequest, **values: Any) -> FileRequest:
    """What only time does otherwise: columns are set past the protocol."""
    with parts.database.writing() as session:
        session.execute(update(FileRequest).where(FileRequest.id == seen.id).values(values))
    return now(parts, seen)


def lapse(parts: Deployment, seen: FileRequest) -> FileRequest:
    """Let the lease be over."""
    return set_row(parts, seen, leased_until=later(-1))


def fall_due(parts: Deployment, seen: FileRequest) -> FileRequest:
    """Let the belief in the message in the queue be over."""
    return set_row(parts, seen, dispatch_at=later(-1))


def told(parts: Deployment, seen: FileRequest) -> list[str]:
    """The kinds of the history's entries."""
    return [event.kind for event in parts.requests.history(seen.id)]


def is_ready(row: FileRequest) -> bool:
    """Whether the file may be downloaded."""
    return row.state == State.READY


def at_once(calls: Sequence[Callable[[], Any]]) -> list[Any]:
    """What each call returns or raises, where all are made at the same moment, each in a thread of its own."""
    start, answers = threading.Barrier(len(calls)), dict[int, Any]()
    app = settings.this_app()

    def make(number: int) -> None:
        app.set_current()  # each thread has a current app of its own
        start.wait()
        try:
            answers[number] = calls[number]()
        except Exception as error:
            answers[number] = error

    threads = [threading.Thread(target=make, args=(number,)) for number in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [answers[number] for number in range(len(calls))]


def wait_for(predicate: Callable[[], Any], seconds: float = 10.0) -> Any:
    """What the predicate returns once it is true."""
    deadline = time.monotonic() + seconds
    while not (found := predicate()):
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.01)
    return found
