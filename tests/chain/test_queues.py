"""A queue per file type: a plain worker consumes them all, a worker can be given one alone."""

from __future__ import annotations

import pytest

from bgtasks.stack import Stack, wait_for
from tests.support.nodes import Setup

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def consumed(setup: Setup) -> set[str]:
    """The queues that the setup's worker consumes, as it says itself."""
    answers = setup.app.control.inspect(timeout=1).active_queues()
    return {queue["name"] for queues in answers.values() for queue in queues}


@pytest.mark.usefixtures("parts")
def test_a_plain_worker_consumes_our_queue_and_every_file_types(celery_setup: Setup) -> None:
    """No -Q is needed for a deployment on one machine."""
    assert consumed(celery_setup) == {"bgtasks", "files.flights", "files.login_events"}


@pytest.mark.usefixtures("parts")
def test_a_worker_publishes_patiently_and_a_web_process_gives_up(celery_setup: Setup) -> None:
    """The same configuration in both; a worker that gave up would leave the rest of its chain to the sweep."""
    (worker,) = celery_setup.app.control.inspect(timeout=1).conf().values()
    assert worker["task_publish_retry_policy"]["max_retries"] == 30
    kept = {"queue_order_strategy", "socket_connect_timeout", "confirm_publish"}
    assert worker["broker_transport_options"].keys() == kept
    assert celery_setup.app.conf.task_publish_retry_policy["max_retries"] == 1
    assert celery_setup.app.conf.broker_transport_options["socket_timeout"] == 0.4


class TestOneQueue:
    """``celery worker -Q files.flights``."""

    @pytest.fixture
    def worker_arguments(self) -> tuple[str, ...]:
        return ("-Q", "files.flights")

    @pytest.mark.usefixtures("parts")
    def test_a_worker_that_is_given_one_queue_consumes_that_one(self, celery_setup: Setup) -> None:
        """And nobody then serves ``bgtasks``, which the README says."""
        assert consumed(celery_setup) == {"files.flights"}


class TestNoKey:
    """A worker without a secret key."""

    def test_start_up_says_how_to_make_one(self, stack: Stack) -> None:
        """It does not start, and prints the command."""
        stack.start_broker()
        stack.env["BGTASKS_DEFAULT_KEY"] = ""
        worker = stack.celery("worker", "worker", "-c", "1")
        assert worker.wait_until_ended(30) != 0
        assert "bgtasks_default_key is not set" in worker.output()
        assert "secrets.token_urlsafe" in worker.output()


@pytest.mark.usefixtures("parts")
def test_a_workers_own_account_of_its_messages_hides_what_was_asked(celery_setup: Setup) -> None:
    """Remote control, and so Flower's page of a worker, would show raw arguments, whoever has published them."""
    criteria = {"from_date": "2013-01-01"}
    options = {"countdown": 600, "queue": "bgtasks", "kwargs": {"requester": "ada@example.com"}}
    celery_setup.app.send_task("bgtasks.request_file", ("flights", criteria), **options)
    answers = wait_for(
        lambda: [one for all_ in (celery_setup.app.control.inspect().scheduled() or {}).values() for one in all_],
        "the message is not there",
    )
    shown = answers[0]["request"]
    assert (shown["name"], shown["args"], shown["kwargs"]) == ("bgtasks.request_file", "(hidden)", "(hidden)")
    assert "2013-01-01" not in str(answers)
    assert "ada@example.com" not in str(answers)
