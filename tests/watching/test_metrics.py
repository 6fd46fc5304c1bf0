"""``/metrics`` of the files application: what is counted, and what the table says."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from prometheus_client import start_http_server
from prometheus_client.openmetrics import parser as openmetrics
from sqlalchemy import event, text, update
from werkzeug.test import Client, EnvironBuilder, run_wsgi_app

from bgtasks import deployment, metrics, registry, settings, sweeps, tallies, toolbox
from bgtasks.claims import Claim
from bgtasks.database import later
from bgtasks.deployment import Deployment
from bgtasks.errors import ImproperlyConfigured, RequestFailed, TransientError
from bgtasks.metrics.numbers import Numbers as Counted
from bgtasks.metrics.table import Table
from bgtasks.metrics.workers import Worker
from bgtasks.models import Event
from bgtasks.notifiers import Message
from bgtasks.stack import HOST, wait_for
from bgtasks.states import State
from bgtasks.sweeps import noting
from bgtasks.wsgi import application
from tests.support.divided import alter_part, fan_out, fill, halfway
from tests.support.file_types import Numbers
from tests.support.handmade import CONTENTS, REQUESTER, alter, finished, in_seconds
from tests.watching.conftest import Samples, parsed, sample

Look = Callable[[], Samples]

WAITING = "SCAN bgtasks_file_requests USING INDEX ix_bgtasks_file_requests_waiting"

#: In criteria, requesters and tokens: whoever finds it has found a secret.
MARKER = "m4rk3r"


class Carrier:
    """A notifier with a mood."""

    channel = "pigeon"
    error: Exception | None = None

    def send(self, message: Message, recipient: str, message_id: str) -> None:
        if self.error is not None:
            raise self.error


class Told(Numbers):
    """Its requester hears of it by pigeon."""

    file_type = "told"
    carrier = Carrier()
    notifiers = (carrier,)
    email_recipients = ("ada@example.com",)


class Failing(Numbers):
    """A fault in the user's own code, with a code of its own."""

    file_type = "failing"
    notifiers = ()

    def get_items(self, criteria: Any) -> Any:
        error = ValueError(MARKER)
        error.error_code = "no_moon"  # type: ignore[attr-defined]
        raise error


def test_the_page_is_valid_openmetrics_too(parts: Deployment) -> None:
    """Which Prometheus asks for, and which has stricter rules: units, suffixes, and an end."""
    asked = toolbox.add_request({}, "numbers", REQUESTER, schedule=True)
    finished()
    page = Client(application).get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert page.content_type.startswith("application/openmetrics-text; version=1.0.0")
    families = {family.name: family for family in openmetrics.text_string_to_metric_families(page.text)}
    counted = {
        (sample.labels["state"], sample.value)
        for sample in families["bgtasks_requests"].samples
        if sample.name.endswith("_total")
    }
    assert {("pending", 2.0), ("ready", 1.0)} <= counted
    assert families["bgtasks_live_requests"].type == "gauge"
    assert asked.id not in page.text


def test_a_file_is_counted_from_its_request_to_its_download(parts: Deployment, look: Look) -> None:
    """Requests, steps, bytes, rows, notifications and downloads: each once, however often it is looked at."""
    registry.register(Told)
    asked = toolbox.add_request({"count": 5}, "told", REQUESTER, schedule=True)
    before = look()
    assert ("bgtasks_failures_total", frozenset({("file_type", "told"), ("code", "worker_lost")})) in before
    assert sample(before, "requests_total", file_type="told", state="pending") == 1
    assert sample(before, "live_requests", file_type="told", state="pending") == 1
    assert sample(before, "waiting_requests", file_type="told", queue="files.told") == 1
    assert registry.dispatch(asked.id)
    row = parts.requests.get(asked.id)
    assert row is not None
    whole, part = (
        run_wsgi_app(application, EnvironBuilder(f"/files/{toolbox.create_token(row)}", headers=headers,
                     environ_overrides={"REMOTE_USER": REQUESTER}).get_environ(), buffered=True)
        for headers in ({}, {"Range": "bytes=-3"})
    )  # fmt: skip
    assert (whole[1], part[1]) == ("200 OK", "206 PARTIAL CONTENT")
    for body in (whole[0], part[0]):
        list(body)
    samples = look()
    assert sample(samples, "requests_total", file_type="told", state="ready") == 1
    assert sample(samples, "live_requests", file_type="told", state="pending") == 0
    assert sample(samples, "rows_written_total", file_type="told") == 5
    assert sample(samples, "bytes_written_total", file_type="told") == row.size
    for step in Told.steps:
        assert sample(samples, "step_seconds_count", file_type="told", step=step) == 1
    assert 0 < sample(samples, "step_seconds_sum", file_type="told", step="write_bytes") < 60
    assert sample(samples, "notifications_total", channel="pigeon", outcome="sent") == 1
    assert sample(samples, "downloads_total", file_type="told", part="whole") == 1
    assert sample(samples, "downloads_total", file_type="told", part="range") == 1


