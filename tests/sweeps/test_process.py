"""``celery bgtasks process``: outstanding requests are handled in one process, with no broker at all."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from bgtasks import deployment, registry, toolbox
from bgtasks.deployment import Deployment
from bgtasks.errors import TransientError
from bgtasks.models import FileRequest
from bgtasks.pacing import Pace
from bgtasks.stack import Mailbox, wait_for
from bgtasks.states import EventKind, State
from bgtasks.sweeps.processing import Processed, process
from tests.conftest import BASE_URL, KEY
from tests.record.moves import advanced, claim, lapse, now, told
from tests.support.file_types import Numbers

#: A deployment with no broker: nobody listens on this port of this machine.
CONFIG = """
imports = ("bgtasks.entry", "bgtasks.steps", "bgtasks.sweeps", "exports")
broker_url = "redis://127.0.0.1:1/0"
broker_transport_options = {"socket_connect_timeout": 0.2, "max_retries": 1}
task_publish_retry_policy = {"max_retries": 0}
"""

EXPORTS = """
import time
from pathlib import Path
from bgtasks import FileType, registry

@registry.register
class Slow(FileType):
    file_type = "slow"
    columns = ("number",)
    notifiers = ()

    def get_items(self, criteria):
        return self.rows()

    def rows(self):
        while not Path("go").exists():
            yield from ((number,) for number in range(2000))
            time.sleep(0.05)
"""


@pytest.fixture
def parts(app: Celery, mailbox: Mailbox) -> Deployment:
    """The deployment of the test's app, whose broker is away, with a mail server."""
    app.conf.update(bgtasks_smtp_url=mailbox.url, broker_url="redis://127.0.0.1:1/0")
    app.conf.broker_transport_options = {"socket_connect_timeout": 0.2, "max_retries": 1}
    app.conf.task_publish_retry_policy = {"max_retries": 0}
    return deployment.current()


def ask(file_type: str = "numbers", **more: Any) -> FileRequest:
    """A request whose message the broker does not take."""
    return toolbox.add_request({}, file_type, "ada@example.com", **{"schedule": True, **more})


def test_everything_outstanding_is_handled_with_no_broker(parts: Deployment, mailbox: Mailbox) -> None:
    """Scheduled ones, ones that nobody scheduled, one between two steps, and one that a dead process has left."""
    rows = [ask(), ask(schedule=False), advanced(parts, "build_items")]
    dead = advanced(parts, "fetch_criteria")
    lapse(parts, claim(parts, dead).file_request)
    assert process(Pace()) == Processed(handled=4)
    ended = [now(parts, row) for row in (*rows, dead)]
    assert [row.state for row in ended] == [State.READY] * 4
    assert [row.attempts for row in ended] == [0, 0, 0, 1]
    assert len({mail["Message-ID"] for mail in mailbox.mails}) == 4
    assert process(Pace()) == Processed()


def test_what_fails_is_told_by_the_same_process(parts: Deployment, mailbox: Mailbox) -> None:
    """Nobody else would tell; and one request's fault keeps no other waiting."""

    class Broken(Numbers):
        file_type = "broken"

        def get_items(self, criteria: Any) -> Any:
            raise ZeroDivisionError

    registry.register(Broken)
    row, other = ask("broken"), ask()
    assert process(Pace()) == Processed(handled=1, failed=1)
    assert told(parts, row) == ["requested", "step", "failed", "step", "notified"]
    assert sorted(mail["Subject"].partition(":")[0] for mail in mailbox.mails) == [
        "Your file could not be made",
        "Your file is ready",
    ]
    assert now(parts, other).state == State.READY


def test_an_outage_leaves_a_request_for_later(parts: Deployment) -> None:
    """It is tried once in a run, and not again before its back-off is over."""

    class Away(Numbers):
        file_type = "away"

        def get_items(self, criteria: Any) -> Any:
            raise TransientError

    registry.register(Away)
    row = ask("away")
    assert process(Pace()) == Processed(left=1)
    assert process(Pace()) == Processed()
    assert told(parts, row).count(EventKind.HANDED_BACK) == 1


