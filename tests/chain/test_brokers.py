"""What a deployment owes its requesters on every broker: started requests go first, and a restart ends nothing."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from celery import Celery
from sqlalchemy import func, select

from bgtasks import deployment, queues, registry, request_file, sweeps, toolbox
from bgtasks.canvas import STEPS
from bgtasks.deployment import Deployment
from bgtasks.models import FileRequest
from bgtasks.stack import Mailbox, Stack, wait_for
from bgtasks.states import EventKind, State
from tasks.flights import Flights
from tests.support import flights
from tests.support.brokers import Broker, on_every_broker
from tests.support.nodes import Setup

pytestmark = [pytest.mark.parametrize("database_url", ["sqlite"], indirect=True), on_every_broker]

QUEUE = queues.queue_of("flights")
WAIT = 60.0  # seconds


@pytest.fixture
def stack(stack: Stack) -> Stack:
    """Leases that are much shorter than the waiting."""
    stack.env |= {"BGTASKS_LEASE": "2", "BGTASKS_PATIENCE": "4"}
    return stack


def ask(number: int) -> str:
    """One of many requests: half of them by a message, half of them in a transaction of the producer's own."""
    criteria, requester = {"from_date": "2013-04-30"}, f"requester{number}@example.com"
    if number % 2:
        return str(request_file.delay("flights", criteria, requester=requester).id)
    return toolbox.add_request(criteria, "flights", requester, schedule=True).id


class TestBacklog:
    """Many requests, and one worker that comes late."""

    COUNT = 200

    @pytest.fixture
    def waiting(self, celery_setup_config: dict[str, object]) -> Iterator[Deployment]:
        """The deployment without a worker, and with the requests."""
        app = Celery("producer", set_as_current=False)
        app.config_from_object(celery_setup_config)
        app.set_current()
        registry.register(Flights)
        parts = deployment.current()
        flights.fill(parts.database)
        for number in range(self.COUNT):
            ask(number)
        yield parts
        parts.database.engine.dispose()
        app.close()

    def test_started_requests_go_first_and_the_others_wait_in_peace(
        self, waiting: Deployment, stack: Stack, mailbox: Mailbox
    ) -> None:
        """The first is ready before a tenth have started; no lease runs in a queue, and no attempt is counted there."""
        worker = stack.start_worker("-c", "1")
        began, longest = time.monotonic(), 0
        while not self._are_over(waiting):
            sweeps.dispatch()
            sweeps.recover()
            longest = max(longest, queues.length(waiting.app, QUEUE) or 0)
            assert time.monotonic() - began < 2 * WAIT
            time.sleep(0.2)
        assert time.monotonic() - began > 4 * waiting.settings.lease  # or the sweeps have seen nobody wait
        worker.stop()

        with waiting.database.reading() as session:
            rows = list(session.scalars(select(FileRequest)))
        assert {(row.state, row.step, row.attempts, row.fence) for row in rows} == {
            (State.READY, "notify", 0, len(STEPS))
        }
        first = min(row.finished_at for row in rows)
        assert sum(row.started_at < first for row in rows) < self.COUNT / 10
        told = {event.kind for row in rows for event in waiting.requests.history(row.id)}
        assert EventKind.RECOVERED not in told
        assert longest <= self.COUNT
        assert len(mailbox.mails) == self.COUNT

    def _are_over(self, parts: Deployment) -> bool:
        over = select(func.count()).where(FileRequest.step == "notify", FileRequest.leased_by.is_(None))
        with parts.database.reading() as session:
            return session.scalar(over) == self.COUNT


def test_a_worker_goes_on_when_its_broker_is_there_again(
    parts: Deployment, broker: Broker, celery_setup: Setup, mailbox: Mailbox
) -> None:
    """Killed, and started again with nothing in it: the same worker serves new requests, and those that waited."""
    flights.fill(parts.database)
    before = ask(0)
    wait_for(lambda: is_over(parts, before), "the first request is not over", WAIT)
    broker.kill()
    meanwhile = ask(2)
    broker.start_empty()
    after = ask(1)
    wait_for(lambda: sweeps.dispatch() or is_over(parts, meanwhile), "what was asked meanwhile is not over", WAIT)
    wait_for(lambda: is_over(parts, after), "what was asked afterwards is not over", WAIT)
    assert celery_setup.worker.container.status == "running"
    assert [mail["To"] for mail in mailbox.mails].count("requester1@example.com") == 1


def is_over(parts: Deployment, request_id: str) -> bool:
    """Whether its file is ready, and its requester told."""
    row = parts.requests.get(request_id)
    return row is not None and (row.state, row.step, row.leased_by) == (State.READY, "notify", None)
