"""A real browser before the reference deployment: broker, worker, beat, web server, Flower and mail server."""

from __future__ import annotations

import re
import shutil
import sqlite3
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bgtasks.stack import Process
from tests.browser.people import Person, Watch
from tests.support.services import missing

ROOT = Path(__file__).parent.parent.parent
WALKS = Path(__file__).parent / "walks.py"


class Site:
    """The stack of ``celery bgtasks dev`` in a folder of its own."""

    def __init__(self, root: Path, process: Process) -> None:
        self.root = root
        self.address, self.flower = re.findall(r"(?:Site|Flower) +(http://\S+)", process.output())

    def count(self, statement: str, *parameters: Any) -> int:
        """A number from the database."""
        connection = sqlite3.connect(self.root / "var" / "bgtasks.db")
        try:
            return int(connection.execute(statement, parameters).fetchone()[0])
        finally:
            connection.close()

    def row(self, path: str, *columns: str) -> tuple[Any, ...]:
        """Columns of the newest request of a file type."""
        statement = (
            f"SELECT {', '.join(columns)} FROM bgtasks_file_requests WHERE file_type = ? ORDER BY requested_at DESC"
        )
        connection = sqlite3.connect(self.root / "var" / "bgtasks.db")
        try:
            return tuple(connection.execute(statement, (path,)).fetchone())
        finally:
            connection.close()

    def open_gate(self, name: str, rows: int) -> None:
        """Let so many rows of a gated file pass."""
        target = self.root / "var" / f"{name}.gate"
        target.with_suffix(".new").write_text(str(rows))
        target.with_suffix(".new").replace(target)


@pytest.fixture(scope="package")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The development site, with some more file types than the reference deployment has."""
    root = tmp_path_factory.mktemp("site")
    for folder in ("tasks", "beat_schedule"):
        shutil.copytree(ROOT / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(WALKS, root / "tasks")
    shutil.copy(ROOT / "flowerconfig.py", root)
    settings = (ROOT / "celeryconfig.py").read_text()
    (root / "celeryconfig.py").write_text(f'{settings}\nimports += ("tasks.walks",)\n')
    command = [sys.executable, "-m", "celery", "bgtasks", "dev"]
    process = Process("dev", command, root / "dev.log", root, {"PYTHONUNBUFFERED": "1"})
    try:
        process.wait_until(lambda: "Ask for a file from" in process.output(), 120)
        yield Site(root, process)
    finally:
        process.stop()


@pytest.fixture(scope="package")
def chromium() -> Iterator[Any]:
    """Debian's browser. Of this package only: Playwright keeps an event loop running in this thread."""
    path = shutil.which("chromium")
    if path is None:
        missing("chromium")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        missing("playwright")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def visit(chromium: Any, site: Site) -> Iterator[Callable[..., Person]]:
    """A person with a browser of their own; at the end nothing was wrong with any page that they have seen."""
    watch, contexts = Watch(site.address), []

    def come(name: str | None = "ada@example.com", **options: Any) -> Person:
        contexts.append(context := chromium.new_context(base_url=site.address, **options))
        context.set_default_timeout(20_000)
        person = Person(site, watch.over(context.new_page()))
        if name is not None:
            person.log_in(name)
        return person

    yield come
    for context in contexts:
        context.close()
    assert watch.complaints == []
