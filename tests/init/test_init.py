"""A new deployment: it works when the commands that it prints are followed, and it overwrites nothing."""

from __future__ import annotations

import csv
import os
import re
import runpy
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from bgtasks import scaffold
from bgtasks.cli.init import init
from bgtasks.scaffold import FILES, KEY
from bgtasks.stack import Process, Stack

ROOT = Path(__file__).parent.parent.parent
BIN = Path(sys.executable).parent
#: Commands that go on until they are stopped.
SERVICES = ("celery worker", "celery beat")


def run(command: str, folder: Path, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """A command as a person would give it to a shell."""
    return subprocess.run(
        ["/bin/sh", "-c", command], cwd=folder, env=env, capture_output=True, text=True, timeout=90, check=False
    )


def commands(output: str) -> list[str]:
    """Those that are printed, without the remarks behind them."""
    return [line.partition("#")[0].strip() for line in output.splitlines() if line.startswith("    ")]


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    """An empty folder, and a broker that the environment names."""
    made = Stack(tmp_path / "empty", tmp_path / "var")
    for folder in (made.root, made.var):
        folder.mkdir()
    made.start_broker()
    yield made
    for process in made.processes:
        process.kill()


def test_whoever_follows_its_words_has_an_export(stack: Stack) -> None:
    """Each command exactly as it is printed, in an empty folder, with a real broker, worker and beat."""
    env = {**os.environ, **stack.env, "PATH": f"{BIN}:{os.environ['PATH']}"}
    told = run("celery bgtasks init exports", stack.root, env)
    assert (told.returncode, told.stderr) == (0, "")
    folder, asked = stack.root, []
    printed = commands(told.stdout)
    assert printed[-1] == "celery bgtasks check"
    for command in printed:
        if command.startswith("cd "):
            folder = folder / command.removeprefix("cd ")
        elif command.endswith(SERVICES):
            argv = ["/bin/sh", "-c", f"exec env {command}"]
            stack.processes.append(Process(command[-4:], argv, stack.var / f"{command[-4:]}.log", folder, env))
        else:
            asked.append(done := run(command, folder, env))
            assert done.returncode == 0, done.stderr + done.stdout
    assert "state\tready" in asked[-2].stdout
    assert "rows written\t365" in asked[-2].stdout

    (file,) = [path for path in (folder / "var" / "files").rglob("*") if path.is_file()]
    rows = list(csv.reader(file.read_text().splitlines()))
    assert (rows[0], len(rows), rows[1][0]) == (["Day", "Age (days)", "Lit (%)"], 366, "2026-01-01")
    # Full moon on 3 January 2026, new moon on the 18th.
    assert int(rows[3][2]) > 95
    assert int(rows[18][2]) < 5

    assert "ok       workers" in asked[-1].stdout
    assert all(process.running for process in stack.processes)


def test_what_it_writes(tmp_path: Path) -> None:
    """The key is a new one each time, which its owner alone can read and git never sees."""
    keys = set()
    for number in range(2):
        names = scaffold.write(folder := tmp_path / f"deployment {number}")
        assert {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} == set(names)
        assert stat.S_IMODE((folder / KEY).stat().st_mode) == 0o600
        keys.add((folder / KEY).read_text())
    assert len(keys) == 2
    subprocess.run(["git", "init", "--quiet"], cwd=folder, check=True)
    seen = subprocess.run(
        ["git", "status", "--porcelain", "-uall"], cwd=folder, check=True, capture_output=True, text=True
    )
    assert {line[3:] for line in seen.stdout.splitlines()} == set(FILES)


def test_it_prints_how_to_enter_a_folder_whose_name_must_be_quoted(tmp_path: Path) -> None:
    """What is printed can be copied."""
    told = CliRunner().invoke(init, [str(tmp_path / "our exports")])
    assert commands(told.output)[0] == f"cd '{tmp_path / 'our exports'}'"


@pytest.mark.parametrize("there", ["celeryconfig.py", "tasks/sample.py", ".gitignore", KEY, "tasks", "var"])
def test_it_overwrites_nothing(tmp_path: Path, there: str) -> None:
    """Whatever is in the way is named, nothing is written, and the exit code is 1."""
    (tmp_path / there).parent.mkdir(exist_ok=True)
    (tmp_path / there).write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    told = CliRunner().invoke(init, [str(tmp_path)])
    assert (told.exit_code, there in told.output) == (1, True)
    assert sorted(tmp_path.rglob("*")) == before
    assert (tmp_path / there).read_text() == "mine"
    assert "Traceback" not in told.output


def test_a_link_that_leads_nowhere_is_in_the_way_too(tmp_path: Path) -> None:
    """What it leads to might be written otherwise."""
    (tmp_path / "celeryconfig.py").symlink_to(tmp_path / "elsewhere")
    assert CliRunner().invoke(init, [str(tmp_path)]).exit_code == 1
    assert not (tmp_path / "elsewhere").exists()


def test_other_files_are_left_where_they_are(tmp_path: Path) -> None:
    """In a folder that has something else, such as a repository."""
    (tmp_path / "other.py").write_text("mine")
    assert CliRunner().invoke(init, [str(tmp_path)]).exit_code == 0
    assert (tmp_path / "other.py").read_text() == "mine"


def test_a_folder_that_can_not_be_made(tmp_path: Path) -> None:
    """It is said in a sentence."""
    told = CliRunner().invoke(init, ["/proc/no/such"])
    assert (told.exit_code, told.output.startswith("Error: /proc/no")) == (1, True)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new deployment."""
    folder = tmp_path_factory.mktemp("written")
    scaffold.write(folder)
    return folder


@pytest.mark.parametrize(
    "tool",
    [
        ("ruff", "check", "--config", str(ROOT / "pyproject.toml"), "--config", "src=['.']", "--no-cache"),
        ("ruff", "format", "--check", "--config", str(ROOT / "pyproject.toml"), "--no-cache"),
    ],
)
def test_it_is_as_tidy_as_we_are(written: Path, tool: tuple[str, ...]) -> None:
    """Linted and formatted by our own rules."""
    done = subprocess.run([BIN / tool[0], *tool[1:], "."], cwd=written, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_its_readme_has_the_commands_that_are_printed(written: Path) -> None:
    """One story."""
    readme = (written / "README.md").read_text()
    blocks = "".join(re.findall(r"```console\n(.*?)```", readme, re.DOTALL)).splitlines()
    printed = commands(CliRunner().invoke(init, [str(written / "more")]).output)
    assert set(printed) - set(blocks) == {f"cd {written / 'more'}"}


def test_flower_is_for_this_machine_alone(written: Path) -> None:
    """As in the reference deployment, whose Flower is started for real."""
    ours, theirs = (runpy.run_path(str(folder / "flowerconfig.py")) for folder in (ROOT, written))
    assert theirs["address"] == "127.0.0.1"
    assert theirs["tasks_columns"] == ours["tasks_columns"]


def test_no_other_file_is_in_the_package() -> None:
    """Each template is written."""
    templates = Path(scaffold.__file__).parent / "templates"
    assert {str(path.relative_to(templates)) for path in templates.rglob("*.txt")} == set(FILES.values())
