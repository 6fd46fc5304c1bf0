"""The example projects, each with its processes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from sqlite3 import connect
from urllib.parse import urlencode

import psutil

from bgtasks.stack import HOST, Process, Stack, free_port, listens
from tests.conftest import KEY, new_sqlite
from tests.hosts.visitor import Answer, Visitor

PROJECTS = Path(__file__).parent.parent / "projects"

#: The days of each kind of rows.
FEW, MANY, WIDE, BROKEN = (
    {"from_date": "2013-01-01", "until_date": "2013-01-31"},
    {"from_date": "2013-02-01", "until_date": "2013-02-28"},
    {"from_date": "2013-03-01", "until_date": "2013-03-31", "at_once": "on"},
    {"from_date": "2013-04-01", "until_date": "2013-05-01", "at_once": "on"},
)
#: Day, number of rows, length of the remark. Of BROKEN, the last row has a day that no calendar has.
ROWS = (("2013-01-01", 3, 5), ("2013-02-01", 2000, 5), ("2013-03-01", 85_000, 1000), ("2013-04-01", 20_000, 100))
NO_DAY = "2013-04-31"

USERS = """
import django
django.setup()
from django.contrib.auth.models import User
from django.core.management import call_command
call_command("migrate", verbosity=0)
for name in ("ada", "grace"):
    User.objects.create_user(name, f"{name}@example.com", "a password")
"""


@dataclass(frozen=True)
class Kind:
    """One project behind one server."""

    project: str
    app: str
    server: tuple[str, ...]
    table: str
    columns: tuple[str, str, str, str]
    #: How the form is sent.
    ask: Callable[[Visitor, dict[str, str]], Answer]
    log_in: Callable[[Visitor, str], None]

    def __str__(self) -> str:
        return f"{self.project}-{self.server[0]}"


class Site:
    """A project at work."""

    def __init__(self, kind: Kind, folder: Path, smtp_url: str) -> None:
        self.kind, self.port = kind, free_port()
        database = new_sqlite(folder)
        root = PROJECTS / kind.project
        self.url = f"http://{HOST}:{self.port}"
        env = {
            "SITE_DATABASE": database,
            "SITE_DATA": str(folder),
            "SITE_FILES": str(folder / "files"),
            "SITE_KEY": KEY,
            "SITE_URL": self.url,
            "BGTASKS_SMTP_URL": smtp_url,
            "PYTHONPATH": str(root),
        }
        self.stack = Stack(root, folder / "var", env, app=kind.app)
        (folder / "var").mkdir()
        if kind.project == "django_site":
            env = {**os.environ, **env, "DJANGO_SETTINGS_MODULE": "django_site.settings"}
            subprocess.run([sys.executable, "-c", USERS], env=env, cwd=root, check=True, timeout=60)
        self._fill(folder / ("site.db" if kind.project == "django_site" else "bgtasks.db"))

    def start(self) -> None:
        """The worker starts while the web server does."""
        self.stack.start_broker()
        worker = self.stack.celery("worker", "worker", "-l", "INFO", "-c", "1", "--without-mingle", "--without-gossip")
        self.web = self._start_web()
        worker.wait_until(lambda: " ready." in worker.output())

    def _start_web(self) -> Process:
        argv = [part.format(host=HOST, port=self.port) for part in self.kind.server]
        web = self.stack.add("web", [sys.executable, "-m", *argv])
        web.wait_until(lambda: listens(self.port))
        return web

    def visitor(self, user: str | None = None) -> Visitor:
        """Somebody; logged in, if they have a name."""
        visitor = Visitor(self.port)
        if user is not None:
            self.kind.log_in(visitor, user)
        return visitor

    def ask(self, visitor: Visitor, days: dict[str, str], **more: str) -> Answer:
        """Fill in the form."""
        return self.kind.ask(visitor, {**days, **more})

    def memory(self) -> int:
        """What the web server has in memory, with all its processes. Bytes."""
        server = psutil.Process(self.web.pid)
        return sum(process.memory_info().rss for process in (server, *server.children(recursive=True)))

    def _fill(self, file: Path) -> None:
        names = self.kind.columns
        with closing(connect(file)) as database, database:
            if self.kind.project != "django_site":
                database.execute(
                    f"CREATE TABLE {self.kind.table} (id INTEGER PRIMARY KEY, day DATE, {names[2]}, remark)"
                )
            insert = f"""WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < ?)
                INSERT INTO {self.kind.table} (day, {names[2]}, remark)
                SELECT ?, 'north', printf('%.*c', ?, 'x') FROM numbers"""
            for day, count, length in (*ROWS, (NO_DAY, 1, 5)):
                database.execute(insert, (count, day, length))


def lines(kind: Kind, day: str, first: int, count: int) -> bytes:
    """What a file must be, for rows with the short remark."""
    rows = [",".join(kind.columns), *(f"{first + n},{day},north,xxxxx" for n in range(count)), ""]
    return "\r\n".join(rows).encode()


# -- how each project is used -------------------------------------------------------------------------


def _get(visitor: Visitor, fields: dict[str, str]) -> Answer:
    return visitor.get(f"/?{urlencode(fields)}")


def _post(visitor: Visitor, fields: dict[str, str]) -> Answer:
    page = visitor.get("/")
    return visitor.post("/", {**fields, "csrfmiddlewaretoken": page.field("csrfmiddlewaretoken")})


def _flask_login(visitor: Visitor, user: str) -> None:
    assert visitor.post("/login", {"user": f"{user}@example.com"}).status == 302


def _django_login(visitor: Visitor, user: str) -> None:
    form = visitor.get("/accounts/login/")
    fields = {"username": user, "password": "a password"}
    answer = visitor.post("/accounts/login/", {**fields, "csrfmiddlewaretoken": form.field("csrfmiddlewaretoken")})
    assert answer.status == 302, answer.text


def _asgi_login(visitor: Visitor, user: str) -> None:
    assert visitor.send("/login", {"user": f"{user}@example.com"}).status == 204


GUNICORN = ("gunicorn", "-b", "{host}:{port}", "-k", "gthread", "--threads", "4", "--no-control-socket")
UVICORN = ("uvicorn", "--host", "{host}", "--port", "{port}")


def _orders(*server: str) -> Kind:
    columns = ("id", "day", "customer", "remark")
    return Kind("django_site", "django_site", server, "orders_order", columns, _post, _django_login)


FLASK = Kind(
    "flask_site", "flask_site.celery", (*GUNICORN, "flask_site.web:application"), "readings",
    ("id", "day", "station", "remark"), _get, _flask_login,
)  # fmt: skip
FASTAPI = Kind(
    "asgi_site", "asgi_site.celery", (*UVICORN, "asgi_site.web:app"), "visits",
    ("id", "day", "gallery", "remark"), _get, _asgi_login,
)  # fmt: skip
DJANGO_WSGI = _orders(*GUNICORN, "django_site.wsgi:application")
DJANGO_ASGI = _orders(*UVICORN, "django_site.asgi:application")
DJANGO = (DJANGO_WSGI, DJANGO_ASGI)
ALL = (FLASK, *DJANGO, FASTAPI)
