"""The queues, and everything in which brokers differ: the numbers of priorities, declarations, lengths."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from celery import Celery, Task
from kombu import Exchange, Queue
from kombu.exceptions import KombuError

#: The queue of request_file and of the sweeps.
QUEUE = "bgtasks"
#: What the queues of file types begin with.
FILES = "files."

#: RabbitMQ's queues know no priorities unless they are declared with the highest one.
MAX_PRIORITY = 10

#: How long a broker may take for each answer to a question that somebody waits for. Seconds.
ANSWER = 0.3
#: The brokers that know how long a queue is; for some others kombu says 0, whatever is in it.
COUNTING = ("amqp", "memory", "redis")


#: How a worker's main process publishes: it must not wait; but when a child is forked, that one may close the
#: connection to RabbitMQ that the two of them share.
ONCE_MORE: dict[str, Any] = {
    "retry": True,
    "retry_policy": {"max_retries": 1, "interval_start": 0, "interval_step": 0, "interval_max": 0},
}


class Priorities(NamedTuple):
    """What messages are published with; None where the broker knows no priorities."""

    first: int | None = None  #: a request that nobody has begun; in our queue, one of a flood
    later: int | None = None  #: one that somebody has begun; in our queue, one that came by itself
    sweeps: int | None = None  #: the top


#: By kombu's name of the broker's kind. Redis serves 0 first, RabbitMQ the highest number.
_PRIORITIES = {"redis": Priorities(9, 3, 0), "amqp": Priorities(1, 5, MAX_PRIORITY)}


def queue_of(file_type: str) -> str:
    """The queue of a file type, unless the type names another."""
    return f"{FILES}{file_type}"


def kind(app: Celery) -> str:
    """The kind of an app's broker: ``redis``, ``amqp``, or another name of kombu's."""
    url = str(app.conf.broker_write_url or app.conf.broker_url)
    known = _kinds.setdefault(app, {})
    if url not in known:
        known[url] = str(app.connection_for_write().get_transport_cls().driver_type)
    return known[url]


#: By app and URL: to make a connection takes longer than to publish by it.
_kinds: WeakKeyDictionary[Celery, dict[str, str]] = WeakKeyDictionary()


def priorities(app: Celery) -> Priorities:
    """The priorities on an app's broker."""
    return _PRIORITIES.get(kind(app), Priorities())


def declared(app: Celery, name: str) -> Queue | str:
    """A queue of ours as every process must declare it; the name of one that is the application's own.

    RabbitMQ refuses a second declaration with other arguments (406), so these depend on the name alone,
    and on no setting: a queue that the application lists in ``task_queues``, or whose name is not one of
    ours, stays as the application has it.
    """
    own = app.conf.task_queues or ()  # queues, or a dict by name
    is_ours = name == QUEUE or name.startswith(FILES)
    if not is_ours or any(name == getattr(queue, "name", queue) for queue in own):
        return name
    return Queue(name, Exchange(name), name, queue_arguments={"x-max-priority": MAX_PRIORITY})


def consume(app: Celery, names: Iterable[str]) -> None:
    """Let a worker of the app consume these queues, unless it is told which ones (``-Q``)."""
    known = app.amqp.queues
    for name in names:
        queue = declared(app, name)
        known.select_add(known[queue] if isinstance(queue, str) else queue)


class QueueTask(Task[Any, Any]):
    """A task whose queue is declared as it must be, whoever publishes it."""

    def apply_async(self, *args: Any, **options: Any) -> Any:
        """As Celery's."""
        if isinstance(name := options.get("queue"), str):
            options["queue"] = declared(self.app, name)
        return super().apply_async(*args, **options)


def length(app: Celery, queue_name: str) -> int | None:
    """How many messages wait in a queue; None where the broker can't tell, or does not answer within a second.

    A queue that does not exist has none: Redis drops empty ones.
    """
    if kind(app) not in COUNTING:
        return None
    # A connection of its own: those of the pool may wait for longer, and AMQP closes the channel of one
    # that asks for a queue that does not exist.
    connection: Any = app.connection_for_write(connect_timeout=ANSWER, transport_options=_IMPATIENTLY)
    failures = (OSError, KombuError, *connection.connection_errors, *connection.channel_errors)
    try:
        connection.ensure_connection(max_retries=0)
        return int(connection.channel().queue_declare(queue_name, passive=True).message_count)
    except failures as error:
        return 0 if str(getattr(error, "reply_code", "")) == "404" else None
    finally:
        connection.release()


#: kombu's options for the wait above, by broker: Redis has the names that begin with ``socket``, AMQP the others.
_IMPATIENTLY = {
    "socket_connect_timeout": ANSWER,
    "socket_timeout": ANSWER,
    "retry_on_timeout": False,
    "max_retries": 0,
    "connect_timeout": ANSWER,
    "read_timeout": ANSWER,
    "write_timeout": ANSWER,
}
