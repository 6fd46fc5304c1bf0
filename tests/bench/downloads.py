"""The other roads by which our web server sends bytes: its memory stays flat on each of them.

The bucket is moto's, which reads the whole object for each part of it: that road's speed is moto's.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.bench import servers, serving, table
from tests.bench.memory import MIB
from tests.bench.races import Limit, Race
from tests.bench.serving import Served
from tests.support.processes import children_of
from tests.support.s3 import S3

LIMIT = 40  # MiB
ROW = 1010  # bytes, of those that tests.support.site sends at once
BUCKET, INLINE = "streamed from a bucket", "made at once, in chunks"


def races(root: Path, size: int, rounds: int) -> list[Race]:
    """Download so many bytes on each road."""
    limits = tuple(Limit(way, None, LIMIT, "grown") for way in (BUCKET, INLINE))
    race = Race(f"A download of {size // MIB:,} MiB, other roads", limits=limits)
    with _bucket() as (url, environ), ExitStack() as stack:
        roads = {
            BUCKET: _stored(stack, root / "bucket", size, {"BGTASKS_STORE_URL": url, **environ}),
            INLINE: _inline(stack, root / "inline", size),
        }
        for served in roads.values():
            served.fetch()
        for _ in range(rounds):
            for way, served in roads.items():
                race.add(way, served.fetch())
    return [race]


@contextmanager
def _bucket() -> Iterator[tuple[str, dict[str, str]]]:
    """The URL of a bucket, and the variables that lead there."""
    logging.getLogger("werkzeug").setLevel(logging.WARNING)  # moto's access log
    s3 = S3()
    try:
        bucket = s3.bucket("bench")
        os.environ.update(bucket.environ)
        yield bucket.url, dict(bucket.environ)
    finally:
        s3.stop()


def _stored(stack: ExitStack, folder: Path, size: int, bucket: dict[str, str]) -> Served:
    env = {**serving.settings(folder), **bucket}
    _, path = serving.made(env, size)
    port, process = serving.gunicorn(stack, folder, "web", serving.FILES, env)
    return Served(port, path, children_of(process.pid)[0])


def _inline(stack: ExitStack, folder: Path, size: int) -> Served:
    env = serving.settings(folder)
    port, process = serving.gunicorn(stack, folder, "web", "tests.support.site:application", env)
    return Served(port, f"/inline?count={size // ROW}", children_of(process.pid)[0])


def main() -> int:
    """Measure it, and print a table."""
    with servers.folder() as root:
        return table.print_all(races(root, int(sys.argv[1]) * MIB if sys.argv[1:] else 300 * MIB, 1))


if __name__ == "__main__":
    sys.exit(main())
