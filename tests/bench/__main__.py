"""``make bench``: all races, a table, and results that are kept. The exit code is 1 if a limit is broken."""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.bench import chain, data, downloads, idle, once, results, servers, serving, table, workers, writing
from tests.bench.file_types import Events
from tests.bench.memory import MIB
from tests.bench.races import Race


@dataclass(frozen=True)
class Size:
    """How much of everything."""

    rows: int
    rounds: int
    download: int  #: bytes
    downloads: int  #: times
    other_downloads: int  #: bytes
    chains: int
    starts: int  #: of workers
    children: tuple[str, ...]  #: formats that a worker's child writes

    @property
    def tables(self) -> list[int]:
        """The rows of each table that is needed."""
        return sorted({once.WARM, self.rows // 5, self.rows})


FULL = Size(1_000_000, 3, 1024 * MIB, serving.ROUNDS, 300 * MIB, 100, 3, Events.formats)
# A download must be long beside what a request takes at its beginning.
QUICK = Size(100_000, 1, 512 * MIB, 3, 30 * MIB, 30, 1, ("csv", "xlsx"))


@dataclass(frozen=True)
class Place:
    """Where it happens."""

    root: Path
    size: Size
    server: str  #: the URL of a PostgreSQL server, with the tables

    def writing(self) -> Iterable[Race]:
        """Who writes files."""
        return writing.races(self.size.rows, self.size.rounds, writing.env(self.server, self.root))

    def serving(self) -> Iterable[Race]:
        """Who sends them."""
        return serving.races(self.root, self.size.download, self.size.downloads)

    def downloads(self) -> Iterable[Race]:
        """Our web server's memory on other roads."""
        return downloads.races(self.root, self.size.other_downloads, 1)

    def chain(self) -> Iterable[Race]:
        """From request to file."""
        return chain.races(self.root, self.server, self.size.chains)

    def idle(self) -> Iterable[Race]:
        """A worker's child before work."""
        return idle.races(self.root, self.size.starts)

    def workers(self) -> Iterable[Race]:
        """A worker's child at work."""
        sources = {"PostgreSQL": self.server}
        if self.size is not QUICK:
            data.fill_sqlite(self.root / "source.db", once.WARM, self.size.rows)
            sources["SQLite"] = f"sqlite:///{self.root / 'source.db'}"
        return workers.races(self.root, sources, self.size.rows, self.size.children)


PARTS: Mapping[str, Callable[[Place], Iterable[Race]]] = {
    "writing": Place.writing,
    "serving": Place.serving,
    "downloads": Place.downloads,
    "chain": Place.chain,
    "idle": Place.idle,
    "workers": Place.workers,
}


def run(size: Size, parts: Iterable[str]) -> list[Race]:
    """Run the named parts, and print each race when it is over."""
    found: list[Race] = []
    with servers.folder() as root, servers.postgresql(root) as server:
        print(f"Filling tables of {', '.join(f'{rows:,}' for rows in size.tables)} rows ...", flush=True)
        data.fill_postgresql(server, *size.tables)
        place = Place(root, size, server)
        for name in parts:
            for race in _part(name, place):
                table.print_one(race)
                found.append(race)
    return found


def _part(name: str, place: Place) -> Iterator[Race]:
    """The races of a part. What goes wrong in one ends neither the others nor the whole."""
    try:
        yield from PARTS[name](place)
    except Exception as error:
        traceback.print_exc()
        yield Race(name, missing={name: str(error).splitlines()[0]}, failed=True)


def main(arguments: list[str] | None = None) -> int:
    """The exit code: 1, if a limit is broken."""
    parser = argparse.ArgumentParser("make bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of everything, once")
    parser.add_argument("--save", action="store_true", help="make these the results that the README shows")
    parser.add_argument("--only", choices=PARTS, action="append", help="this part alone; may be repeated")
    chosen = parser.parse_args(arguments)
    began = time.monotonic()
    races = run(QUICK if chosen.quick else FULL, chosen.only or PARTS)
    found = results.gathered(races, chosen.quick, time.monotonic() - began)
    for folder in [results.LAST, *([results.SHOWN] if chosen.save else [])]:
        results.save(found, folder)
    print(f"\n{found['seconds']} s; {results.LAST.relative_to(servers.ROOT)}/results.json and results.svg")
    return int(not all(race.is_fine for race in races))


if __name__ == "__main__":
    sys.exit(main())