def test_others_requests_are_left_alone(parts: Deployment) -> None:
    """A step at work, a file type that nobody registered, one that is handled by hand, an ended one."""
    claim(parts, advanced(parts, "fetch_criteria"))
    toolbox.add_request({}, "of_another_deployment")
    toolbox.add_request("by hand")
    parts.requests.take(ask(schedule=False), "me")
    advanced(parts, "notify")
    assert process(Pace()) == Processed()


def test_a_run_is_bounded_by_number_and_by_time(parts: Deployment) -> None:
    """The oldest are handled first, and the rest is left for the next run."""
    rows = [ask() for _ in range(3)]
    assert process(Pace(items=2)) == Processed(handled=2)
    assert [now(parts, row).state for row in rows] == [State.READY, State.READY, State.PENDING]
    assert process(Pace(timeout=0)) == Processed()
    assert process(Pace(items=2, timeout=60, sleep=0.01)) == Processed(handled=1)


def test_dispatch_handles_one_request_by_its_id(parts: Deployment, mailbox: Mailbox) -> None:
    """``registry.dispatch(id)``: at once, in this process; False where there is nothing to do."""
    row = ask()
    assert registry.dispatch(row.id) is True
    assert registry.dispatch(row.id) is False
    assert registry.dispatch("00000000-0000-0000-0000-000000000000") is False
    assert (now(parts, row).state, len(mailbox.mails)) == (State.READY, 1)


@pytest.fixture
def folder(database_url: str, tmp_path: Path) -> Path:
    """A user's project with no broker."""
    (tmp_path / "celeryconfig.py").write_text(CONFIG)
    (tmp_path / "exports.py").write_text(EXPORTS)
    return tmp_path


def command(folder: Path, database_url: str, *arguments: str) -> subprocess.Popen[str]:
    """``celery bgtasks process`` as cron would run it."""
    env = {
        "BGTASKS_DATABASE_URL": database_url,
        "BGTASKS_STORE_URL": str(folder / "files"),
        "BGTASKS_DEFAULT_KEY": KEY,
        "BGTASKS_BASE_URL": BASE_URL,
    }
    argv = [sys.executable, "-m", "celery", "bgtasks", "process", *arguments]
    pipe = subprocess.PIPE
    return subprocess.Popen(argv, cwd=folder, env={**os.environ, **env}, stdout=pipe, stderr=pipe, text=True)


def test_the_command_handles_requests_and_says_what_it_did(folder: Path, database_url: str, parts: Deployment) -> None:
    """From a shell, in a folder with a celeryconfig.py; the exit code is 0."""
    (folder / "go").touch()
    row = toolbox.add_request({}, "slow")
    running = command(folder, database_url, "--items", "5", "--timeout", "60", "--sleep", "0")
    output, errors = running.communicate(timeout=60)
    assert (running.returncode, errors) == (0, "")
    assert output == "Handled 1, failed 0, left to others or for later 0.\n"
    assert now(parts, row).state == State.READY


def test_a_command_that_is_told_to_stop_hands_its_step_back(folder: Path, database_url: str, parts: Deployment) -> None:
    """SIGTERM while it writes: no attempt is counted, no lease is left to lapse, no half file stays."""
    row = toolbox.add_request({}, "slow")
    running = command(folder, database_url)
    wait_for(lambda: now(parts, row).rows_written, "nothing is written")
    asked = time.monotonic()
    running.send_signal(signal.SIGTERM)
    output, errors = running.communicate(timeout=30)
    assert running.returncode == 0, errors
    assert output == "Handled 0, failed 0, left to others or for later 1.\n", errors
    assert time.monotonic() - asked < 10
    after = now(parts, row)
    assert (after.leased_by, after.attempts, after.step) == (None, 0, "build_items")
    assert told(parts, row)[-1] == EventKind.HANDED_BACK
    assert [file for file in (folder / "files").rglob("*") if file.is_file()] == []
