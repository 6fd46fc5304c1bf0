"""How fast ``clean`` is, and how long whoever writes to the same rows has to wait for it."""

from __future__ import annotations

import contextlib
import math
import random
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import psycopg

from bgtasks.pacing import Pace
from bgtasks.sweeps import cleaning
from tests.bench.scale_operations import World
from tests.support.listening import listening

#: Seconds for which nobody may be kept waiting.
MOST = 0.1

# Ready files whose time was over so long ago that their rows go as well; the newest of the past.
OVERDUE = """
UPDATE bgtasks_file_requests
SET state = 'ready', object_key = id || '/3', fence = 6, expires_at = now() - interval '40 days'
WHERE id IN (
    SELECT id FROM bgtasks_file_requests WHERE state = 'expired' ORDER BY requested_at DESC LIMIT %s
) RETURNING id::text
"""


WRITE = "UPDATE bgtasks_file_requests SET downloads = downloads + 1 WHERE id = %s"


def measure(there: World, files: int) -> bool:
    """Clean so many, print what it took; whether nobody would have waited for too long."""
    url = there.url
    with psycopg.connect(url, autocommit=True) as connection:
        ids = [id for (id,) in connection.execute(OVERDUE, [files])]
        connection.execute("VACUUM (ANALYZE) bgtasks_file_requests")
    store = there.parts.store.folder
    assert store is not None
    for id in ids:
        _write(store / id)
    there.app.set_current()
    with transactions(there) as taken, waiting(url, ids) as waited:
        began = time.perf_counter()
        done = cleaning.clean(Pace())
        seconds = time.perf_counter() - began
    print(f"clean: {done} in {seconds:.1f} s ({done.expired / seconds:.0f} requests a second)")
    fits = nobody_waits(taken, waited)
    return fits and done.expired >= files * 0.99


def nobody_waits(taken: Sequence[float], waited: Sequence[float]) -> bool:
    """Print how long ``transactions`` and whoever was ``waiting`` took; whether all of it is within the limit."""
    longest, kept = max(taken), waited.count(math.inf)
    fits = longest <= MOST and not kept
    print(
        f"its {len(taken):,} transactions: the longest {longest * 1000:.0f} ms, 99 % within "
        f"{sorted(taken)[int(len(taken) * 0.99)] * 1000:.0f} ms; of {len(waited):,} writes to the same rows "
        f"{kept} met a lock for over {MOST * 1000:.0f} ms: {'yes' if fits else 'NO'}",
        flush=True,
    )
    return fits


def _write(folder: Path) -> None:
    folder.mkdir()
    (folder / "3").write_bytes(b"123")


@contextlib.contextmanager
def transactions(there: World) -> Iterator[list[float]]:
    """How long each transaction holds its locks at most: from its first statement on. Seconds."""
    taken, began = [0.0], dict[int, float]()
    engine = there.parts.database._writes

    def begin(connection: object, *_: object) -> None:
        began.setdefault(id(connection), time.perf_counter())

    def end(connection: object) -> None:
        if (since := began.pop(id(connection), None)) is not None:
            taken.append(time.perf_counter() - since)

    def forget(connection: object) -> None:
        began.pop(id(connection), None)

    # The event comes before the COMMIT is sent: what that takes is seen by those who wait.
    with listening(engine, before_cursor_execute=begin, commit=end, rollback=forget):
        yield taken


@contextlib.contextmanager
def waiting(url: str, ids: list[str]) -> Iterator[list[float]]:
    """How long each of somebody else's writes to one of these rows takes, in seconds; infinite: it was locked too long.

    The time is this process's own too, which is busy cleaning; only the server's word for a lock counts.
    """
    waited, is_over = [0.0], threading.Event()

    def write() -> None:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("SET synchronous_commit = off")
            connection.execute(f"SET lock_timeout = '{MOST}s'")
            while not is_over.is_set():
                some = random.choice(ids)
                began = time.perf_counter()
                try:
                    connection.execute(WRITE, [some])
                    waited.append(time.perf_counter() - began)
                except psycopg.errors.LockNotAvailable:
                    waited.append(math.inf)
                is_over.wait(0.002)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield waited
    finally:
        is_over.set()
        thread.join()