def test_failures_cancels_and_hand_backs_are_counted(parts: Deployment, look: Look) -> None:
    """By their codes; a step that was handed back has no duration."""
    registry.register(Told)
    registry.register(Failing)
    failing = toolbox.add_request({}, "failing", REQUESTER, schedule=True)
    with pytest.raises(RequestFailed):
        registry.dispatch(failing.id)
    toolbox.cancel(toolbox.add_request({}, "told", REQUESTER, schedule=True))
    handed = toolbox.add_request({}, "told", REQUESTER, schedule=True)
    Told.carrier.error = TransientError()
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("bgtasks.patience.IN_SLOT", 0.0)
            registry.dispatch(handed.id)
    finally:
        Told.carrier.error = None
    samples = look()
    assert sample(samples, "failures_total", file_type="failing", code="no_moon") == 1
    assert sample(samples, "requests_total", file_type="failing", state="failed") == 1
    assert sample(samples, "step_seconds_count", file_type="failing", step="build_items") == 1
    assert sample(samples, "requests_total", file_type="told", state="cancelled") == 1
    assert sample(samples, "hand_backs_total", file_type="told", reason="internal_error") == 0
    assert sample(samples, "hand_backs_total", file_type="told", reason=TransientError.error_code) == 1
    assert sample(samples, "notifications_total", channel="pigeon", outcome="away") == 1
    assert sample(samples, "step_seconds_count", file_type="told", step="notify") == 0


def test_a_lease_that_lapses_is_counted_once(parts: Deployment, look: Look) -> None:
    """However many sweeps look at it, and the message that is published again too."""
    asked = toolbox.add_request({}, "numbers", REQUESTER, schedule=True)
    parts.requests.claim(Claim.of(asked), "fetch_criteria", "", "somebody")
    alter(parts, asked, leased_until=later(-1))
    for _ in range(2):
        sweeps.recover()
    noting.ran("recover")
    samples = look()
    assert sample(samples, "lease_recoveries_total", file_type="numbers") == 1
    assert sample(samples, "live_requests", file_type="numbers", state="running") == 1
    assert sample(samples, "sweep_last_run_timestamp_seconds", sweep="recover") == pytest.approx(time.time(), abs=60)


def test_the_age_of_a_queue_is_that_of_its_oldest(parts: Deployment, look: Look) -> None:
    """Since it was asked for; of one that has begun, since its last step. Each queue has its own, and empty ones 0."""
    registry.register(Told)
    old, _ = (toolbox.add_request({}, "numbers", REQUESTER, schedule=True) for _ in range(2))
    alter(parts, old, requested_at=later(-500))
    begun = toolbox.add_request({}, "numbers", REQUESTER, schedule=True)
    alter(parts, begun, requested_at=later(-5000))
    held = parts.requests.claim(Claim.of(begun), "fetch_criteria", "", "somebody")
    samples = look()
    assert sample(samples, "waiting_requests", file_type="numbers", queue="files.numbers") == 2
    parts.requests.finish(held, {"queue": "heavy"}, waits=True)
    samples = look()
    assert sample(samples, "queue_age_seconds", file_type="numbers", queue="files.numbers") == pytest.approx(
        500, abs=30
    )
    assert sample(samples, "queue_age_seconds", file_type="numbers", queue="heavy") == pytest.approx(0, abs=30)
    assert sample(samples, "waiting_requests", file_type="numbers", queue="heavy") == 1
    assert ("bgtasks_queue_age_seconds", frozenset({("file_type", "told"), ("queue", "files.told")})) in samples


