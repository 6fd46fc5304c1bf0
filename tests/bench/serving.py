"""A download through our files application, beside what web servers can do with the same file on the same disk."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from celery import Celery

from bgtasks import database, install, migrations, toolbox
from bgtasks.models import FileRequest
from bgtasks.stack import HOST, Process, free_port, listens
from tests.bench import memory, servers, table, turns
from tests.bench.memory import MIB
from tests.bench.races import Limit, Race, Sample
from tests.support.processes import children_of

NGINX = shutil.which("nginx") or "/usr/sbin/nginx"
CONF = servers.ROOT / "tests" / "nginx" / "nginx.conf"
OURS, ACCEL = "bgtasks under gunicorn", "bgtasks behind nginx, X-Accel-Redirect"
CHUNKS, WRAPPER, STATIC = "256 KiB iterator under gunicorn", "wsgi.file_wrapper under gunicorn", "nginx, a static file"
LIMIT = 1 / 0.9
GROWN = 10  # MiB
#: A download takes half a second, of which the machine's other work takes a changing part.
ROUNDS = 21
FILES = "bgtasks.wsgi:application"
#: The application of each gunicorn.
APPLICATIONS = {OURS: FILES, CHUNKS: "tests.bench.wsgi:iterator", WRAPPER: "tests.bench.wsgi:wrapper"}


@dataclass(frozen=True)
class Served:
    """Where a file is, and who sends it."""

    port: int
    path: str
    process: int  #: the id of the worker that sends it

    def fetch(self) -> Sample:
        """Download it once."""
        before = memory.now(self.process)
        memory.forget_peak(self.process)
        line = turns.run([sys.executable, "-m", "tests.bench.client", str(self.port), self.path], {})
        made: dict[str, Any] = json.loads(line)
        assert made["status"] == 200, made
        return Sample(made["seconds"], memory.peak(self.process), before, made["size"])


def races(root: Path, size: int, rounds: int) -> list[Race]:
    """Download a file of so many bytes, in each way once a round."""
    pure = Race(
        f"A download of {size // MIB:,} MiB through WSGI",
        limits=(Limit(OURS, CHUNKS, LIMIT), Limit(OURS, WRAPPER, LIMIT), Limit(OURS, None, GROWN, "grown")),
    )
    helped = Race(f"A download of {size // MIB:,} MiB through nginx", limits=(Limit(ACCEL, STATIC, LIMIT),))
    with _servers(root, size) as served:
        for each in served.values():
            each.fetch()  # the file is in the machine's memory, and the server has seen all of its code
        there = list(served.items())
        for number in range(rounds):
            for way, each in reversed(there) if number % 2 else there:  # nobody always comes after the same one
                (helped if way in (ACCEL, STATIC) else pure).add(way, each.fetch())
    if not helped.ways:
        helped.missing = dict.fromkeys((ACCEL, STATIC), "nginx is not installed")
    return [pure, helped]


@contextmanager
def _servers(root: Path, size: int) -> Iterator[dict[str, Served]]:
    """Each server, when it listens."""
    folder = root / "serving"
    env = settings(folder)
    ready, path = made(env, size)
    key = str(ready.object_key)
    env["BENCH_FILE"] = str(folder / "files" / key)
    with ExitStack() as stack:
        served = {}
        for way, application in APPLICATIONS.items():
            port, process = gunicorn(stack, folder, way, application, env)
            served[way] = Served(port, path, children_of(process.pid)[0])
        if not Path(NGINX).exists():
            yield served
            return
        backend, _ = gunicorn(stack, folder, ACCEL, FILES, {**env, "BGTASKS_SENDFILE": "/protected"})
        port, process = _nginx(stack, folder, backend)
        worker = children_of(process.pid)[0]
        yield {**served, ACCEL: Served(port, path, worker), STATIC: Served(port, f"/static/{key}", worker)}


def settings(folder: Path) -> dict[str, str]:
    """The variables of a deployment in a new folder."""
    folder.mkdir()
    return {
        "PYTHONPATH": str(servers.ROOT),
        "CELERY_CONFIG_MODULE": "tests.bench.celeryconfig",
        "BGTASKS_DATABASE_URL": f"sqlite:///{folder / 'bgtasks.db'}",
        "BGTASKS_STORE_URL": str(folder / "files"),
        "BGTASKS_DEFAULT_KEY": "a key for the benchmark, long enough",
        "BGTASKS_IDENTIFY": "tests.bench.wsgi.who",
    }


def gunicorn(stack: ExitStack, folder: Path, name: str, application: str, env: dict[str, str]) -> tuple[int, Process]:
    """The port and the process of a web server with one worker, which the stack ends."""
    port = free_port()
    options = ["-b", f"{HOST}:{port}", "-k", "gthread", "--threads", "4", "--no-control-socket"]
    argv = [sys.executable, "-m", "gunicorn", *options, application]
    return port, _started(stack, Process(name, argv, folder / f"{name}.log", folder, env), port)


def _nginx(stack: ExitStack, folder: Path, backend: int) -> tuple[int, Process]:
    """nginx as the README has it, sending files as fast as it can, with our files as static ones beside."""
    port = free_port()
    (folder / "temp").mkdir()
    filled = {"$FOLDER": folder, "$FILES": folder / "files", "$PORT": port, "$BACKEND": backend}
    conf = re.sub(r"\$[A-Z]+\b", lambda found: str(filled[found[0]]), CONF.read_text())
    conf = conf.replace("    server {", "    sendfile on;\n    tcp_nopush on;\n\n    server {")
    static = f"location /static/ {{ alias {folder}/files/; }}\n        "
    conf = conf.replace("location / {", f"{static}location / {{")
    (folder / "nginx.conf").write_text(conf if os.getuid() == 0 else conf.replace("user root;", ""))
    argv = [NGINX, "-c", str(folder / "nginx.conf"), "-p", str(folder), "-e", str(folder / "error.log")]
    return port, _started(stack, Process("nginx", argv, folder / "nginx.log", folder, {}), port)


def _started(stack: ExitStack, process: Process, port: int) -> Process:
    stack.callback(process.stop)
    process.wait_until(lambda: listens(port) and children_of(process.pid))
    return process


def made(env: dict[str, str], size: int) -> tuple[FileRequest, str]:
    """A file of so many bytes in a deployment's store, and its path."""
    app = Celery("bench", broker="memory://", backend="cache+memory://", set_as_current=False)
    app.conf.update({name.lower(): value for name, value in env.items() if name.startswith("BGTASKS_")})
    install(app)
    app.set_current()
    migrations.upgrade(database.current())
    block = os.urandom(MIB)
    contents: Any = (block for _ in range(size // MIB))
    ready = toolbox.attach_file(toolbox.add_request(requester="ada@example.com"), contents, "file.bin")
    return ready, f"/files/{toolbox.create_token(ready)}"


def main() -> int:
    """Measure it, and print a table."""
    with servers.folder() as root:
        return table.print_all(races(root, int(sys.argv[1]) * MIB if sys.argv[1:] else 1024 * MIB, ROUNDS))


if __name__ == "__main__":
    sys.exit(main())
