"""What the workers answer when they are asked."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from celery import Celery

#: How long workers may take to answer. Seconds; there are two questions.
ANSWER = 1.0
#: How long the broker may take for each thing that it is asked. Seconds.
CONNECT = 2.0
#: kombu's options for that, by broker: Redis has the names that begin with ``socket``, AMQP the others.
IMPATIENTLY = {
    "socket_connect_timeout": CONNECT,
    "socket_timeout": CONNECT,
    "retry_on_timeout": False,
    "max_retries": 0,
    "connect_timeout": CONNECT,
    "read_timeout": CONNECT,
    "write_timeout": CONNECT,
}


@dataclass
class Answers:
    """Of the workers that answered, by their names."""

    queues: dict[str, set[str]] = field(default_factory=dict)  #: what each one consumes
    particulars: dict[str, dict[str, Any]] = field(default_factory=dict)  #: of those that have bgtasks
    skews: dict[str, float] = field(default_factory=dict)  #: seconds by which their clocks differ at least; + is ahead


def connect(app: Celery) -> Any:
    """A connection of its own to the app's broker, which does not wait for long. Raises: kombu's errors."""
    options = {**(app.conf.broker_transport_options or {}), **IMPATIENTLY}
    connection: Any = app.connection_for_write(connect_timeout=CONNECT, transport_options=options)
    return connection.ensure_connection(max_retries=1, interval_start=0, interval_step=0, timeout=CONNECT)


def ask(app: Celery) -> Answers:
    """Ask all of them. Raises: what the broker raises."""
    answers = Answers()
    with connect(app) as connection:

        def consumed(answer: dict[str, Any]) -> None:
            for name, queues in answer.items():
                if isinstance(queues, list):
                    answers.queues[name] = {queue["name"] for queue in queues}

        def said(answer: dict[str, Any]) -> None:
            now = time.time()
            for name, particulars in answer.items():
                if "keys" in particulars:  # no error
                    answers.particulars[name] = particulars
                    answers.skews[name] = _skew(asked, particulars["time"], now)

        _broadcast(app, connection, "active_queues", consumed)
        asked = time.time()
        if answers.queues:
            _broadcast(app, connection, "bgtasks_ping", said, limit=len(answers.queues))
    return answers


def _broadcast(app: Celery, connection: Any, command: str, callback: Any, limit: int | None = None) -> None:
    options: dict[str, Any] = {"connection": connection, "timeout": ANSWER, "limit": limit, "callback": callback}
    app.control.broadcast(command, reply=True, **options)


def _skew(asked: float, said: float, received: float) -> float:
    """A clock that is right says something between the question and the answer."""
    return said - received if said > received else min(said - asked, 0.0)