def test_parts_that_wait_are_in_the_queue(parts: Deployment, look: Look) -> None:
    """As many messages as there are, with the age of the oldest; and what has become of them is counted."""
    row = halfway(parts)
    alter_part(parts, row, 2, published_at=in_seconds(-500))
    moved = alter(parts, fan_out(parts), queue="heavy")
    alter_part(parts, moved, 0, leased_by="gone", leased_until=in_seconds(-1), dispatch_at=None)
    samples = look()
    assert sample(samples, "waiting_requests", file_type="numbers", queue="files.numbers") == 1
    assert sample(samples, "waiting_requests", file_type="numbers", queue="heavy") == 2
    age = sample(samples, "queue_age_seconds", file_type="numbers", queue="files.numbers")
    assert age == pytest.approx(500, abs=30)
    assert sample(samples, "running_parts", file_type="numbers") == 2
    assert sample(samples, "live_requests", file_type="numbers", state="running") == 2
    # Published again, just now: it has been waited for since it was last heard of.
    with parts.database.writing() as session:
        session.execute(update(Event).where(Event.request_id == row.id).values(at=in_seconds(-700)))
    alter_part(parts, row, 2, dispatch_at=in_seconds(-1), published_at=in_seconds(-2500))  # whatever is in the queue
    for sweep in (sweeps.dispatch, sweeps.recover):
        sweep()
    samples = look()
    for counted in ("redispatches_total", "lease_recoveries_total"):
        assert sample(samples, counted, file_type="numbers") == 1
    assert sample(samples, "waiting_requests", file_type="numbers", queue="heavy") == 3
    age = sample(samples, "queue_age_seconds", file_type="numbers", queue="files.numbers")
    assert age == pytest.approx(700, abs=30)
    alter(parts, row, state=State.FAILED)  # and its parts are not dropped yet
    samples = look()
    assert sample(samples, "waiting_requests", file_type="numbers", queue="files.numbers") == 0
    assert sample(samples, "running_parts", file_type="numbers") == 0


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_each_part_has_a_duration(parts: Deployment, look: Look) -> None:
    """And the file is counted once, when it is ready."""
    fill(parts, 30)
    asked = toolbox.add_request({}, "logins", REQUESTER, schedule=True)
    assert registry.dispatch(asked.id)
    samples = look()
    for step, number in (("write_bytes", 1), ("write_part", 3), ("attach", 1)):
        assert sample(samples, "step_seconds_count", file_type="logins", step=step) == number
    assert sample(samples, "rows_written_total", file_type="logins") == 30
    assert sample(samples, "requests_total", file_type="logins", state="ready") == 1


def test_what_a_message_names_is_no_label(parts: Deployment, look: Look) -> None:
    """A type that is not registered is ``other``, and nothing secret is anywhere in the page."""
    toolbox.add_request({"name": MARKER}, MARKER, f"{MARKER}@example.com")
    asked = toolbox.add_request({"count": MARKER}, "numbers", f"{MARKER}@example.com", schedule=True)
    with pytest.raises(RequestFailed):
        registry.dispatch(asked.id)
    token = toolbox.create_token(finished())
    Client(application).get(f"/files/{token}")
    samples = look()
    assert sample(samples, "requests_total", file_type="other", state="pending") == 1
    assert sample(samples, "live_requests", file_type="other", state="pending") == 1
    page = Client(application).get("/metrics").text
    assert MARKER not in page
    assert asked.id not in page
    assert token[:20] not in page


