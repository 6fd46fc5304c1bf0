"""A flood of one type's requests, beside requests of another type that keep coming: does it delay them?

The workers are those of the README: one for ``bgtasks``, and one for each file type's own queue. A request's time is
from ``request_file.delay`` until its file is ready. The worker of the type that comes in floods yields the processor to
the others, as README's ``CPUWeight`` has it (``--equal``: it does not). The others are asked for at fixed times,
whether or not those before are ready: who waits for each answer hardly ever asks while it matters. The idle times are
those of the same workers, before the flood and after it.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from celery import Celery, current_app
from sqlalchemy import func, insert, select

from bgtasks import queues, request_file
from bgtasks.database import Database
from bgtasks.models import FileRequest
from bgtasks.stack import Stack, wait_for
from bgtasks.states import State
from tasks import login_events
from tests.bench import servers
from tests.support import flights

FLOOD, CALM, WARM = 1000, 60, 10  # requests
PAUSE = 0.25  # seconds between two requests of the other type, at least
EASE = 4  # and at least so many times what one of them takes
PATIENCE = 900.0  # seconds for all of it
LIMIT = 2.0  # how many times as long a request may take in the flood, at p95

#: What each worker consumes, and with how many processes.
WORKERS = {"bgtasks": 1, "files.flights": 4, "files.login_events": 1}
FLOODING, OTHER = "flights", "login_events"
#: How nice the flood's worker is to all others: about a tenth of their share of the processor, where both want it.
NICE = 10
#: What is asked for: files of some hundred rows.
CRITERIA = {FLOODING: {"from_date": "2013-04-30"}, OTHER: {"from_date": "2026-10-20"}}


@dataclass(frozen=True)
class Flood:
    """What is measured."""

    count: int  #: requests of the flood
    calm: int  #: requests on the idle system
    is_fair: bool  #: whether a flood has the priority of one
    is_equal: bool  #: whether its worker has the others' share of the processor


@dataclass(frozen=True)
class Asked:
    """One of the other type's requests."""

    id: str
    at: float  #: by the clock, which the database has too


@dataclass
class Asker:
    """Who asks for the other type's files, and looks at what is in the record."""

    app: Celery
    record: Database
    is_fair: bool  #: whether a flood has the priority of one
    pause: float = PAUSE

    def while_(self, condition: Callable[[int], object]) -> list[Asked]:
        """Ask at fixed times, as long as the condition holds of how many have been asked for."""
        asked: list[Asked] = []
        began = time.time()
        while condition(len(asked)):
            time.sleep(max(0.0, began + self.pause * (len(asked) + 1) - time.time()))
            at = time.time()
            asked.append(Asked(str(ask(self.app, OTHER, is_fair=self.is_fair)), at))
        return asked

    def seconds(self, asked: Sequence[Asked]) -> list[float]:
        """How long each of them has taken, once they are all ready."""
        ready: dict[str, float] = wait_for(lambda: self._ready_at(asked), "they are not ready", PATIENCE)
        return [ready[one.id] - one.at for one in asked]

    def _ready_at(self, asked: Sequence[Asked]) -> dict[str, float] | None:
        """When each of them was ready; None: not all of them are."""
        its_time = select(FileRequest.id, FileRequest.finished_at).where(FileRequest.state == State.READY)
        with self.record.reading() as session:
            found = session.execute(its_time.where(FileRequest.id.in_([one.id for one in asked]))).all()
        return {id: at.timestamp() for id, at in found} if len(found) == len(asked) else None

    def ready(self, file_type: str) -> int:
        """How many files there are."""
        return self._count(FileRequest.file_type == file_type, FileRequest.state == State.READY)

    def stored(self, file_type: str) -> int:
        """How many requests have come into the record."""
        return self._count(FileRequest.file_type == file_type)

    def _count(self, *conditions: object) -> int:
        with self.record.reading() as session:
            return session.scalar(select(func.count()).select_from(FileRequest).where(*conditions)) or 0  # type: ignore[arg-type]


def ask(app: Celery, file_type: str, *, is_fair: bool) -> object:
    """One request, by somebody without an address; its id."""
    app.set_current()
    first_come = {} if is_fair else {"priority": queues.priorities(app).first}
    arguments = (file_type, CRITERIA[file_type], "ada")
    return request_file.apply_async(arguments, **first_come).id


