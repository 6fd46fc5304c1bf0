"""``make bench-parts``: a file in 8 parts by two workers, by one of them, and by one writer; and where a key is skewed.

The rows come from SQLite, which each worker reads by itself, and then from PostgreSQL, whose server needs a core too.
The limit is on SQLite's. The exit code is 1 if it is broken, or if the files are not the same to the last byte.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sqlite3
import statistics
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from tests.bench import data, once, servers
from tests.bench.file_types import SOURCE
from tests.bench.parts_turns import ONE_WORKER, ONE_WRITER, SKEWED, SKEWED_WRITER, TWO_WORKERS, Crew, Turn, Way
from tests.bench.parts_types import skewing

FULL, QUICK = 10_000_000, 1_000_000
ROUNDS = 2
#: How many times as fast two workers are as one, at least, where there are two cores.
LIMIT = 1.6
CORES = 2
#: Cores that may be busy with something else: the broker, and who waits.
IDLE = 0.2
#: What the log says of a key that many rows share.
WORD = "since many rows share a key"
COLUMNS = "{:22} {:>8} {:>8} {:>8} {:>6} {:>14} {:>11} {:>6}"
HEADINGS = ("", "best s", "planning", "joining", "parts", "peak MiB", "cores busy", "others")


@dataclass
class Found:
    """What came out with one database as the source."""

    source: str
    rows: int
    has_limit: bool
    turns: dict[Way, list[Turn]] = field(default_factory=dict)
    is_told: bool = False  #: whether the log says of the skewed key why there are fewer parts

    @property
    def ratio(self) -> float:
        """How many times as fast two workers are as one: the median of the rounds' own."""
        both = zip(self.turns[ONE_WORKER], self.turns[TWO_WORKERS], strict=True)
        return statistics.median(one.seconds / two.seconds for one, two in both)

    @property
    def files(self) -> set[tuple[int, str]]:
        """The sizes and the digests: there should be one."""
        return {(turn.size, turn.sha256) for turns in self.turns.values() for turn in turns}

    @property
    def fits(self) -> bool:
        """Whether all is as it must be."""
        return not list(self.faults())

    def faults(self) -> Iterator[str]:
        """What is not."""
        if self.has_limit and self.ratio < LIMIT:
            yield f"two workers are only {self.ratio:.2f} times as fast as one, and not {LIMIT:g} times"
        if len(self.files) != 1:
            yield f"there are {len(self.files)} different files: {sorted(self.files)}"
        if not self.is_told:
            yield f"no log says {WORD!r}"

    def best(self, way: Way) -> Turn:
        """The fastest of the rounds."""
        return min(self.turns[way], key=lambda turn: turn.seconds)

    def seconds(self, way: Way) -> float:
        """Of the fastest."""
        return self.best(way).seconds


def measured(root: Path, source: str, url: str, rows: int, rounds: int, *, has_limit: bool) -> Found:
    """All ways with one source, turn by turn; where the key is skewed, once. The record is in SQLite."""
    found, folder = Found(source, rows, has_limit), root / f"parts-{source}"
    record = f"sqlite:///{folder / 'bgtasks.db'}"
    with servers.deployment(folder, record, "tests.bench.parts_config", **{SOURCE: url}) as stack:
        crew = Crew(stack)
        for number in range(rounds):
            for way in (ONE_WRITER, ONE_WORKER, TWO_WORKERS, *(() if number else (SKEWED_WRITER, SKEWED))):
                found.turns.setdefault(way, []).append(crew.go(way, rows))
        found.is_told = WORD in crew.said
    return found


def lines(found: Found) -> Iterator[str]:
    """A table, and what it means."""
    yield f"\n{found.rows:,} rows of {found.source} as CSV, {next(iter(found.files))[0]:,} bytes"
    yield COLUMNS.format(*HEADINGS)
    for way in found.turns:
        turn = found.best(way)
        peaks = " ".join(f"{peak:.0f}" for peak in turn.peaks)
        times = (f"{seconds:.2f}" for seconds in (turn.seconds, turn.planning, turn.joining))
        yield COLUMNS.format(way.name, *times, turn.parts, peaks, f"{turn.cores:.2f}", f"{turn.others:.2f}")
    yield f"two workers are {found.ratio:.2f} times as fast as one" + (
        f" (limit: {LIMIT:g})" if found.has_limit else ""
    )
    yield f"they take {_times(found, TWO_WORKERS, ONE_WRITER)} as long as one writer of the whole"
    beside = f"{_times(found, SKEWED, TWO_WORKERS)} as long as without, {_times(found, SKEWED, SKEWED_WRITER)}"
    yield f"with a skewed key they take {beside} as long as one writer of that"
    yield "the files are the same, to the last byte" if len(found.files) == 1 else "THE FILES DIFFER"
    alone = found.best(ONE_WORKER)
    if not found.has_limit:
        yield from _what_limits(alone)
    elif alone.others > IDLE:
        yield f"{alone.others:.2f} cores are busy with others than the workers: measure it again on a quiet machine"
    yield from (f"BROKEN: {fault}" for fault in found.faults())


def _times(found: Found, way: Way, other: Way) -> str:
    return f"{found.seconds(way) / found.seconds(other):.2f} times"


def _what_limits(alone: Turn) -> Iterator[str]:
    """Why there is no limit."""
    cores = _cores()
    yield "no limit here, since the server takes a core too:"
    yield (
        f"with one worker {alone.cores:.2f} of {cores} cores are busy, {alone.others:.2f} of them with others than "
        f"the worker, so two workers can't be much over {cores / alone.cores:.2f} times as fast"
    )


def fill_sqlite(path: Path, rows: int) -> None:
    """The tables, with and without a skewed key."""
    data.fill_sqlite(path, once.WARM, rows)
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        for statement in (*skewing(once.WARM), *skewing(rows), "ANALYZE"):
            connection.execute(statement)


def fill_postgresql(server: str, rows: int) -> None:
    """The same in a server."""
    data.fill_postgresql(server, once.WARM, rows)
    with psycopg.connect(server, autocommit=True) as connection:
        for statement in (*skewing(once.WARM), *skewing(rows), "VACUUM (ANALYZE)"):
            connection.execute(statement)


def _cores() -> int:
    return len(os.sched_getaffinity(0))


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure it, and print it; the exit code."""
    parser = argparse.ArgumentParser("make bench-parts", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the rows")
    parser.add_argument("--rows", type=int, help=f"how many (default: {FULL:,})")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="how often each has its turn (default: %(default)s)")
    chosen = parser.parse_args(arguments)
    rows = chosen.rows or (QUICK if chosen.quick else FULL)
    with servers.folder() as root, servers.postgresql(root) as server:
        print(f"Filling tables of {rows:,} rows ...", flush=True)
        fill_sqlite(path := root / "source.db", rows)
        fill_postgresql(server, rows)
        fit = []
        for source, url in (("SQLite", f"sqlite:///{path}"), ("PostgreSQL", server)):
            is_held = source == "SQLite" and _cores() >= CORES
            found = measured(root, source, url, rows, chosen.rounds, has_limit=is_held)
            print(*lines(found), sep="\n", flush=True)
            fit.append(found.fits)
    return int(not all(fit))


if __name__ == "__main__":
    sys.exit(main())
