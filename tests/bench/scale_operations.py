"""What a deployment asks of its record all the time, each as the code does it."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from celery import Celery
from sqlalchemy import select, text

from bgtasks import FileType, deployment, registry
from bgtasks.claims import Claim
from bgtasks.deployment import Deployment
from bgtasks.metrics.table import Table
from bgtasks.models import FileRequest, in_state
from bgtasks.object_keys import ObjectKey
from bgtasks.requests.reminding import Reminder
from bgtasks.states import State
from bgtasks.sweeps import finding

KEY = "a key for the benchmark, long enough"
MONTH = 30 * 86_400.0


class _Numbers(FileType):
    file_type = "numbers"


class _Others(FileType):
    file_type = "others"


@dataclass
class World:
    """A deployment with a table of one size."""

    app: Celery
    parts: Deployment
    pending: Iterator[FileRequest]  #: rows to begin with, each once
    ended: Iterator[FileRequest]  #: rows of the past, over and over
    held: Any = None  #: the step that was begun last

    @property
    def url(self) -> str:
        """Its database, for the driver."""
        return self.parts.database.url.set(drivername="postgresql").render_as_string(hide_password=False)

    def call(self, operation: Callable[[World], Any]) -> None:
        """Do something as this deployment."""
        self.app.set_current()
        operation(self)


def world(url: str, files: str) -> World:
    """The deployment of a database that ``scale_rows`` has filled."""
    for known in (_Numbers, _Others):
        registry.register(known)
    app = Celery(set_as_current=True, broker="memory://")
    app.conf.update(bgtasks_default_key=KEY, bgtasks_database_url=url, bgtasks_store_url=files)
    parts = deployment.current()
    rows = select(FileRequest).order_by(FileRequest.requested_at.desc())
    waiting = rows.where(in_state(State.PENDING), FileRequest.file_type == "numbers").limit(5000)
    with parts.database.reading() as session:
        pending = list(session.scalars(waiting))
        ended = list(session.scalars(rows.where(in_state(State.EXPIRED)).limit(500)))
        session.execute(text("SELECT pg_stat_reset()"))
    return World(app, parts, iter(pending), itertools.cycle(ended))


def _claim(there: World) -> None:
    there.held = there.parts.requests.claim(Claim.of(next(there.pending)), "fetch_criteria", "", "worker")


def _renew(there: World) -> None:
    there.parts.requests.renew(there.held)


def _progress(there: World) -> None:
    there.parts.requests.progress(there.held, rows_written=1)


def _finish(there: World) -> None:
    there.parts.requests.finish(there.held, {"rows_total": 3}, waits=True)


def _ask(there: World, most: int | None = None, **more: Any) -> None:
    new = {"id": str(uuid.uuid4()), "file_type": "others", "criteria": {}, "requester": str(uuid.uuid4()), **more}
    there.parts.requests.insert(new, scheduled=False, most=most)


def _status(there: World) -> None:
    row = there.parts.requests.get(next(there.pending).id)
    assert row is not None
    there.parts.requests.outlook(row)


def _of(there: World, requester: str | None = None) -> None:
    there.parts.requests.of(requester or str(next(there.ended).requester), 20)


def _list(there: World, **more: Any) -> None:
    there.parts.requests.newest(20, **more)


def _first(rows: Iterator[FileRequest]) -> None:
    assert next(rows, None) is not None


def _orphans(there: World) -> None:
    rows = itertools.islice(there.ended, 200)
    there.parts.requests.orphans([ObjectKey(f"{row.id}/1", row.id, 1, False) for row in rows])


def _remind(there: World) -> None:
    assert len(there.parts.requests.unseen(SOON, SEEN)) == SEEN  # in either table


def _forget(there: World) -> None:
    record = there.parts.requests
    for seen in itertools.islice(record.all_of(str(next(there.ended).requester)), 10):
        withdrawn = record.withdraw(seen)
        assert withdrawn is not None
        assert record.erase(withdrawn) is not None


def _chosen_queues(there: World) -> None:
    assert finding.chosen_queues() == []


SOON, SEEN = {"numbers": Reminder(3600.0, "notify")}, 50
#: By their names.
OPERATIONS: Mapping[str, Callable[[World], Any]] = {
    "ask": _ask,
    "ask, of so many at once": partial(_ask, most=10),
    "ask, answered by another": partial(_ask, coalesce_key="the same", requester="service"),
    "claim a step": _claim,
    "renew its lease": _renew,
    "note its progress": _progress,
    "end it": _finish,
    "status: row and outlook": _status,
    "my files": _of,
    "my files, of a service": partial(_of, requester="service"),
    "dispatch: what is due": lambda _: finding.due(),
    "dispatch: what was missed": lambda _: finding.missed(["others"], [], 3600.0),
    "dispatch: chosen queues": _chosen_queues,
    "recover: what has lapsed": lambda _: finding.lapsed(),
    "list: the newest": _list,
    "list: of a state": partial(_list, states=[State.CANCELLED]),
    "list: of a type": partial(_list, file_types=["rare"]),
    "list: of a requester": partial(_list, requester="service"),
    "metrics: what is live": lambda there: list(Table(there.parts).collect()),
    "remind: what expires soon": _remind,
    "clean: expired files": lambda there: _first(there.parts.requests.overdue(3600.0)),
    "clean: old rows": lambda there: _first(there.parts.requests.outdated("numbers", MONTH)),
    "clean: leftovers": lambda there: list(there.parts.requests.with_leftovers()),
    "clean: file types": lambda there: there.parts.requests.file_types(),
    "clean: 200 objects": _orphans,
    "forget: ten of somebody's": _forget,
}
#: What takes its time, and is done once in ten seconds.
SLOW = (
    "status: row and outlook", "dispatch: what was missed", "dispatch: chosen queues", "metrics: what is live",
    "forget: ten of somebody's",
)  # fmt: skip
