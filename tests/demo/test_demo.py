"""What a newcomer runs first."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from bgtasks.database import Database
from bgtasks.dev.foreground import own
from bgtasks.stack import Process, StackError
from tests.conftest import KEY

ROOT = Path(__file__).parent.parent.parent
CELERY = [sys.executable, "-m", "celery"]


def test_the_demo_exports_downloads_and_checks(tmp_path: Path) -> None:
    """It ends well, in plain words, and leaves no process behind."""
    done = subprocess.run(
        [*CELERY, "bgtasks", "demo"], cwd=ROOT, capture_output=True, text=True, timeout=170, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for said in (
        "336,776 rows",
        "Writing rows:",
        "166,158 rows",
        "A mail has come to user@example.com over SMTP",
        "Its SHA-256 is the one on the row",
        "somebody.else@example.com gets 403",
    ):
        assert said in done.stdout
    file = Path(re.findall(r"The file is at (\S+)", done.stdout)[0])
    assert file.read_bytes().count(b"\r\n") == 166_159
    assert _started_by(ROOT / "var") == []


@pytest.mark.parametrize(
    ("host", "is_here"),
    [
        ("db.example.com", False),
        ("10.0.0.7", False),
        ("localhost", True),
        ("127.0.0.1", True),
        ("[::1]", True),
        ("", True),
    ],
)
def test_the_stack_keeps_off_other_machines_databases(host: str, is_here: bool) -> None:
    """Its workers and sweeps would act on the requests of whoever else uses them."""
    target = Database(f"postgresql://user:secret@{host}/exports", Path())
    if is_here:
        assert own(target) is target
        return
    with pytest.raises(StackError, match="BGTASKS_DATABASE_URL") as refused:
        own(target)
    assert "secret" not in str(refused.value)


def test_a_failure_of_the_demo_says_what_failed() -> None:
    """A worker that can't start ends the demo with its own words and a code that is not zero."""
    done = subprocess.run(
        [*CELERY, "bgtasks", "demo"],
        cwd=ROOT,
        env={**os.environ, "BGTASKS_LEASE": "soon"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode != 0
    assert "bgtasks_lease" in done.stderr
    assert _started_by(ROOT / "var") == []


@pytest.fixture
def dev(tmp_path: Path) -> Iterator[Process]:
    """``celery bgtasks dev``, started."""
    # A shell that runs the tests in the background lets them ignore Ctrl-C, and they would hand that on.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    process = Process("dev", [*CELERY, "bgtasks", "dev"], tmp_path / "dev.log", ROOT, {"PYTHONUNBUFFERED": "1"})
    yield process
    process.stop()
    signal.signal(signal.SIGINT, before)


def test_dev_keeps_the_stack_until_ctrl_c(dev: Process) -> None:
    """Its site and Flower answer, a request from another terminal works and is mailed, and Ctrl-C stops it all."""
    dev.wait_until(lambda: "Ask for a file" in dev.output(), 120)
    site, *_ = re.findall(r"http://\S+", dev.output())
    with urlopen(f"{site}/", timeout=20) as answer:
        page = answer.read().decode()
    assert 'action="/ask/flights"' in page
    assert 'action="/ask/login_events"' in page
    flower = re.findall(r"Flower\s+(http://\S+)", dev.output())[0]
    assert f'<a href="{flower}">Flower</a>' in page
    with urlopen(f"{flower}/healthcheck", timeout=20) as answer:
        assert answer.status == 200

    command = "export " + dev.output().partition("  export ")[2]
    asked = subprocess.run(
        ["bash", "-c", command],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert re.fullmatch(r"[0-9a-f-]{36}\n", asked.stdout)

    def tasks() -> dict[str, dict[str, str]]:
        query = "draw=1&start=0&length=100&search[value]=&order[0][column]=0&order[0][dir]=asc&columns[0][data]=name"
        with urlopen(f"{flower}/tasks/datatable?{query}", timeout=20) as answer:
            return {task["name"]: task for task in json.load(answer)["data"]}

    dev.wait_until(lambda: tasks().get("bgtasks.notify", {}).get("state") == "SUCCESS", 60)
    entry = tasks()["bgtasks.request_file"]
    assert (entry["uuid"], entry["state"]) == (asked.stdout.strip(), "SUCCESS")
    assert entry["worker"].startswith("worker@")
    assert re.fullmatch(r"<flights [0-9a-f]{8} #6>", tasks()["bgtasks.notify"]["result"])
    assert "2013-01-01" not in json.dumps(tasks())
    assert "user@example.com" not in json.dumps(tasks())
    with urlopen(f"{site}/mails", timeout=20) as answer:
        assert "Your file is ready: flights.csv" in answer.read().decode()

    dev.send(signal.SIGINT)
    dev.wait_until_ended(60)
    assert "Stopping." in dev.output()
    assert _started_by(ROOT / "var") == []


def test_dev_starts_a_process_again_that_dies(dev: Process) -> None:
    """Its broker and its worker are killed; it says so, and a request is made into a file nevertheless."""
    dev.wait_until(lambda: "Ask for a file" in dev.output(), 120)
    command = "export " + dev.output().partition("  export ")[2].partition("\n\n")[0]
    for name, text in (("valkey", "valkey-server"), ("worker", "worker@%h")):
        [pid] = _children(dev.pid, text)
        os.kill(pid, signal.SIGKILL)
        dev.wait_until(lambda name=name: f"{name} is running again." in dev.output(), 60)  # type: ignore[misc]
    ask = ["bash", "-c", command.replace(".id)", '.get(timeout=60)["state"])')]
    asked = subprocess.run(ask, cwd=ROOT, capture_output=True, text=True, timeout=90, check=False)
    assert asked.stdout == "ready\n", asked.stderr
    dev.send(signal.SIGTERM)
    dev.wait_until_ended(60)
    assert _started_by(ROOT / "var") == []


def test_dev_shows_the_file_types_of_any_project(tmp_path: Path) -> None:
    """An app given with -A: its types have forms, and its worker makes their files."""
    shop = shutil.copytree(ROOT / "tests" / "projects" / "shop", tmp_path / "shop")
    with contextlib.closing(sqlite3.connect(shop / "shop.db")) as connection:
        connection.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, customer TEXT, amount NUMERIC)")
    env = {
        "SHOP_DATABASE_URL": f"sqlite:///{shop / 'shop.db'}",
        "SHOP_FILES": str(shop / "files"),
        "SHOP_KEY": KEY,
        "PYTHONUNBUFFERED": "1",
    }
    dev = Process("dev", [*CELERY, "-A", "shop.celery", "bgtasks", "dev"], tmp_path / "dev.log", shop, env)
    try:
        dev.wait_until(lambda: "Database" in dev.output(), 120)
        assert "flights" not in dev.output()
        site, *_ = re.findall(r"http://\S+", dev.output())
        program = {"Authorization": "Basic " + base64.b64encode(b"ada:").decode(), "Accept": "application/json"}

        def answer(url: str, data: bytes | None = None) -> dict[str, Any]:
            with urlopen(Request(url, data, program), timeout=20) as response:
                return dict(json.load(response))

        asked = answer(f"{site}/ask/orders", b"least=1")
        dev.wait_until(lambda: answer(asked["status_url"])["state"] == "ready", 60)
    finally:
        dev.stop()


def _children(pid: int, text: str) -> list[int]:
    """A process's children that have this text on their command lines."""
    lines = {int(path.parent.name): path.read_text() for path in Path("/proc").glob("[0-9]*/stat")}
    children = [child for child, line in lines.items() if int(line.rpartition(")")[2].split()[1]) == pid]
    return [child for child in children if text in Path(f"/proc/{child}/cmdline").read_text()]


def _started_by(var: Path) -> list[str]:
    """Processes that still run with this checkout's ``var`` on their command line."""
    lines = [
        path.read_bytes().replace(b"\0", b" ").decode(errors="replace") for path in Path("/proc").glob("[0-9]*/cmdline")
    ]
    return [line for line in lines if str(var) in line]