def test_a_transaction_that_is_rolled_back_counts_nothing(parts: Deployment, look: Look) -> None:
    """A request within a caller's own transaction is there with its commit."""
    for ends_well in (False, True):
        with parts.database.writing() as session:
            toolbox.add_request({}, "numbers", REQUESTER, session=session)
            if not ends_well:
                session.rollback()
    assert sample(look(), "requests_total", file_type="numbers", state="pending") == 1


def test_a_database_that_is_away_hides_its_own_numbers_alone(
    parts: Deployment, look: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The counters are there, and an alert can ask for the record."""
    finished()
    assert sample(look(), "record_up") == 1
    monkeypatch.setattr(Table, "_rows", lambda *_: (_ for _ in ()).throw(ImproperlyConfigured()))
    samples = look()
    assert samples["bgtasks_record_up", frozenset()] == 0
    assert sample(samples, "requests_total", file_type="numbers", state="ready") == 1
    assert not [name for name, _ in samples if name == "bgtasks_live_requests"]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_many_looks_ask_the_table_once(parts: Deployment, look: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page is open to whoever reaches it: it must not be a way to keep the database busy."""
    monkeypatch.setattr("bgtasks.metrics.table.FRESH", 60.0)
    asked: list[str] = []
    event.listen(parts.database.engine, "before_cursor_execute", lambda *given: asked.append(given[2]))
    for _ in range(5):
        look()
    assert len([statement for statement in asked if statement.startswith("SELECT")]) == 5


def test_the_queries_use_indexes(parts: Deployment) -> None:
    """Ended requests are not looked at, however many there are."""
    if parts.database.is_postgresql:
        _fill(parts, 20_000)
    plans = []
    table = Table(parts)
    table._rows = lambda query: plans.append(_plan(parts, query)) or []  # type: ignore[method-assign]
    look = table._with_nothing()
    table._see_live(look)
    table._see_waiting(look)
    table._see_waiting_parts(look)
    table._see_running_parts(look)
    assert len(plans) == 4
    for plan in plans:
        # There are parts of live requests alone: where they are, these are found by their ids.
        assert "ix_bgtasks_file_requests" in plan or "bgtasks_parts" in plan, plan
        assert "Seq Scan on bgtasks_file_requests" not in plan, plan
        assert "Seq Scan on bgtasks_events" not in plan, plan
        # SQLite calls it so to read all of an index, too; this one has the waiting rows alone.
        assert "SCAN bgtasks_file_requests" not in plan.replace(WAITING, ""), plan


def _fill(parts: Deployment, number: int) -> None:
    """Ended requests, so that PostgreSQL has a reason to look for the others by an index."""
    with parts.database.writing() as session:
        session.execute(text(
            "INSERT INTO bgtasks_file_requests (id, file_type, format, criteria, description, filename, content_type,"
            " state, step, attempts, fence, dispatches, rows_written, requested_at, downloads)"
            " SELECT gen_random_uuid(), 'numbers', 'csv', '{}', '', '', '', 'expired', 'notify', 0, 6, 0, 0, now(), 0"
            f" FROM generate_series(1, {number})"
        ))  # fmt: skip
        session.execute(text("ANALYZE bgtasks_file_requests"))


def _plan(parts: Deployment, query: Any) -> str:
    explain = "EXPLAIN" if parts.database.is_postgresql else "EXPLAIN QUERY PLAN"
    compiled = query.compile(parts.database.engine, compile_kwargs={"literal_binds": True})
    with parts.database.reading() as session:
        return "\n".join(str(row[-1]) for row in session.execute(text(f"{explain} {compiled}".replace("%%", "%"))))


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("conf", [{}], indirect=False)
def test_it_is_off_by_default(app: Celery, conf: dict[str, Any]) -> None:
    """Then there is no such page, and nothing is counted."""
    assert Client(application).get("/metrics").status_code == 404
    finished()
    assert not tallies.is_on()


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_without_the_package_it_is_said_how_to_install_it(app: Celery, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not with the first scrape, but when the deployment is first used."""
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    for name in [name for name in sys.modules if name.startswith("bgtasks.metrics.")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(ImproperlyConfigured, match=r"pip install 'celery-bgtasks\[metrics\]'"):
        deployment.current()
    with pytest.raises(ImproperlyConfigured, match=r"pip install 'celery-bgtasks\[metrics\]'"):
        metrics.begin_in_worker(settings.current().model_copy(update={"metrics_port": 9108}))


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_worker_without_a_port_counts_nothing(app: Celery) -> None:
    """Nobody could see it; and it works without the package that the web processes have."""
    metrics.begin_in_worker(settings.current())
    deployment.current()
    assert not tallies.is_on()


#: A web server's process and one that it has forked: each counts a file, and the first shows what both have counted.
WEB = """
import os
from celery import Celery
from werkzeug.test import Client
from bgtasks import database, install, registry
from bgtasks.wsgi import application
from tests.support.file_types import Numbers
from tests.support.handmade import finished
app = Celery("web", set_as_current=False)
app.conf.update(bgtasks_metrics=True, bgtasks_default_key={key!r})
app.conf.update(bgtasks_database_url={url!r}, bgtasks_store_url={store!r})
install(app)
app.set_current()
registry.register(Numbers)
child = os.fork()
finished()
if child:
    os.waitpid(child, 0)
    print(Client(application).get("/metrics").text)
"""


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_several_web_processes_share_their_numbers(app: Celery, database_url: str, tmp_path: Path) -> None:
    """By prometheus_client's own folder for that; each of them answers for all."""
    (tmp_path / "shared").mkdir()
    env = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path / "shared")}
    script = WEB.format(url=database_url, store=str(tmp_path / "files"), key=app.conf.bgtasks_default_key)
    page = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True, env=env).stdout
    assert sample(parsed(page), "bytes_written_total", file_type="numbers") == 2 * len(CONTENTS)


