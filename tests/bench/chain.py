"""From the request of a ten-row file until it is ready, beside six empty tasks in the same worker: turn by turn."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path

from celery import Celery, chain

from bgtasks.database import Database
from bgtasks.models import FileRequest
from bgtasks.stack import Stack
from tests.bench import data, noop, servers, table
from tests.bench.races import Limit, Race, Sample

TIMES = 100
WARM = 10
LIMIT = 1.5
PATIENCE = 60  # seconds
GLANCE = 0.001  # seconds between two looks at the record

READY, TOLD, EMPTY = "bgtasks: until the file is ready", "bgtasks: until all six steps are done", "six empty tasks"


@dataclass(frozen=True)
class Asker:
    """Who asks, waits, and looks at the clock."""

    app: Celery
    record: Database

    def ours(self) -> tuple[float, float]:
        """Seconds until the file is ready, and until the last step has ended."""
        began = time.perf_counter()
        asked = self.app.send_task("bgtasks.request_file", ("bench_events", {}), queue="bgtasks")
        made = asked.get(timeout=PATIENCE, interval=GLANCE)
        ready = time.perf_counter() - began
        assert made["state"] == "ready", made
        assert made["rows"] == 10, made
        while not self._is_told(asked.id):
            time.sleep(GLANCE)
        return ready, time.perf_counter() - began

    def empty(self) -> float:
        """Seconds until the last of six empty tasks has ended."""
        first, *others = (self.app.signature(f"noop.{step}", queue="bgtasks") for step in noop.STEPS)
        began = time.perf_counter()
        chain(first.clone(args=("a claim",)), *others, app=self.app).apply_async().get(
            timeout=PATIENCE, interval=GLANCE
        )
        return time.perf_counter() - began

    def _is_told(self, request_id: str) -> bool:
        with self.record.reading() as session:
            row = session.get(FileRequest, request_id)
            return row is not None and row.step == noop.STEPS[-1]


def race(title: str, parts: Stack, times: int = TIMES, warm: int = WARM) -> Race:
    """Ask, again and again, in a deployment whose worker runs."""
    asker = Asker(servers.producer(parts), Database(parts.env["BGTASKS_DATABASE_URL"], parts.root))
    measured = Race(title, limits=(Limit(READY, EMPTY, LIMIT),))
    for number in range(-warm, times):
        empty, (ready, told) = asker.empty(), asker.ours()
        if number >= 0:
            for way, seconds in ((READY, ready), (TOLD, told), (EMPTY, empty)):
                measured.add(way, Sample(seconds))
    return measured


def races(root: Path, server: str, times: int = TIMES) -> list[Race]:
    """The race on each database.

    :param server: the URL of a PostgreSQL server.
    """
    urls = {
        "SQLite": f"sqlite:///{root / 'chain.db'}",
        "PostgreSQL": servers.new_database(server, "chain"),
    }
    data.fill_sqlite(root / "chain.db", 10)
    data.fill_postgresql(urls["PostgreSQL"], 10)
    return [_race(root / f"chain-{name}", name, url, times) for name, url in urls.items()]


def _race(folder: Path, name: str, url: str, times: int) -> Race:
    with servers.deployment(folder, url) as parts:
        servers.worker(parts)
        return race(f"Chain of a ten-row file, the record in {name}, p50 of {times}", parts, times)


def main() -> int:
    """Measure it, and print a table."""
    with servers.folder() as root, servers.postgresql(root) as server:
        return table.print_all(races(root, server, int(sys.argv[1]) if sys.argv[1:] else TIMES))


if __name__ == "__main__":
    sys.exit(main())
