"""What the record says of live requests and of the sweeps. Each query reads live rows alone, by an index."""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from sqlalchemy import case, func, select, type_coerce

from bgtasks import registry, routes
from bgtasks.database import UNREACHABLE, later
from bgtasks.deployment import Deployment
from bgtasks.errors import ImproperlyConfigured
from bgtasks.models import Event, FileRequest, Part, Sweep, UtcDateTime
from bgtasks.requests.part_writer import OUT
from bgtasks.states import LIVE, EventKind
from bgtasks.tallies import OTHER

#: Seconds for which an answer stands: whoever reaches the page must not be able to keep the database busy.
FRESH = 2.0
#: Before any request: an index on what may be NULL is used for a comparison, and not by SQLite for IS NOT NULL.
EVER = datetime(1970, 1, 1, tzinfo=UTC)

logger = logging.getLogger(__name__)


@dataclass
class Look:
    """What was found in the table, by labels."""

    live: dict[tuple[str, str], int] = field(default_factory=dict)
    waiting: dict[tuple[str, str], int] = field(default_factory=dict)
    age: dict[tuple[str, str], float] = field(default_factory=dict)  #: seconds
    parts: dict[tuple[str], int] = field(default_factory=dict)
    sweeps: dict[tuple[str], float] = field(default_factory=dict)  #: Unix time


class Table:
    """The gauges of one deployment's record."""

    def __init__(self, parts: Deployment) -> None:
        self._parts = parts
        self._lock = threading.Lock()
        self._seen: tuple[float, Look | None] | None = None

    def collect(self) -> Iterator[Metric]:
        """The gauges; where the database does not answer, ``bgtasks_record_up`` alone."""
        with self._lock:
            if self._seen is None or time.monotonic() > self._seen[0]:
                look = self._look()
                self._seen = time.monotonic() + FRESH, look
        look = self._seen[1]
        yield _gauge("record_up", "Whether the record's database answers", (), {(): float(look is not None)})
        if look is None:
            return
        yield _gauge("live_requests", "Requests that have not ended", ("file_type", "state"), look.live)
        said = "Requests that wait for a worker, each with one message; of a file in parts, each part that does"
        yield _gauge("waiting_requests", said, ("file_type", "queue"), look.waiting)
        said = "How long the one that has waited longest for a worker has done so"
        yield _gauge("queue_age_seconds", said, ("file_type", "queue"), look.age)
        yield _gauge("running_parts", "Parts of files that are being written", ("file_type",), look.parts)
        yield _gauge("sweep_last_run_timestamp_seconds", "When each sweep ran last", ("sweep",), look.sweeps)

    def _look(self) -> Look | None:
        try:
            look = self._with_nothing()
            self._see_live(look)
            self._see_waiting(look)
            self._see_waiting_parts(look)
            self._see_running_parts(look)
            self._see_sweeps(look)
        except (*UNREACHABLE, ImproperlyConfigured) as error:
            logger.warning("the record's numbers can't be read: %s", type(error).__name__)
            return None
        return look

    @staticmethod
    def _with_nothing() -> Look:
        """Zeros for what is registered: a number that appears only with its first request alarms nobody."""
        names = registry.names()
        queues = [(name, queue) for name in names for queue in _queues(name)]
        live = dict.fromkeys(itertools.product(names, map(str, LIVE)), 0)
        parts = {(name,): 0 for name in names}
        return Look(live, dict.fromkeys(queues, 0), dict.fromkeys(queues, 0.0), parts)

    def _see_live(self, look: Look) -> None:
        by = FileRequest.file_type, FileRequest.state
        for file_type, state, number in self._rows(_counted(*by).where(FileRequest.state.in_(LIVE))):
            labels = _named(look, file_type), str(state)
            look.live[labels] = look.live.get(labels, 0) + number

    def _see_waiting(self, look: Look) -> None:
        by = FileRequest.file_type, FileRequest.queue
        now = type_coerce(later(), UtcDateTime())
        query = _counted(*by).add_columns(func.min(_since(), type_=UtcDateTime()), now)
        for file_type, queue, number, since, seen in self._rows(query.where(FileRequest.dispatch_at > EVER)):
            _add_waiting(look, file_type, queue, number, (seen - since).total_seconds())

    def _see_waiting_parts(self, look: Look) -> None:
        since = func.min(Part.published_at, type_=UtcDateTime())
        of = select(Part.request_id, func.count().label("number"), since.label("since"))
        waiting = of.where(Part.dispatch_at > EVER).group_by(Part.request_id).subquery()
        now = type_coerce(later(), UtcDateTime())
        # A message that is published again is still waited for.
        heard_of = Event.request_id == FileRequest.id, Event.kind != EventKind.DISPATCHED
        newest = select(Event.at).where(*heard_of).order_by(Event.id.desc()).limit(1)
        query = select(FileRequest.file_type, FileRequest.queue, waiting.c.number, waiting.c.since)
        query = query.add_columns(newest.scalar_subquery(), now).where(FileRequest.id == waiting.c.request_id, *OUT)
        for file_type, queue, number, published, happened, seen in self._rows(query):
            began = min(filter(None, (published, happened)), default=seen)
            _add_waiting(look, file_type, queue, number, (seen - began).total_seconds())

    def _see_running_parts(self, look: Look) -> None:
        held = FileRequest.id == Part.request_id, Part.leased_until > EVER
        for file_type, number in self._rows(_counted(FileRequest.file_type).where(*held, *OUT)):
            labels = (_named(look, file_type),)
            look.parts[labels] = look.parts.get(labels, 0) + number

    def _see_sweeps(self, look: Look) -> None:
        look.sweeps = {(name,): ran_at.timestamp() for name, ran_at in self._rows(select(Sweep.name, Sweep.ran_at))}

    def _rows(self, query: Any) -> list[Any]:
        with self._parts.database.reading() as session:
            return list(session.execute(query))


def _counted(*by: Any) -> Any:
    return select(*by, func.count()).group_by(*by)


def _since() -> Any:
    """When a waiting request began to wait: it was asked for, or its history has the entry that made it wait."""
    in_hand = Event.request_id == FileRequest.id, Event.fence == FileRequest.fence
    began = select(func.min(Event.at, type_=UtcDateTime())).where(*in_hand).scalar_subquery()
    asked = FileRequest.requested_at
    return case((FileRequest.fence == 0, asked), else_=func.coalesce(began, asked))


def _add_waiting(look: Look, file_type: str, queue: str | None, number: int, seconds: float) -> None:
    name = _named(look, file_type)
    labels = name, queue or next(iter(_queues(name)), OTHER)
    look.waiting[labels] = look.waiting.get(labels, 0) + number
    look.age[labels] = max(look.age.get(labels, 0.0), seconds)


def _named(look: Look, file_type: str) -> str:
    return file_type if (file_type, LIVE[0]) in look.live else OTHER


def _queues(file_type: str) -> tuple[str, ...]:
    """The queues of a registered type, the usual one first."""
    try:
        return tuple(routes.known(registry.get(file_type)()))
    except Exception as error:  # one type's fault must not hide the others' numbers
        logger.debug("the queues of the file type %s are not known: %s", file_type, type(error).__name__)
        return ()


def _gauge(name: str, said: str, labels: tuple[str, ...], values: Any) -> Metric:
    gauge = GaugeMetricFamily(f"bgtasks_{name}", said, labels=labels)
    for of, value in values.items():
        gauge.add_metric(of, value)
    return gauge
