"""The files application behind a real web server: gunicorn, in a process of its own."""

from __future__ import annotations

import hashlib
import http.client
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from werkzeug.wrappers import Request

from bgtasks.stack import HOST, Process, free_port, listens
from bgtasks.wsgi import application as files
from tests.conftest import BASE_URL, KEY
from tests.support.file_types import Numbers
from tests.support.handmade import REQUESTER

ROOT = Path(__file__).parent.parent.parent
#: How a client of the tests says who it is. No deployment should believe such a header.
USER = "X-Test-User"


def who(environ: dict[str, Any]) -> str | None:
    """``bgtasks_identify`` of these sites."""
    return environ.get("HTTP_X_TEST_USER")


class Inline(Numbers):
    """Rows that are sent while they are made; from ``since`` the year 2000 on they fail at the end."""

    notifiers = ()

    def evaluate_dataset(self, dataset: Any, http_request: Any) -> None:
        dataset.delay = False

    def get_items(self, criteria: Any) -> Iterator[tuple[int, str]]:
        for number in range(criteria.count):
            yield number, "x" * 1000
        if criteria.since is not None:
            raise LookupError("the source is gone")


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """The files application, with ``/inline`` beside it."""
    http_request = Request(environ)
    if http_request.path != "/inline":
        return files(environ, start_response)
    return Inline().respond_to(http_request)[1](environ, start_response)


@dataclass
class Site:
    """One deployment's web server."""

    folder: Path
    settings: dict[str, str]  #: as environment variables
    processes: list[Process] = field(default_factory=list)

    @classmethod
    def beside(cls, folder: Path, database_url: str, **more: str) -> Self:
        """A site over the same database and folder of files as the deployment of a test."""
        ours = {
            "database_url": database_url,
            "store_url": str(folder / "files"),
            "default_key": KEY,
            "base_url": BASE_URL,
        }
        return cls(folder, {f"BGTASKS_{name}".upper(): value for name, value in (ours | more).items()})

    def start(self, *options: str) -> int:
        """Start gunicorn; its port."""
        port = free_port()
        (self.folder / "celeryconfig.py").write_text(f"bgtasks_identify = {f'{__name__}:who'!r}\n")
        argv = [sys.executable, "-m", "gunicorn", "-b", f"{HOST}:{port}", "--no-control-socket", *options]
        log = self.folder / f"gunicorn-{port}.log"
        env = {"PYTHONPATH": f"{self.folder}:{ROOT}", **self.settings}
        web = Process("gunicorn", [*argv, f"{__name__}:application"], log, self.folder, env)
        self.processes.append(web)
        web.wait_until(lambda: listens(port))
        return port

    def log(self) -> str:
        """What the servers have said."""
        return "".join(process.output() for process in self.processes)

    def stop(self) -> None:
        """Stop the servers."""
        for process in reversed(self.processes):
            process.stop()


@dataclass(frozen=True)
class Answer:
    """A response, and its body if it has come whole."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def sha256(self) -> str:
        """Of the body."""
        return hashlib.sha256(self.body).hexdigest()


def ask(port: int, path: str, method: str = "GET", user: str | None = REQUESTER, **headers: str) -> Answer:
    """One request. Raises: http.client.IncompleteRead.

    :param headers: with ``_`` for ``-``.
    """
    connection = http.client.HTTPConnection(HOST, port, timeout=20)
    try:
        said = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, headers=said | ({USER: user} if user else {}))
        response = connection.getresponse()
        return Answer(response.status, response.headers, response.read())
    finally:
        connection.close()
