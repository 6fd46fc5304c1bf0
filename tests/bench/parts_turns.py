"""One file by workers that are there already: its time, its memory, and what it has kept busy meanwhile."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import select

from bgtasks.database import Database
from bgtasks.models import Event, FileRequest
from bgtasks.queues import QUEUE
from bgtasks.stack import Process, Stack
from bgtasks.states import EventKind
from tests.bench import memory, once, servers
from tests.bench.idle import child_of
from tests.bench.parts_types import OWN, SHARED, Divided, Skewed

PATIENCE = 3600  # seconds for one file
PARTS = 8
WORKERS = ("first", "second")
TICKS = os.sysconf("SC_CLK_TCK")  # a second


@dataclass(frozen=True)
class Way:
    """Who writes a file."""

    name: str
    parts: int = PARTS
    queue: str = SHARED
    file_type: str = Divided.file_type


ONE_WRITER = Way("one writer", 1)
ONE_WORKER = Way("8 parts, one worker", queue=OWN.format(WORKERS[0]))
TWO_WORKERS = Way("8 parts, two workers")
SKEWED_WRITER = Way("skewed, one writer", 1, file_type=Skewed.file_type)
SKEWED = Way("skewed, two workers", file_type=Skewed.file_type)


@dataclass(frozen=True)
class Turn:
    """A file that was made."""

    seconds: float  #: from the asking to the answer
    planning: float  #: seconds of it: the counting, too
    joining: float  #: seconds from the last part's end, or the writer's, until the file is ready
    parts: int  #: that it was written in; 0: by one writer
    peaks: Sequence[float]  #: MiB, of each worker's child
    children: float  #: seconds of a core that the workers' children have used
    busy: float  #: the same of the whole machine
    size: int  #: bytes
    sha256: str

    @property
    def cores(self) -> float:
        """How many of the machine's were busy, on average."""
        return self.busy / self.seconds

    @property
    def others(self) -> float:
        """How many of them with something else than the workers: the database's server, above all."""
        return (self.busy - self.children) / self.seconds


class Crew:
    """The workers of a deployment, with one child each, that have written a little of everything before."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._record = Database(stack.env["BGTASKS_DATABASE_URL"], stack.root)
        self._workers = [self._started(name) for name in WORKERS]
        for name in WORKERS:
            self.go(Way("before", 2, OWN.format(name)), once.WARM)
            self.go(Way("before", 2, OWN.format(name), Skewed.file_type), once.WARM)

    def _started(self, name: str) -> Process:
        queues = [QUEUE, SHARED, OWN.format(name)] if name == WORKERS[0] else [SHARED, OWN.format(name)]
        return self._stack.start_worker("-Q", ",".join(queues), "-c", "1", name=name)

    @property
    def said(self) -> str:
        """What all of them have written into their logs."""
        return "".join(worker.output() for worker in self._workers)

    def go(self, way: Way, rows: int) -> Turn:
        """Have a file made, and look at it."""
        children = [child_of(worker) for worker in self._workers]
        for child in children:
            memory.forget_peak(child)
        spent, busy, began = _spent(children), _busy(), time.perf_counter()
        made = self._export(way, rows)
        seconds = time.perf_counter() - began
        spent, busy = _spent(children) - spent, _busy() - busy
        size, sha256 = self._take(made["id"])
        if (size, sha256) != (made["size"], made["sha256"]):
            raise AssertionError(f"{way.name}: {size} bytes, {sha256}; and it says {made}")
        peaks = [memory.peak(child) for child in children]
        return Turn(seconds, *self._times(made["id"]), peaks, spent, busy, size, sha256)

    def _export(self, way: Way, rows: int) -> dict[str, Any]:
        """Ask for a file as any producer does, and wait for it."""
        arguments = way.file_type, {"rows": rows, "parts": way.parts, "queue": way.queue}
        asked = servers.producer(self._stack).send_task("bgtasks.request_file", arguments, queue=QUEUE)
        made: dict[str, Any] = asked.get(timeout=PATIENCE)
        if made["rows"] != rows:
            raise AssertionError(f"{way.name}: {made}")
        return made

    def _times(self, request_id: str) -> tuple[float, float, int]:
        """Of the planning and of the joining, by the history; and in how many parts it was written."""
        with self._record.reading() as session:
            entries = session.scalars(select(Event).where(Event.request_id == request_id)).all()
        at = {entry.step: entry.at for entry in entries if entry.kind == EventKind.STEP}
        planning, joining = at["build_items"] - at["fetch_criteria"], at["attach"] - at["write_bytes"]
        parts = sum(entry.kind == EventKind.PART for entry in entries)
        return planning.total_seconds(), joining.total_seconds(), parts

    def _take(self, request_id: str) -> tuple[int, str]:
        """The size and the digest of a file, which is not needed any more then."""
        with self._record.reading() as session:
            key = session.scalar(select(FileRequest.object_key).where(FileRequest.id == request_id))
        file = Path(self._stack.env["BGTASKS_STORE_URL"]) / str(key)
        with file.open("rb") as contents:
            digest = hashlib.file_digest(contents, "sha256").hexdigest()
        size = file.stat().st_size
        file.unlink()
        return size, digest


def _spent(pids: Sequence[int]) -> float:
    """Seconds of a core that processes have used (proc(5))."""
    stats = (Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in pids)
    return sum(int(stat[11]) + int(stat[12]) for stat in stats) / TICKS


def _busy() -> float:
    """Seconds that the machine's cores were not idle, nor waiting for a disk, since it was started."""
    user, nice, system, _idle, _waiting, *more = map(int, Path("/proc/stat").read_text().split("\n")[0].split()[1:])
    return (user + nice + system + sum(more[:3])) / TICKS
