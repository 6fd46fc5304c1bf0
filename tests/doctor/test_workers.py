"""Whether the workers are there and of one mind with this process: real ones, which are asked over the broker."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from celery import Celery
from celery.worker.control import Panel
from sqlalchemy import delete

import celeryconfig as reference
from bgtasks import database, doctor, install, particulars, registry, settings
from bgtasks.control import PING
from bgtasks.doctor import Level, inquiry
from bgtasks.doctor.inquiry import Answers
from bgtasks.models import FileRequest, Sweep
from bgtasks.stack import Stack, wait_for
from bgtasks.states import State
from tests.conftest import BASE_URL, KEY, new_sqlite
from tests.doctor.conftest import Found
from tests.support.file_types import Numbers

ROOT = Path(reference.__file__).parent
CHECKS = ("workers", "queues", "clocks")
OTHER_KEY = "another key, which nobody else has so far"

Ask = Callable[..., dict[str, Found]]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A broker, a worker that has bgtasks, and on another database of the broker one that has not."""
    folder = tmp_path_factory.mktemp("workers")
    env = {
        "CELERY_CONFIG_MODULE": "tests.doctor.celeryconfig",
        "BGTASKS_DATABASE_URL": new_sqlite(folder),
        "BGTASKS_STORE_URL": str(folder / "files"),
        "BGTASKS_DEFAULT_KEY": KEY,
    }
    made = Stack(ROOT, folder, env)
    made.start_broker()
    foreign = {
        "CELERY_BROKER_URL": at(made, 3),
        "CELERY_CONFIG_MODULE": "celery.app.defaults",
        "BGTASKS_DEFAULT_KEY": "",
    }
    options = ["-P", "solo", "-Q", "bgtasks", "-n", "foreign@%h", "--without-mingle", "-l", "INFO"]
    other = made.celery("foreign", "worker", *options, **foreign)
    made.start_worker("-P", "solo", name="ours")
    other.wait_until(lambda: "ready." in other.output())
    yield made
    for process in made.processes:
        process.kill()  # nobody is there to wait for a worker's last second


def at(stack: Stack, number: int) -> str:
    """The URL of another database of the broker."""
    return stack.env["CELERY_BROKER_URL"].removesuffix("/0") + f"/{number}"


@pytest.fixture(scope="module")
def answers() -> dict[str, Answers]:
    """What the workers of each broker have said: that takes a second, and is the same for each test."""
    return {}


@pytest.fixture
def ask(stack: Stack, answers: dict[str, Answers], monkeypatch: pytest.MonkeyPatch) -> Iterator[Ask]:
    """What the checks of workers say in a process with other settings than the worker's."""
    urls: set[str] = set()

    def asked_once(app: Celery) -> Answers:
        url = app.conf.broker_url
        if url not in answers:
            answers[url] = inquire(app)
        return answers[url]

    inquire = inquiry.ask
    monkeypatch.setattr(inquiry, "ask", asked_once)

    def asked(**conf: Any) -> dict[str, Found]:
        usual = {
            "broker_url": stack.env["CELERY_BROKER_URL"],
            "bgtasks_database_url": stack.env["BGTASKS_DATABASE_URL"],
            "bgtasks_store_url": stack.env["BGTASKS_STORE_URL"],
            "bgtasks_default_key": KEY,
            "bgtasks_base_url": BASE_URL,
        }
        app = Celery("asking", set_as_current=False)
        app.conf.update(usual | conf)
        app.set_current()
        install(app)
        urls.add(app.conf.bgtasks_database_url)
        results = doctor.examine(app, CHECKS)
        return {result.check.name: Found(result.level, result.findings) for result in results}

    yield asked
    for url in urls:
        database.connect(url, Path.cwd()).engine.dispose()


def name(who: str) -> str:
    """A worker's."""
    return f"{who}@{socket.gethostname()}"


def test_workers_that_are_well(ask: Ask) -> None:
    """They answer, see what this process sees, and each queue has one; an older key is no matter."""
    found = ask(bgtasks_default_key=[OTHER_KEY, KEY])
    assert {check: one.level for check, one in found.items()} == dict.fromkeys(CHECKS, Level.OK), found
    assert name("ours") in found["workers"].said
    assert "bgtasks, files.numbers" in found["queues"].said


