"""How fast a web server's worker sends a file, and how much its memory grows: each way beside the others, on Linux.

A gunicorn of its own for each way, in a temporary folder; the worker's peak is the kernel's own (``VmHWM``). The
bucket is moto's, which reads the whole object for each part of it: that way's speed is moto's. The exit code is 1 if
a worker has grown by more than the limit.
"""

from __future__ import annotations

import http.client
import logging
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

from bgtasks import database, install, migrations, toolbox
from bgtasks.stack import HOST
from tests.support.handmade import REQUESTER, finished
from tests.support.processes import children_of
from tests.support.s3 import S3
from tests.support.site import USER, Site

MB = 1024 * 1024
SIZE = (30 if os.environ.get("QUICK") else 300) * MB
LIMIT = 40  # MB
TIMES = 3
KEY = "a key for the benchmark, long enough"
ROWS = SIZE // 1010  # of the rows that tests.support.site sends at once

COLUMNS = "{:34} {:>7} {:>6} {:>12} {:>11} {:>11} {:>8}"
HEADINGS = ("way", "MB", "MB/s", "before (MB)", "peak (MB)", "grown (MB)", "≤ limit")


@dataclass(frozen=True)
class Way:
    """A way by which a file's bytes reach a client."""

    name: str
    options: tuple[str, ...] = ()
    in_bucket: bool = False
    inline: bool = False


WAYS = (
    Way("file_wrapper (sendfile)"),
    Way("file_wrapper, read by the server", ("--no-sendfile",)),
    Way("streamed from a bucket", in_bucket=True),
    Way("made at once, in chunks", inline=True),
)


def main() -> int:
    """Measure each way, and print a table."""
    root = Path(tempfile.mkdtemp(prefix="bgtasks-downloads-"))
    logging.getLogger("werkzeug").setLevel(logging.WARNING)  # moto's access log
    s3 = S3()
    bucket = s3.bucket("bench")
    os.environ.update(bucket.environ)
    try:
        print(COLUMNS.format(*HEADINGS))
        grown = [_measured(root / str(number), way, bucket.url) for number, way in enumerate(WAYS)]
    finally:
        s3.stop()
        shutil.rmtree(root, ignore_errors=True)
    return int(max(grown) > LIMIT)


def _measured(folder: Path, way: Way, bucket: str) -> float:
    """Print one way's line; MB by which the worker has grown."""
    folder.mkdir()
    settings = {
        "BGTASKS_DATABASE_URL": f"sqlite:///{folder / 'bgtasks.db'}",
        "BGTASKS_STORE_URL": bucket if way.in_bucket else str(folder / "files"),
        "BGTASKS_DEFAULT_KEY": KEY,
    }
    path = f"/inline?count={ROWS}" if way.inline else f"/files/{_made(settings)}"
    site = Site(folder, settings)
    try:
        port = site.start("-k", "gthread", "--threads", "4", *way.options)
        [worker] = children_of(site.processes[0].pid)
        _fetched(port, "/inline?count=10" if way.inline else path, Range="bytes=0-10")
        before = _memory(worker, "VmRSS")
        Path(f"/proc/{worker}/clear_refs").write_text("5")  # the peak starts anew (proc(5))
        began = time.monotonic()
        fetched = sum(_fetched(port, path) for _ in range(TIMES))
        speed = fetched / (time.monotonic() - began) / MB
        peak = _memory(worker, "VmHWM")
    finally:
        site.stop()
    grown = peak - before
    size, fits = f"{fetched / TIMES / MB:.0f}", "yes" if grown <= LIMIT else "NO"
    print(COLUMNS.format(way.name, size, f"{speed:.0f}", f"{before:.0f}", f"{peak:.0f}", f"{grown:.0f}", fits))
    return grown


def _made(settings: dict[str, str]) -> str:
    """A file in the deployment's store; its token."""
    app = Celery("bench", broker="memory://", backend="cache+memory://", set_as_current=False)
    app.conf.update({name.lower(): value for name, value in settings.items()})
    install(app)
    app.set_current()
    migrations.upgrade(database.current())
    contents: Any = _random()
    return toolbox.create_token(finished(contents, file_type=""))


def _random() -> Iterator[bytes]:
    block = os.urandom(MB)
    return (block for _ in range(SIZE // MB))


def _fetched(port: int, path: str, **headers: str) -> int:
    """Bytes."""
    connection = http.client.HTTPConnection(HOST, port, timeout=60)
    connection.request("GET", path, headers={USER: REQUESTER, **headers})
    response = connection.getresponse()
    assert response.status in (200, 206), response.status
    count = sum(map(len, iter(lambda: response.read(MB), b"")))
    connection.close()
    return count


def _memory(pid: int, what: str) -> float:
    """MB, as the kernel counts them."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(what)).split()[1]) / 1024


if __name__ == "__main__":
    sys.exit(main())
