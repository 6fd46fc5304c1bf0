"""The brokers that the tests run on; each can be killed, and be there again with nothing in it."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

import pytest

from bgtasks.stack import HOST, Process, Stack, listens
from tests.support.rabbitmq import RabbitMQ

BROKERS = ("valkey", "rabbitmq")

#: For a test, a class or a module (``pytestmark = on_every_broker``) whose fixtures use ``broker``.
on_every_broker = pytest.mark.parametrize("broker", BROKERS, indirect=True)


@dataclass(frozen=True)
class Broker:
    """The broker of a stack, wherever it runs. Results are in a Valkey server in any case."""

    name: str
    url: str
    process: Process
    kill: Callable[[], None]  #: as a power cut would
    start_empty: Callable[[], None]  #: at the same place, until it is ready

    @property
    def port(self) -> int:
        """Where it listens."""
        return urlsplit(self.url).port or 0

    def at(self, port: int) -> str:
        """The URL of such a broker at another port."""
        return self.url.replace(f":{self.port}/", f":{port}/")

    @contextlib.contextmanager
    def asleep(self) -> Iterator[None]:
        """Who is connected stays so, and others can connect; but it answers nobody."""
        os.killpg(self.process.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.killpg(self.process.pid, signal.SIGCONT)


def start(request: pytest.FixtureRequest, stack: Stack) -> Broker:
    """The broker that a test asks for, by default Valkey; for a fixture ``broker`` of any scope."""
    if getattr(request, "param", "valkey") == "valkey":
        return valkey(stack)
    return rabbitmq(stack, request.getfixturevalue("rabbitmq"))


def valkey(stack: Stack) -> Broker:
    """A Valkey server, which keeps the results too."""
    process = stack.start_broker()

    def start_empty() -> None:
        process.start()
        process.wait_until(lambda: listens(broker.port))

    broker = Broker("valkey", stack.env["CELERY_BROKER_URL"], process, process.kill, start_empty)
    return broker


def rabbitmq(stack: Stack, server: RabbitMQ) -> Broker:
    """A virtual host of a RabbitMQ server; a Valkey server keeps the results."""
    stack.start_broker()
    url = stack.env["CELERY_BROKER_URL"] = server.new_vhost()
    return Broker("rabbitmq", url, server.process, server.kill, server.start_empty)


@contextlib.contextmanager
def silent_port() -> Iterator[int]:
    """A port where everybody can connect, and is told nothing."""
    with socket.socket() as server:
        server.bind((HOST, 0))
        server.listen()
        yield server.getsockname()[1]