def test_workers_that_see_something_else(ask: Ask, tmp_path: Path) -> None:
    """Each difference is named, and no address is; the queue that nobody consumes, and the command to do so."""
    registry._classes.pop("numbers")
    registry.register(type("Lonely", (Numbers,), {"file_type": "lonely"}))
    registry.register(type("Numerals", (Numbers,), {"file_type": "numbers_", "queue": "files.numbers"}))
    urls = {"bgtasks_database_url": new_sqlite(tmp_path), "bgtasks_store_url": str(tmp_path / "files")}
    found = ask(bgtasks_default_key=[KEY, OTHER_KEY], **urls)
    for said in (
        "don't both know the key",
        "has another database than this process",
        "has another store than this process",
        "knows file types that this process does not: numbers",
        "consumes the queues of numbers_, and does not know these file types",
    ):
        assert said in found["workers"].said, found["workers"].said
    assert str(tmp_path) not in found["workers"].said
    assert (found["queues"].level, "celery worker -Q files.lonely" in found["queues"].said) == (Level.FAULT, True)
    assert "files.numbers" not in found["queues"].said


def test_file_types_with_several_stores(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker's, this process's, another worker's: whoever differs is named, and no store is."""
    registry._classes.pop("numbers")
    registry.register(type("Numbers", (Numbers,), {"store_url": "s3://vault"}))
    found = ask()["workers"]
    said = f"this process and {name('ours')} put the files of numbers into different stores"
    assert (found.level, said in found.said, "vault" in found.said) == (Level.WARNING, True, False)
    mine = particulars.of(settings.current())
    assert "s3" not in str(mine)

    def worker(stores: dict[str, str | None] | None) -> dict[str, Any]:
        key = {name: mark for name, mark in mine["keys"][0].items() if name != "stores"}
        return {**mine, "keys": [key if stores is None else {**key, "stores": stores}]}

    ours = mine["keys"][0]["stores"]
    of_all = {
        "a@x": worker({**ours, "unknown": "there"}),
        "b@x": worker({**ours, "unknown": None}),
        "of an earlier release@x": worker(None),
    }
    answers = Answers(queues={each: set() for each in of_all}, particulars=of_all)
    monkeypatch.setattr(inquiry, "ask", lambda _: answers)
    said = ask()["workers"].said
    assert said.count("into different stores") == 1
    assert "a@x and b@x put the files of unknown into different stores" in said


def test_a_queue_that_was_chosen_for_what_is_to_be_done(ask: Ask, stack: Stack) -> None:
    """Its type may name it for some requests alone."""
    record = database.connect(stack.env["BGTASKS_DATABASE_URL"], Path.cwd())
    with record.writing() as session:
        for queue, state in (("files.huge", State.RUNNING), ("files.over", State.FAILED)):
            session.add(FileRequest(id=str(uuid4()), file_type="numbers", queue=queue, state=state))
    try:
        said = ask()["queues"].said
    finally:
        with record.writing() as session:
            session.execute(delete(FileRequest))
        record.engine.dispose()
    assert "celery worker -Q files.huge" in said
    assert "files.over" not in said


def test_workers_with_another_key(ask: Ask) -> None:
    """What one of them signs, the other refuses."""
    assert "has another key" in ask(bgtasks_default_key=OTHER_KEY)["workers"].said


def test_no_worker_at_all(ask: Ask, stack: Stack) -> None:
    """Nobody answers."""
    found = ask(broker_url=at(stack, 5))
    assert "no worker answers" in found["workers"].said
    assert "celery worker -Q bgtasks" in found["queues"].said


def test_a_worker_without_bgtasks_that_takes_our_messages(ask: Ask, stack: Stack) -> None:
    """It would lose them."""
    found = ask(broker_url=at(stack, 3))["workers"]
    assert f"{name('foreign')} consumes bgtasks, and does not know bgtasks" in found.said


def test_a_broker_that_is_away(ask: Ask) -> None:
    """Its own check says so; the clock of the database is compared nevertheless."""
    found = ask(broker_url="redis://127.0.0.1:1/0")
    assert {check: one.level for check, one in found.items()} == {
        "workers": Level.SKIPPED,
        "queues": Level.SKIPPED,
        "clocks": Level.OK,
    }


@pytest.mark.parametrize(("skew", "level"), [(-10.0, Level.WARNING), (1.0, Level.OK), (100.0, Level.FAULT)])
def test_clocks(ask: Ask, monkeypatch: pytest.MonkeyPatch, skew: float, level: Level) -> None:
    """One that is behind or ahead makes links that are not valid yet, or not any more."""
    answers = Answers(skews={"worker@elsewhere": skew})
    monkeypatch.setattr("bgtasks.doctor.inquiry.ask", lambda _: answers)
    found = ask()["clocks"]
    assert (found.level, "worker@elsewhere" in found.said) == (level, level != Level.OK)


@pytest.mark.parametrize(
    ("said", "skew"),
    [(100.0, 0.0), (101.5, 0.0), (103.0, 0.0), (99.0, -1.0), (40.0, -60.0), (103.5, 0.5), (163.0, 60.0)],
)
def test_a_workers_clock_differs_at_least_by(said: float, skew: float) -> None:
    """Asked at 100 and heard at 103: a right clock says something between; a slow answer is no wrong one."""
    assert inquiry._skew(100.0, said, 103.0) == skew


def test_the_clock_of_a_worker_is_its_own(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    """As it answers itself: beside a process that is an hour behind it is an hour ahead."""
    real = time.time
    monkeypatch.setattr(inquiry, "time", SimpleNamespace(time=lambda: real() - 3600))
    app = Celery("asking", broker=stack.env["CELERY_BROKER_URL"], set_as_current=False)
    [skew] = inquiry.ask(app).skews.values()
    assert 3500 < skew <= 3600
    app.close()


def test_a_worker_answers_without_secrets(stack: Stack) -> None:
    """``celery inspect bgtasks_ping`` is known to Celery, and shows marks alone."""
    assert Panel.meta[PING].type == "inspect"
    app = Celery("asking", broker=stack.env["CELERY_BROKER_URL"], set_as_current=False)
    (answer,) = app.control.broadcast(PING, reply=True, timeout=10, limit=1)
    (said,) = answer.values()
    assert (said["file_types"], len(said["keys"])) == (["numbers"], 1)
    assert said["keys"][0]["stores"] == {"numbers": None}
    assert KEY not in str(said)
    assert stack.env["BGTASKS_DATABASE_URL"].partition("///")[2] not in str(said)
    app.close()


def test_a_worker_notes_its_sweeps(stack: Stack) -> None:
    """Whoever publishes them."""
    app = Celery("beat", broker=stack.env["CELERY_BROKER_URL"], set_as_current=False)
    app.send_task("bgtasks.dispatch", queue="bgtasks")
    record = database.connect(stack.env["BGTASKS_DATABASE_URL"], Path.cwd())

    def ran() -> bool:
        with record.reading() as session:
            return session.get(Sweep, "dispatch") is not None

    wait_for(ran, "the sweep is not noted", 20)
    record.engine.dispose()
    app.close()


def test_the_command(stack: Stack) -> None:
    """It ends with 1 where something is wrong, and says how to mend it; in a pipe in plain lines, however long."""
    command = [sys.executable, "-m", "celery", "bgtasks", "check", "--only", "mail", "--only", "key"]
    env = {**os.environ, **stack.env, "COLUMNS": "40", "BGTASKS_SMTP_URL": "smtp://127.0.0.1:1"}

    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT, env=env, timeout=60)
    lines = done.stdout.splitlines()
    assert (done.returncode, done.stderr) == (1, "")
    assert "fault    mail           bgtasks_from_email is not set: no mail can be written." in lines
    assert '                        → bgtasks_from_email = "me@example.com"' in lines
    assert any(line.startswith("ok       key            signs") for line in lines)
    assert "wrong" in lines[-1]
    assert KEY not in done.stdout