def measure(parts: Stack, count: int, calm: int, *, is_fair: bool) -> dict[str, list[float]]:
    """Seconds that the other type's requests took: in calm, while the flood was stored, and while it was made."""
    asker = Asker(producer(parts), Database(parts.env["BGTASKS_DATABASE_URL"], parts.root), is_fair)
    flood = sender(parts, count, is_fair=is_fair)
    warm = asker.seconds(asker.while_(lambda number: number < WARM))
    # They must not be a flood themselves: their worker has one process, which shall be idle most of the time.
    asker.pause = max(PAUSE, EASE * statistics.median(warm[WARM // 2 :]))
    before = asker.while_(lambda number: number < calm // 2)
    asker.seconds(before)
    assert flood.stdin is not None
    with flood.stdin:
        flood.stdin.write(b"now")
    storing = asker.while_(lambda _: asker.stored(FLOODING) < count)
    making = asker.while_(lambda _: asker.ready(FLOODING) < count)
    flood.wait(PATIENCE)
    asker.seconds(making)
    after = asker.while_(lambda number: number < calm // 2)
    times = {"calm": before + after, "storing": storing, "making": making}
    return {name: asker.seconds(asked) for name, asked in times.items()}


def producer(parts: Stack) -> Celery:
    """An application that asks, configured as the deployment is."""
    made = Celery("producer", set_as_current=False)
    made.config_from_object("celeryconfig")
    made.conf.update(broker_url=parts.env["CELERY_BROKER_URL"], result_backend=parts.env["CELERY_RESULT_BACKEND"])
    return made


def sender(parts: Stack, count: int, *, is_fair: bool) -> subprocess.Popen[bytes]:
    """Another process, which will ask for so many files as fast as it can, once it is told."""
    command = [sys.executable, "-m", "tests.bench.flood", "--send", str(count), *([] if is_fair else ["--fifo"])]
    environ = {**os.environ, **parts.env}
    return subprocess.Popen(command, env=environ, cwd=servers.ROOT, stdin=subprocess.PIPE)


def send(count: int, *, is_fair: bool) -> None:
    """What that process does."""
    app = current_app._get_current_object()
    for _ in range(count if sys.stdin.read() else 0):  # nothing: the one who would say so has ended
        ask(app, FLOODING, is_fair=is_fair)


def fill(record: Database) -> None:
    """Something to export."""
    flights.fill(record)
    login_events.Base.metadata.create_all(record.engine)
    with record.writing() as session:
        session.execute(insert(login_events.LoginEvent), list(login_events._sample()))


def give_way(pid: int) -> None:
    """Have a worker and its children take what the others leave of the processor, as systemd's ``CPUWeight`` does.

    Each worker is a session of its own, and Linux shares the processor among sessions first, where it is set up so.
    """
    group = Path(f"/proc/{pid}/autogroup")
    if group.exists():
        group.write_text(str(NICE))
    else:
        os.setpriority(os.PRIO_PGRP, pid, NICE)


def times(root: Path, url: str, how: Flood) -> dict[str, list[float]]:
    """The same in a deployment of its own.

    :param url: of an empty database.
    """
    with servers.deployment(root / "deployment", url, "celeryconfig") as parts:
        fill(record := Database(url, root))
        record.engine.dispose()
        for queue, processes in WORKERS.items():
            worker = parts.start_worker("-Q", queue, "-c", str(processes), name=queue.rpartition(".")[-1])
            if queue.endswith(FLOODING) and not how.is_equal:
                give_way(worker.pid)
        return measure(parts, how.count, how.calm, is_fair=how.is_fair)


def p95(found: Sequence[float]) -> float:
    """What 95 of 100 stay below."""
    return statistics.quantiles(found, n=20, method="inclusive")[-1]


def report(found: dict[str, list[float]]) -> bool:
    """Print it; whether the limit is kept."""
    flooded = found["storing"] + found["making"]
    named = {"on the idle system": found["calm"], "while the flood is stored": found["storing"]}
    named |= {"while the flood is made": found["making"], "in the whole flood": flooded}
    print(f"\n{'a request of another type':28} {'requests':>8} {'p50':>9} {'p95':>9} {'longest':>9} {'p95 x idle':>10}")
    for name, some in named.items():
        milliseconds = (f"{value * 1000:.0f} ms" for value in (statistics.median(some), p95(some), max(some)))
        p50s, p95s, longest = milliseconds
        print(f"{name:28} {len(some):8} {p50s:>9} {p95s:>9} {longest:>9} {p95(some) / p95(found['calm']):10.2f}")
    ratio = p95(flooded) / p95(found["calm"])
    print(f"limit: {ratio:.2f} ≤ {LIMIT:g} {'ok' if ratio <= LIMIT else 'TOO MUCH'}")
    return ratio <= LIMIT


def main() -> int:
    """Measure it, and print it; the exit code, 1 if the limit is broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=FLOOD, help=f"requests of the flood (default: {FLOOD})")
    parser.add_argument("--calm", type=int, default=CALM, help=f"requests on the idle system (default: {CALM})")
    parser.add_argument("--fifo", action="store_true", help="give a flood no priority of its own, for comparison")
    parser.add_argument("--equal", action="store_true", help="give the flood's worker as much of the processor")
    parser.add_argument("--sqlite", action="store_true", help="keep the record in SQLite (default: PostgreSQL)")
    parser.add_argument("--send", type=int, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.send:
        send(chosen.send, is_fair=not chosen.fifo)
        return 0
    how = Flood(chosen.count, chosen.calm, not chosen.fifo, chosen.equal)
    with servers.folder() as root:
        if chosen.sqlite:
            return int(not report(times(root, f"sqlite:///{root / 'flood.db'}", how)))
        with servers.postgresql(root) as server:
            url = servers.new_database(server, "flood")
            return int(not report(times(root, url, how)))


if __name__ == "__main__":
    sys.exit(main())