def test_a_child_tells_its_workers_main_process() -> None:
    """What it can't tell, since nobody listens, is lost and counted; its step does not wait."""
    worker = Worker(Counted())
    worker._pid = 0  # as in a child
    for _ in range(5000):
        worker.add("requests", ("numbers", "ready"), 1)
    worker._lost, lost = worker._lost, worker._lost
    assert lost > 0
    threading.Thread(target=worker._listen, daemon=True).start()
    wait_for(lambda: _value(worker, "requests", file_type="numbers", state="ready") == 5000 - lost, "it is not read")
    worker.add("step_seconds", ("numbers", "notify"), 0.25)
    wait_for(lambda: _value(worker, "lost_counts") == lost, "it is not told")
    assert _value(worker, "step_seconds", file_type="numbers", step="notify") == 0.25


def test_a_port_that_is_taken_is_tried_again(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """A worker that is being replaced may have it for a while: the new one works, says so, and has it then."""
    monkeypatch.setattr("bgtasks.metrics.workers.RETRY", 0.02)
    worker, servers, asked = Worker(Counted()), [], []
    monkeypatch.setattr(
        "bgtasks.metrics.workers.start_http_server",
        lambda *given, **more: asked.append(given) or servers.append(start_http_server(*given, **more)) or servers[-1],
    )
    with socket.socket() as other:
        other.bind((HOST, 0))
        other.listen()
        port = other.getsockname()[1]
        worker.start(HOST, port)
        tries = len(asked)
        wait_for(lambda: len(asked) > tries + 2, "it is not tried again")
        assert caplog.text.count("only one worker can") == 1
    wait_for(lambda: servers, "the port is not taken")
    with urllib.request.urlopen(f"http://{HOST}:{port}/metrics") as page:
        assert "bgtasks_lost_counts_total 0.0" in page.read().decode()
    server, thread = servers[0]
    server.shutdown()
    server.server_close()
    thread.join()


def _value(worker: Worker, name: str, **labels: str) -> float:
    metric = worker._numbers._metrics[name]
    one = metric.labels(**labels) if labels else metric
    return float((one._sum if name == "step_seconds" else one._value).get())
