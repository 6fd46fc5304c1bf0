"""A real worker with two children, one of which dies: its port, its log and its spans."""

from __future__ import annotations

import json
import re
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from opentelemetry import trace
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from bgtasks import database, registry, request_file
from bgtasks.canvas import STEPS
from bgtasks.errors import RequestFailed
from bgtasks.stack import HOST, Mailbox, Process, Stack, free_port, wait_for
from tests.conftest import BASE_URL, KEY, new_sqlite
from tests.watching import celeryconfig
from tests.watching.conftest import Samples, parsed, sample
from tests.watching.file_types import Chatty

ROOT = Path(celeryconfig.reference.__file__).parent
CONFIGURATION = celeryconfig.__name__
#: In criteria and requesters: whoever finds it has found a secret.
MARKER = "m4rk3r"
TIMEOUT = 60  # seconds


@pytest.fixture
def app(tmp_path: Path, mailbox: Mailbox) -> Iterator[Celery]:
    """The producer in the test's own process."""
    url, port = new_sqlite(tmp_path), free_port()
    env = {
        "CELERY_CONFIG_MODULE": CONFIGURATION,
        "BGTASKS_DATABASE_URL": url,
        "BGTASKS_STORE_URL": str(tmp_path / "files"),
        "BGTASKS_DEFAULT_KEY": KEY,
        "BGTASKS_BASE_URL": BASE_URL,
        "BGTASKS_SMTP_URL": mailbox.url,
        "BGTASKS_METRICS_PORT": str(port),
        "BGTASKS_JSON_LOGS": "true",
        celeryconfig.SPANS: str(tmp_path / "spans.jsonl"),
    }
    stack = Stack(ROOT, tmp_path / "var", env)
    (tmp_path / "var").mkdir()
    stack.start_broker()
    made = Celery("producer", set_as_current=False)
    made.config_from_object(CONFIGURATION)
    made.conf.update({name.lower(): value for name, value in stack.env.items() if name.startswith("BGTASKS_")})
    made.conf.update(
        broker_url=stack.env["CELERY_BROKER_URL"], result_backend=stack.env["CELERY_RESULT_BACKEND"], stack=stack
    )
    made.set_current()
    registry.register(Chatty)
    yield made
    for process in stack.processes:
        process.kill()  # nobody is there to wait for a worker's last second
    database.current().engine.dispose()
    made.close()


@pytest.fixture
def worker(app: Celery) -> Process:
    """With two children."""
    process: Process = app.conf.stack.start_worker("--without-gossip")
    return process


@pytest.fixture
def scrape(app: Celery) -> Callable[[], Samples]:
    """What Prometheus gets from the worker's port."""
    address = f"http://{HOST}:{app.conf.bgtasks_metrics_port}/metrics"

    def get() -> Samples:
        with urllib.request.urlopen(address, timeout=10) as response:
            return parsed(response.read().decode())

    return get


def test_what_a_worker_shows(
    app: Celery, worker: Process, scrape: Any, exported: InMemorySpanExporter, mailbox: Mailbox, tmp_path: Path
) -> None:
    """Numbers that outlive a child, a log of JSON, one trace for each request; and nothing secret in any of them."""
    requester = f"{MARKER}@example.com"
    with trace.get_tracer("shop").start_as_current_span("checkout") as checkout:
        well = request_file.delay("chatty", {"word": MARKER}, requester)
    well.get(timeout=TIMEOUT)
    mortal = request_file.delay("chatty", {"dies_at": str(tmp_path / "died")}, requester)
    mortal.get(timeout=TIMEOUT)
    failing = request_file.delay("chatty", {"fails": True}, requester)
    with pytest.raises(RequestFailed):
        failing.get(timeout=TIMEOUT)
    wait_for(lambda: sample(scrape(), "notifications_total", channel="email", outcome="sent") == 3, "not told")
    wait_for(lambda: sample(scrape(), "step_seconds_count", file_type="chatty", step="notify") == 3, "not ended")

    samples = scrape()
    states = {"pending": 3, "ready": 2, "failed": 1}
    assert {state: sample(samples, "requests_total", file_type="chatty", state=state) for state in states} == states
    assert sample(samples, "lease_recoveries_total", file_type="chatty") == 1
    assert sample(samples, "failures_total", file_type="chatty", code="internal_error") == 1
    assert sample(samples, "rows_written_total", file_type="chatty") == 4
    assert sample(samples, "lost_counts_total") == 0
    for step, times in {"fetch_criteria": 3, "build_items": 3, "write_bytes": 2, "tokenize": 2}.items():
        assert sample(samples, "step_seconds_count", file_type="chatty", step=step) == times

    spans = [json.loads(line) for line in (tmp_path / "spans.jsonl").read_text().splitlines()]
    _see_spans(spans, f"0x{checkout.get_span_context().trace_id:032x}", well.id, mortal.id)
    _see_log(worker.output(), well.id, failing.id)
    mail = mailbox.mails[0].get_body(("plain",))
    assert mail is not None
    token = re.search(r"/files/(\S+)", mail.get_content())
    assert token is not None
    with urllib.request.urlopen(f"http://{HOST}:{app.conf.bgtasks_metrics_port}/metrics") as page:
        shown = worker.output() + page.read().decode() + json.dumps(spans)
    assert MARKER not in shown
    assert token[1][:24] not in shown


def _see_spans(spans: list[dict[str, Any]], trace_id: str, well: str, mortal: str) -> None:
    """The steps of the first one are in its producer's trace; a recovered one is known by its request."""
    names = [f"bgtasks.{step}" for step in ("request_file", *STEPS)]
    of_well = [span for span in spans if span["attributes"]["bgtasks.request_id"] == well]
    assert [span["name"] for span in of_well] == names
    assert {span["context"]["trace_id"] for span in of_well} == {trace_id}
    of_mortal = [span for span in spans if span["attributes"]["bgtasks.request_id"] == mortal]
    assert [span["name"] for span in of_mortal] == names  # that of the dead child was never exported
    failed = next(span for span in spans if span["status"]["status_code"] == "ERROR")
    assert failed["status"]["description"] == "internal_error"
    assert failed["attributes"]["exception.type"] == "builtins.LookupError"
    assert failed["events"] == []


def _see_log(output: str, well: str, failing: str) -> None:
    """Each line is JSON, but for Celery's banner; what is written within steps says so."""
    lines = output[output.index("\n{") + 1 :].splitlines()
    entries = [json.loads(line) for line in lines if line]
    assert all(datetime.fromisoformat(entry["time"]).utcoffset() is not None for entry in entries)
    chatted = [entry for entry in entries if entry["logger"] == "myapp.exports"]
    assert Counter(entry["step"] for entry in chatted) == {"build_items": 4, "write_bytes": 2}
    assert chatted[0]["request_id"] == well
    assert chatted[0]["file_type"] == "chatty"
    fails = next(entry for entry in entries if entry["logger"] == "bgtasks.endings")
    assert fails["request_id"] == failing
    assert fails["exception"]["traceback"].endswith("LookupError: a fault")
    received = [entry for entry in entries if entry.get("task") == "bgtasks.write_bytes"]
    assert received
    assert all(entry["task_id"] for entry in received)
