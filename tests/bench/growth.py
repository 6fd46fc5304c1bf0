"""``make bench-growth``: files of 1, 3 and 10 million rows take time in proportion, and the same memory.

A file's time for each row, the best of the rounds, is held to that of the smallest one, and so is its peak. The exit
code is 1 if one is over its limit.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from tests.bench import data, once, servers, writing
from tests.bench.races import Sample
from tests.bench.turns import Way, WayFailed
from tests.bench.writing import OURS

FULL, QUICK = (1_000_000, 3_000_000, 10_000_000), (100_000, 300_000, 1_000_000)
ROUNDS = 2
MOST_TIME, MOST_MEMORY = 1.10, 1.05
WAYS = (
    Way("CSV", OURS, "csv"),
    Way("CSV, tuples", OURS, "csv-tuples"),
    Way("XLSX", OURS, "xlsx"),
    Way("JSON Lines", OURS, "jsonl"),
    Way("Parquet", OURS, "parquet"),
)
COLUMNS = "{:12} {:>12} {:>9} {:>10} {:>9} {:>10} {:>9}  {}"
HEADINGS = ("format", "rows", "best s", "µs a row", "x first", "peak MiB", "x first", "both within their limits")


@dataclass(frozen=True)
class Line:
    """A file of so many rows, and the smallest one."""

    way: str
    rows: int
    samples: Sequence[Sample]
    first: Line | None = None  #: none: this is it

    @property
    def best(self) -> float:
        """Seconds."""
        return min(sample.seconds or 0 for sample in self.samples)

    @property
    def peak(self) -> float:
        """MiB; of the rounds the least, since another one's is the allocator's whim."""
        return min(sample.peak or 0 for sample in self.samples)

    @property
    def slower(self) -> float:
        """How many times as much time a row takes as one of the smallest file."""
        return 1.0 if self.first is None else self.best / self.rows / (self.first.best / self.first.rows)

    @property
    def bigger(self) -> float:
        """How many times as much memory it takes as the smallest file."""
        return 1.0 if self.first is None else self.peak / self.first.peak

    @property
    def fits(self) -> bool:
        """Whether that is little enough."""
        return self.slower <= MOST_TIME and self.bigger <= MOST_MEMORY

    def __str__(self) -> str:
        return COLUMNS.format(
            self.way, f"{self.rows:,}", f"{self.best:.2f}", f"{self.best / self.rows * 1e6:.2f}", f"{self.slower:.2f}",
            f"{self.peak:.0f}", f"{self.bigger:.2f}", "yes" if self.fits else "NO",
        )  # fmt: skip


def lines(way: Way, sizes: Sequence[int], rounds: int, env: Mapping[str, str]) -> Iterator[Line]:
    """A way's files, from the smallest to the biggest; measured turn by turn. Raises: WayFailed."""
    samples: dict[int, list[Sample]] = defaultdict(list)
    for _ in range(rounds):
        for rows in sizes:
            samples[rows].append(way.go(rows, env))
    first = Line(way.name, sizes[0], samples[sizes[0]])
    yield first
    yield from (Line(way.name, rows, samples[rows], first) for rows in sizes[1:])


def main(arguments: list[str] | None = None) -> int:
    """Measure it, and print a table."""
    parser = argparse.ArgumentParser("make bench-growth", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the rows")
    sizes = QUICK if parser.parse_args(arguments).quick else FULL
    with servers.folder() as root, servers.postgresql(root) as server:
        print(f"Filling tables of {', '.join(f'{rows:,}' for rows in sizes)} rows ...", flush=True)
        data.fill_postgresql(server, once.WARM, *sizes)
        env = writing.env(server, root)
        print(COLUMNS.format(*HEADINGS))
        fit = [_fits(way, sizes, env) for way in WAYS]  # all of them, whatever the first one says
        return int(not all(fit))


def _fits(way: Way, sizes: Sequence[int], env: Mapping[str, str]) -> bool:
    """Print a way's lines; whether all of them are within their limits."""
    try:
        found = list(lines(way, sizes, ROUNDS, env))
    except WayFailed as error:
        print(f"{way.name}: {error}", flush=True)
        return False
    print(*found, sep="\n", flush=True)
    return all(line.fits for line in found)


if __name__ == "__main__":
    sys.exit(main())
