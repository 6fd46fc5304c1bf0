"""How much memory a worker's child needs for a big export, from request to file: the real chain, in a real worker."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bgtasks.stack import Process, Stack
from tests.bench import data, memory, once, servers, table
from tests.bench.file_types import SOURCE, Events
from tests.bench.idle import child_of
from tests.bench.races import Limit, Race, Sample

PATIENCE = 1800  # seconds for one export
#: MiB by which a child may grow. The drivers' Arrow batches are most of it; rows as tuples take 15.
LIMITS = {"csv": 100, "xlsx": 50, "jsonl": 100, "parquet": 150}


def races(root: Path, sources: Mapping[str, str], rows: int, formats: Sequence[str] = Events.formats) -> list[Race]:
    """One race for each database, with each of the formats; the record is in SQLite.

    :param sources: the databases' names and URLs.
    """
    return [_race(root / f"workers-{name}", name, url, rows, formats) for name, url in sources.items()]


def _race(folder: Path, name: str, url: str, rows: int, formats: Sequence[str]) -> Race:
    limits = tuple(Limit(chosen, None, LIMITS[chosen], "grown") for chosen in formats)
    race = Race(f"A worker's child, from {name}", rows, limits)
    with servers.deployment(folder, f"sqlite:///{folder / 'bgtasks.db'}", **{SOURCE: url}) as parts:
        for chosen in formats:
            worker = servers.worker(parts, chosen)
            race.add(chosen, sample(parts, worker, chosen, rows))
            worker.stop()
    return race


def sample(parts: Stack, worker: Process, chosen: str, rows: int) -> Sample:
    """One export by a worker's child, which has written a little of everything before."""
    for every in Events.formats:
        _export(parts, every, once.WARM)
    child = child_of(worker)
    before = memory.now(child)
    memory.forget_peak(child)
    began = time.perf_counter()
    made = _export(parts, chosen, rows)
    return Sample(time.perf_counter() - began, memory.peak(child), before, made["size"])


def _export(parts: Stack, chosen: str, rows: int) -> dict[str, Any]:
    """Ask for a file as any producer does, and wait for it."""
    arguments, options = (Events.file_type, {"rows": rows}), {"format": chosen}
    asked = servers.producer(parts).send_task("bgtasks.request_file", arguments, options, queue="bgtasks")
    made: dict[str, Any] = asked.get(timeout=PATIENCE)
    assert made["rows"] == rows, made
    return made


def main() -> int:
    """Measure it, and print a table."""
    rows = int(sys.argv[1]) if sys.argv[1:] else 100_000
    with servers.folder() as root, servers.postgresql(root) as server:
        data.fill_postgresql(server, once.WARM, rows)
        data.fill_sqlite(root / "source.db", once.WARM, rows)
        sources = {"PostgreSQL": server, "SQLite": f"sqlite:///{root / 'source.db'}"}
        return table.print_all(races(root, sources, rows))


if __name__ == "__main__":
    sys.exit(main())
