"""What a worker's child holds before any work: the reference deployment's beside that of Celery alone.

The limit is on what a child has for itself (USS), which is what one more child costs. RSS counts the pages that it
shares with its worker's main process too: SQLAlchemy and pydantic, which Celery alone has not, are 24 MiB of them.
"""

from __future__ import annotations

import sys
from pathlib import Path

from bgtasks.stack import Process, wait_for
from tests.bench import memory, peers, servers, table
from tests.bench.peers import PeerMissing
from tests.bench.races import Limit, Race, Sample
from tests.support.processes import children_of

TIMES = 3
LIMIT = 15  # MiB

OURS, BARE = "bgtasks, the reference deployment", "Celery with an empty task"
#: Where each one's configuration is.
CONFIGS = {OURS: "celeryconfig", BARE: "tests.bench.celery_alone"}


def races(root: Path, times: int = TIMES) -> list[Race]:
    """One race for each way to count what is shared with the worker's main process."""
    found = {what: Race(f"A worker's child before work, {what}") for what in ("RSS", "PSS", "USS")}
    found["USS"].limits = (Limit(OURS, BARE, LIMIT, "peak", more=True),)
    for number in range(times):
        for way, config in CONFIGS.items():
            try:
                shares = _shares(root / f"idle-{number}-{config}", way)
            except PeerMissing as error:
                shares, found["RSS"].missing[way] = {}, str(error)
            for what, mib in shares.items():
                found[what].add(way, Sample(peak=mib))
    return list(found.values())


def child_of(worker: Process) -> int:
    """The one child that does a worker's work, when it waits for some."""
    [child] = wait_for(lambda: [*children_of(worker.pid)][:1], "the worker's child")
    wait_for(lambda: _sleeps(child), "the child waits for work")
    return int(child)


def _shares(folder: Path, way: str) -> dict[str, float]:
    python = peers.CELERY.python if way == BARE else peers.OURS
    with servers.deployment(folder, f"sqlite:///{folder / 'bgtasks.db'}", CONFIGS[way]) as parts:
        return memory.shares(child_of(servers.worker(parts, python=python)))


def _sleeps(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "S"


def main() -> int:
    """Measure it, and print a table."""
    with servers.folder() as root:
        return table.print_all(races(root))


if __name__ == "__main__":
    sys.exit(main())
