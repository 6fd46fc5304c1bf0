"""A request that an older one answers for, over a real broker and worker."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from celery import Celery

from bgtasks import database, request_file
from bgtasks.deployment import Deployment
from bgtasks.models import FileRequest
from bgtasks.stack import Mailbox, wait_for
from tests.support.flights import fill
from tests.support.nodes import Setup

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

WAIT = 60.0  # seconds
ASKED: dict[str, Any] = {
    "args": ("flights", {"from_date": "2013-04-05", "until_date": "2013-04-27"}, "ada@example.com"),
    "kwargs": {"filename": "Ada's journeys.csv", "idempotency_key": "journeys of Ada"},
}


@contextlib.contextmanager
def watched(app: Celery) -> Iterator[Callable[[str], dict[str, dict[str, Any]]]]:
    """What a monitor such as Flower is told of a task, by the kind of event."""
    seen: list[dict[str, Any]] = []
    with app.connection_for_read() as connection:
        receiver = app.events.Receiver(connection, handlers={"*": seen.append})
        thread = threading.Thread(target=receiver.capture, kwargs={"wakeup": True})
        thread.start()
        try:
            wait_for(lambda: seen, "no worker says anything", WAIT)
            yield lambda task_id: {event["type"]: event for event in seen if event.get("uuid") == task_id}
        finally:
            receiver.should_stop = True
            thread.join()


def test_asking_twice_answers_at_once(parts: Deployment, mailbox: Mailbox, celery_setup: Setup) -> None:
    """The second task has succeeded for whoever waits and for every monitor; neither key nor name is shown."""
    fill(database.current())
    first = request_file.apply_async(**ASKED)
    made = first.get(timeout=WAIT)
    wait_for(lambda: mailbox.mails, "no mail", WAIT)
    with watched(celery_setup.app) as events:
        second = request_file.apply_async(**ASKED)
        assert second.get(timeout=WAIT) == made
        assert (second.state, made["id"], made["filename"]) == ("SUCCESS", first.id, "Ada's journeys.csv")
        succeeded = wait_for(lambda: events(second.id).get("task-succeeded"), "no event", WAIT)
        assert succeeded["result"] == "ready"
        received = events(second.id)["task-received"]
        assert received["args"] == received["kwargs"] == "(hidden)"
    assert parts.requests.get(second.id) is None
    assert list(FileRequest.to_handle()) == []
    assert len(mailbox.mails) == 1
    log = celery_setup.worker.logs()
    assert f"bgtasks.request_file[{second.id}] succeeded" in log
    assert "ourneys" not in log
