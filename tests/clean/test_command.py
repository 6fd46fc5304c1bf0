"""``celery bgtasks clean``, as cron runs it: a real process, with a configuration of its own."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

import celeryconfig
from bgtasks.cli import upkeep
from bgtasks.deployment import Deployment
from bgtasks.states import State
from bgtasks.sweeps.cleaning import FEW, LEEWAY
from tests.clean.scenes import LONG_AGO, failed, finished, in_seconds, keys, now, orphan, overdue, path, set_row
from tests.conftest import KEY
from tests.record.moves import wait_for

Clean = Callable[..., "subprocess.Popen[str]"]

sqlite_only = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

CONFIGURATION = """
imports = ("bgtasks.entry", "bgtasks.steps", "bgtasks.sweeps")
broker_url = "redis://127.0.0.1:1/0"  # nobody listens there, and nobody needs it
bgtasks_database_url = {database!r}
bgtasks_store_url = {store!r}
bgtasks_default_key = {key!r}
"""


@pytest.fixture
def clean(parts: Deployment, database_url: str, tmp_path: Path) -> Iterator[Clean]:
    """The command in the folder of a deployment, with these arguments."""
    folder, started = tmp_path / "deployment", list[subprocess.Popen[str]]()
    folder.mkdir()
    configuration = CONFIGURATION.format(database=database_url, store=str(tmp_path / "files"), key=KEY)
    (folder / "celeryconfig.py").write_text(configuration)

    def start(*arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "celery", "bgtasks", "clean", *arguments]
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        started.append(subprocess.Popen(command, cwd=folder, text=True, **pipes))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def said(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Its exit code and what it printed, once it has ended."""
    output, errors = process.communicate(timeout=60)
    return process.returncode, output, errors


def test_it_cleans_and_says_what_it_has_done(parts: Deployment, clean: Clean) -> None:
    """One line that a person can read; nothing on the standard error."""
    kept, row = finished(), overdue(parts)
    old = set_row(parts, failed(parts), finished_at=in_seconds(LONG_AGO))
    orphan(parts)
    line = "Cleaned up: expired: 1, leftovers removed: 1, rows removed: 1, orphans removed: 1.\n"
    assert said(clean()) == (0, line, "")
    assert (now(parts, row).state, parts.requests.get(old.id)) == (State.EXPIRED, None)
    assert keys(parts) == {kept.object_key}


@sqlite_only
def test_its_bounds_are_kept(parts: Deployment, clean: Clean) -> None:
    """Each option does what it says."""
    rows = [overdue(parts) for _ in range(3)]
    fresh = overdue(parts, since=LEEWAY / 2)
    for arguments in (["--timeout", "0"], ["--items", "1", "--leeway", str(2 * LEEWAY + 60)]):
        assert "expired: 0" in said(clean(*arguments))[1]
    code, output, _ = said(clean("--items", "2", "--sleep", "0.1", "--timeout", "60"))
    assert (code, "expired: 2," in output, "for the next run" in output) == (0, True, True)
    assert sum(now(parts, row).state == State.EXPIRED for row in rows) == 2
    assert "expired: 2," in said(clean("--leeway", "60"))[1]
    assert now(parts, fresh).state == State.EXPIRED


@sqlite_only
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_stops_between_two_requests(parts: Deployment, clean: Clean, number: signal.Signals) -> None:
    """At Ctrl-C or when it is told to end: what is begun is finished, and it says what was done."""
    rows = [overdue(parts) for _ in range(50)]
    process = clean("--sleep", "0.5")
    wait_for(lambda: State.EXPIRED in [now(parts, row).state for row in rows], 60)
    process.send_signal(number)
    code, output, errors = said(process)
    after = [now(parts, row) for row in rows]
    expired = [row for row in after if row.state == State.EXPIRED]
    assert (code, errors) == (0, "")
    assert 1 <= len(expired) < 50
    assert f"expired: {len(expired)}," in output
    assert "for the next run" in output
    assert {row.object_key for row in expired} == {None}
    assert keys(parts) == {row.object_key for row in after if row.state == State.READY}


