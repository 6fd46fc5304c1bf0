"""The commands as they are really run: with a broker and a worker, in a pipe, and on a terminal."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
import threading
from subprocess import PIPE

import pytest

from bgtasks.deployment import Deployment
from bgtasks.stack import Stack
from bgtasks.states import State
from tests.chain import conftest as chain
from tests.cli.conftest import HOSTILE
from tests.support.flights import fill

stack, broker, worker_arguments = chain.stack, chain.broker, chain.worker_arguments
celery_broker_cluster, celery_backend_cluster = chain.celery_broker_cluster, chain.celery_backend_cluster
celery_worker_cluster, celery_setup_cls = chain.celery_worker_cluster, chain.celery_setup_cls
celery_setup_config, parts = chain.celery_setup_config, chain.parts

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
STYLE = re.compile(r"\x1b\[[0-9;]*m")
ADA = "ada@example.com"


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "celery", "bgtasks", *arguments]


def in_a_pipe(stack: Stack, *arguments: str) -> tuple[int, str, str]:
    """What a script sees."""
    env = {**os.environ, **stack.env}
    running = subprocess.Popen(command(*arguments), cwd=stack.root, env=env, stdout=PIPE, stderr=PIPE, text=True)
    output, errors = running.communicate(timeout=90)
    return running.returncode, output, errors


def on_a_terminal(stack: Stack, width: int, *arguments: str, typed: str = "") -> tuple[int, str]:
    """What a person sees who types this; and the exit code."""
    ours, theirs = pty.openpty()
    env = {**os.environ, **stack.env, "COLUMNS": str(width), "TERM": "xterm-256color"}
    os.write(ours, typed.encode())
    process = subprocess.Popen(command(*arguments), cwd=stack.root, env=env, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    guard = threading.Timer(90, process.kill)
    guard.start()
    seen = b""
    while piece := _read(ours):
        seen += piece
    guard.cancel()
    os.close(ours)
    return process.wait(10), seen.decode()


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65_536)
    except OSError:  # how Linux says that nobody is at the other end
        return b""


def test_from_the_request_to_the_forgetting(parts: Deployment, stack: Stack) -> None:
    """A file is asked for, waited for, looked at on a terminal and in a pipe, and forgotten with its result."""
    fill(parts.database)
    code, output, errors = in_a_pipe(
        stack, "request", "flights", "from_date=2013-04-01", "--requester", ADA, "--description", HOSTILE, "--json",
        "--wait", "60",
    )  # fmt: skip
    assert (code, errors) == (0, "")
    made = json.loads(output)
    assert (made["state"], made["rows_written"] > 0) == (State.READY, True)
    assert parts.app.AsyncResult(made["id"]).get(timeout=10)["rows"] == made["rows_written"]
    code, seen = on_a_terminal(stack, 80, "list")
    lines = [STYLE.sub("", line).rstrip() for line in seen.splitlines()]
    assert (code, lines[0].split()[:3]) == (0, ["id", "type", "state"])
    assert lines[1].startswith(f"{made['id'][:8]}  flights")
    assert all(len(line) <= 80 for line in lines)
    code, seen = on_a_terminal(stack, 80, "show", made["id"][:8])
    assert code == 0
    assert "\\x1b[31mred" in seen
    assert "\x1b" not in STYLE.sub("", seen)
    assert not set(seen) & set("\x07\x9b\u202e\u2028")
    assert "[bold]b[/]" in seen
    asking = "forget", "--requester", ADA
    code, seen = on_a_terminal(stack, 80, *asking, typed="n\n")
    assert (code, "Remove 1 requests of ada@example.com" in seen) == (1, True)
    assert parts.requests.get(made["id"]) is not None
    code, seen = on_a_terminal(stack, 80, *asking, typed="y\n")
    assert (code, "requests: 1 (0 of them were going on), files: 1" in seen) == (0, True)
    assert parts.requests.get(made["id"]) is None
    assert list(parts.store.keys()) == []
    assert parts.app.AsyncResult(made["id"]).state == "PENDING"  # Celery's word for "never heard of"
    for process in stack.processes:
        if process.name == "worker":
            process.kill()  # nobody is there to wait for its last seconds
