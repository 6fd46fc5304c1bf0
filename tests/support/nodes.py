"""pytest-celery's nodes around real processes instead of Docker containers."""

from __future__ import annotations

import signal as signals
from typing import Any

import celery
from pytest_celery import CeleryTestContainer, CeleryTestSetup

from bgtasks.stack import Process
from tests.support.brokers import Broker


class ProcessContainer(CeleryTestContainer):  # type: ignore[misc]
    """What pytest-celery asks of a container, answered by a process. (Docker's own constructor is not called.)"""

    def __init__(self, process: Process, conf: dict[str, Any]) -> None:
        self.process = process
        self._conf = conf

    @property
    def name(self) -> str:
        return self.process.name

    @property
    def id(self) -> str:
        return str(self.process.pid)

    @property
    def status(self) -> str:
        return "running" if self.process.running else "exited"

    @property
    def celeryconfig(self) -> dict[str, Any]:
        return self._conf

    def logs(self) -> str:
        return self.process.output()

    def ready(self) -> bool:
        return self.process.running  # the stack has waited until it was

    def reload(self) -> None:
        """There is nothing to look up again."""

    def kill(self, signal: str | int = "SIGKILL") -> None:
        number = signals.Signals[signal] if isinstance(signal, str) else signal
        if number == signals.SIGKILL:
            self.process.kill()
        else:
            self.process.send(number)

    def restart(self, timeout: float = 30) -> None:
        self.process.stop()
        self.process.start()
        self.process.wait_until(lambda: " ready." in self.process.output(), timeout)

    def teardown(self) -> None:
        self.process.stop()

    def remove(self, *_: Any, **__: Any) -> None:
        self.teardown()

    # What CeleryTestWorker asks beyond that.

    def version(self) -> str:
        return celery.__version__

    def log_level(self) -> str:
        return "INFO"

    def worker_name(self) -> str:
        return self.process.name

    def worker_queue(self) -> str:
        return "bgtasks"


class Setup(CeleryTestSetup):  # type: ignore[misc]
    """A setup whose nodes are really asked whether they are ready."""

    def ready(self, ping: bool = False, control: bool = False, docker: bool = True) -> bool:
        return bool(super().ready(ping=ping, control=control, docker=True))


class BrokerContainer(ProcessContainer):
    """The broker's server, which others may share: whoever started it ends it."""

    def __init__(self, broker: Broker) -> None:
        super().__init__(broker.process, {"url": broker.url, "host_url": broker.url})

    def teardown(self) -> None:
        """Nothing is ended here."""