@sqlite_only
def test_a_store_that_is_away_is_said(parts: Deployment, clean: Clean) -> None:
    """In a sentence that names the cause, with an exit code for cron, and no traceback."""
    row = overdue(parts)
    files = path(parts, "")
    files.rename(files.with_name("aside"))
    files.write_text("")
    code, output, errors = said(clean())
    assert (code, "expired: 1" in output) == (1, True)
    assert re.fullmatch(r"Error: A service does not answer: \w+Error: .*\. What is left .*\n", errors)
    assert now(parts, row).object_key == row.object_key


@sqlite_only
def test_what_cannot_be_cleaned_is_said(parts: Deployment, clean: Clean) -> None:
    """Somebody has to look at it; everything else is done."""
    row, other = overdue(parts), overdue(parts)
    in_the_way = path(parts, str(row.object_key))
    in_the_way.unlink()
    (in_the_way / "file").mkdir(parents=True)
    code, output, errors = said(clean())
    assert (code, "could not be cleaned: 1" in output) == (1, True)
    assert f"<numbers {row.id[:8]} #2> can't be cleaned: " in errors
    assert "Traceback" not in errors
    assert now(parts, other).object_key is None


@sqlite_only
def test_a_store_of_another_table_is_said(parts: Deployment, clean: Clean) -> None:
    """And what to do where it is this one's after all."""
    for _ in range(FEW + 1):
        orphan(parts)
    code, output, errors = said(clean())
    assert (code, f"orphans spared: {FEW + 1}" in output, "clean --all-orphans" in errors) == (1, True, True)
    code, output, _ = said(clean("--all-orphans"))
    assert (code, f"orphans removed: {FEW + 1}" in output, keys(parts)) == (0, True, set())


@sqlite_only
def test_stores_are_named(parts: Deployment, clean: Clean, tmp_path: Path) -> None:
    """Where files were once."""
    id = set_row(parts, finished(), fence=5).id
    for folder in ("former", "older"):
        (tmp_path / folder / id).mkdir(parents=True)
        (tmp_path / folder / id / "3").write_bytes(b"1")
    arguments = [part for folder in ("former", "older") for part in ("--store", str(tmp_path / folder))]
    code, output, _ = said(clean(*arguments))
    assert (code, "orphans removed: 2" in output) == (0, True)


@sqlite_only
@pytest.mark.parametrize(("url", "why"), [("none", "no folder none"), ("s3://key:a-password@bucket", "takes no user")])
def test_what_is_no_store_is_refused(parts: Deployment, url: str, why: str) -> None:
    """By its option and without a password; no folder is made."""
    done = CliRunner().invoke(upkeep.clean, ["--store", url])
    assert (done.exit_code, "--store" in done.output, why in done.output) == (2, True, True)
    assert "a-password" not in done.output
    assert not Path("none").exists()


def test_a_database_that_is_away_is_said(clean: Clean, tmp_path: Path, database_url: str) -> None:
    """The same for the database."""
    configuration = tmp_path / "deployment" / "celeryconfig.py"
    away = f"sqlite:///{tmp_path}" if database_url.startswith("sqlite") else "postgresql://127.0.0.1:1/nobody"
    configuration.write_text(configuration.read_text().replace(repr(database_url), repr(away)))
    code, _, errors = said(clean())
    assert (code, "Traceback" in errors) == (1, False)
    assert "does not answer" in errors


@sqlite_only
def test_its_help_names_each_option(clean: Clean) -> None:
    """With its unit, and what is spared by default."""
    code, output, _ = said(clean("--help"))
    assert code == 0
    for option in ("--timeout", "--sleep", "--leeway", "--items"):
        assert option in output
    assert "3600" in output
    assert output.count("econds") >= 3


@sqlite_only
def test_the_readmes_command_works(parts: Deployment, clean: Clean) -> None:
    """As it stands there, but for the app."""
    readme = Path(celeryconfig.__file__).with_name("README.md").read_text()
    arguments = re.findall(r"^celery -A myapp bgtasks clean (.*)$", readme, re.MULTILINE)
    row = overdue(parts)
    assert [said(clean(*each.split()))[0] for each in arguments] == [0]
    assert now(parts, row).state == State.EXPIRED


@sqlite_only
@pytest.mark.parametrize("arguments", [["--timeout", "-1"], ["--items", "0"], ["--leeway", "an hour"]])
def test_a_wrong_bound_is_refused(clean: Clean, arguments: list[str]) -> None:
    """By its name, before anything is done."""
    code, _, errors = said(clean(*arguments))
    assert (code, arguments[0] in errors) == (2, True)
