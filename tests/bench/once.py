"""One export by one way, in a process of its own: what ``python -m`` runs. Needs nothing but Python."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.bench import memory

#: Writes the table of so many rows; the number of bytes that the file has.
Work = Callable[[int], int]

WARM = 100  # rows: what is written first, so that everything is loaded
COLUMNS = ("id", "at", "name", "address", "succeeded", "amount", "note")
#: Of the table that has so many rows.
TABLE = "events_{}"
SELECT = f"SELECT {', '.join(COLUMNS)} FROM {TABLE} ORDER BY id"


def url() -> str:
    """The database that the rows are in."""
    return os.environ["BENCH_URL"]


def folder() -> Path:
    """Where files may be left."""
    return Path(os.environ["BENCH_FOLDER"])


def main(ways: Mapping[str, Callable[[], Work]]) -> None:
    """Go the way that the command line names, and print what it took."""
    name, rows = sys.argv[1:]
    work = ways[name]()
    work(WARM)
    before = memory.now()
    memory.forget_peak()
    began = time.perf_counter()
    size = work(int(rows))
    seconds = time.perf_counter() - began
    print(json.dumps({"seconds": seconds, "peak": memory.peak(), "before": before, "size": size}))
