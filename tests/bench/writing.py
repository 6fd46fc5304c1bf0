"""The races of those who write files from PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.bench import peers, turns
from tests.bench.races import Limit, Race
from tests.bench.turns import Way

OURS = "tests.bench.ours"
ARROW, TUPLES = "tests.bench.arrow_pipelines", "tests.bench.tuple_pipelines"
BGFILES, IMPORT_EXPORT = "tests.bench.bgfiles", "tests.bench.import_export"


@dataclass(frozen=True)
class Heat:
    """A race that has not been run."""

    title: str
    ways: tuple[Way, ...]
    limits: tuple[Limit, ...] = ()
    is_long: bool = False  #: whether a fifth of the rows has to do


CSV = Heat(
    "CSV, formulas neutralised",
    (
        Way("bgtasks", OURS, "csv"),
        Way("bgtasks, a bound parameter", OURS, "csv-bound"),
        Way("bgtasks, tuples", OURS, "csv-tuples"),
        Way("bare ADBC → pyarrow.csv", ARROW, "csv"),
        Way("dj-bgfiles, .iterator()", BGFILES, "csv-iterator", peers.BGFILES),
        Way("dj-bgfiles, plain queryset", BGFILES, "csv", peers.BGFILES),
        Way("django-import-export", IMPORT_EXPORT, "csv", peers.IMPORT_EXPORT, turns=1),
    ),
    (Limit("bgtasks", "bare ADBC → pyarrow.csv", 1.25),),
)
CSV_PLAIN = Heat(
    "CSV, texts as they are",
    (
        Way("bgtasks", OURS, "csv-plain"),
        Way("bgtasks, tuples", OURS, "csv-plain-tuples"),
        Way("bare ADBC → pyarrow.csv", ARROW, "csv-plain"),
        Way("bare psycopg → csv.writer", TUPLES, "csv"),
    ),
    (Limit("bgtasks", "bare ADBC → pyarrow.csv", 1.25),),
)
COMPRESSED = Heat(
    "CSV, compressed",
    (
        Way("bgtasks, .csv", OURS, "csv"),
        Way("bgtasks, .csv.gz", OURS, "csv.gz"),
        Way("bgtasks, .csv.zst", OURS, "csv.zst"),
    ),
)
XLSX = Heat(
    "XLSX",
    (
        Way("bgtasks", OURS, "xlsx"),
        Way("XlsxWriter, constant_memory", TUPLES, "xlsx"),
    ),
    (Limit("bgtasks", "XlsxWriter, constant_memory", 1 / 7), Limit("bgtasks", None, 50, "grown")),
)
XLSX_PEERS = Heat(
    "XLSX",
    (
        Way("bgtasks", OURS, "xlsx"),
        Way("dj-bgfiles (XlsxWriter)", BGFILES, "xlsx", peers.BGFILES, turns=1),
        Way("django-import-export (openpyxl)", IMPORT_EXPORT, "xlsx", peers.IMPORT_EXPORT, turns=1),
    ),
    is_long=True,
)
JSON_LINES = Heat(
    "JSON Lines",
    (
        Way("bgtasks", OURS, "jsonl"),
        Way("bgtasks, tuples", OURS, "jsonl-tuples"),
        Way("bgtasks, .jsonl.gz", OURS, "jsonl.gz"),
        Way("bgtasks, .jsonl.zst", OURS, "jsonl.zst"),
        Way("bare psycopg → json", TUPLES, "jsonl"),
    ),
)
PARQUET = Heat(
    "Parquet, zstd",
    (
        Way("bgtasks", OURS, "parquet"),
        Way("bare ADBC → pyarrow.parquet", ARROW, "parquet"),
    ),
)
HEATS = (CSV, CSV_PLAIN, COMPRESSED, XLSX, XLSX_PEERS, JSON_LINES, PARQUET)


def env(server: str, root: Path) -> dict[str, str]:
    """The variables that each way needs, with a new folder for what it writes.

    :param server: the URL of the database with the tables.
    """
    folder = root / "written"
    folder.mkdir()
    return {"BENCH_URL": server, "BENCH_FOLDER": str(folder)}


def races(rows: int, rounds: int, env: Mapping[str, str]) -> Iterator[Race]:
    """Run them all; the tables of so many rows, of a fifth of them and of ``once.WARM`` must be there."""
    for heat in HEATS:
        race = Race(heat.title, rows // 5 if heat.is_long else rows, heat.limits)
        yield turns.race(race, heat.ways, rounds, env)
