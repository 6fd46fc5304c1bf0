"""The wheel: the library, and nothing else."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.support.services import missing

ROOT = Path(__file__).parent.parent.parent


def run(*command: str | Path, cwd: Path, timeout: float = 300) -> subprocess.CompletedProcess[str]:
    """A command in a clean environment: nothing on its path leads back to this repository."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=timeout, check=False)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout."""
    folder = tmp_path_factory.mktemp("dist")
    built = run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, cwd=ROOT)
    assert built.returncode == 0, built.stderr
    return next(folder.glob("*.whl"))


def test_its_only_top_level_is_bgtasks(wheel: Path) -> None:
    """No deployment, no tests; but the types, the migrations, the templates, the catalogues and the licence."""
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert {name.partition("/")[0] for name in names if ".dist-info/" not in name} == {"bgtasks"}
    for needed in (
        "py.typed",
        "migrations/script.py.mako",
        "wsgi/templates/problem.html",
        "notifiers/templates/ready.html",
        "locale/de/LC_MESSAGES/bgtasks.po",
        "locale/bgtasks.pot",
        "dev/templates/site_home.html",
        "scaffold/templates/celeryconfig.py.txt",
    ):
        assert f"bgtasks/{needed}" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_it_works_in_an_empty_environment(wheel: Path, tmp_path: Path) -> None:
    """Installed with its dependencies alone, it imports, has its command, and says which extra is missing."""
    pins = re.findall(r"^[\w.-]+==[^\s\\;]+", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    (tmp_path / "pins.txt").write_text("\n".join(pins))
    run(sys.executable, "-m", "venv", tmp_path / "venv", cwd=tmp_path)
    python = tmp_path / "venv" / "bin" / "python"
    installed = run(python, "-m", "pip", "install", "--quiet", "-c", tmp_path / "pins.txt", wheel, cwd=tmp_path)
    if "No matching distribution" in installed.stderr or "Connection" in installed.stderr:
        missing("a package index")
    assert installed.returncode == 0, installed.stderr

    imported = run(python, "-W", "error", "-c", "import bgtasks; print(bgtasks.__file__)", cwd=tmp_path)
    assert imported.returncode == 0, imported.stderr
    assert imported.stdout.startswith(str(tmp_path / "venv"))
    for module in ("bgtasks.cli", "bgtasks.wsgi", "bgtasks.formats.csv", "bgtasks.formats.xlsx"):
        imported = run(python, "-W", "error", "-c", f"import {module}", cwd=tmp_path)
        assert imported.returncode == 0, imported.stderr

    for host in ("django", "asgi"):
        imported = run(python, "-W", "error", "-c", f"import bgtasks.contrib.{host}", cwd=tmp_path)
        assert f"ModuleNotFoundError: {'starlette' if host == 'asgi' else host} is not installed" in imported.stderr
        assert f"pip install 'celery-bgtasks[{host}]'" in imported.stderr

    celery = tmp_path / "venv" / "bin" / "celery"
    helped = run(celery, "bgtasks", "--help", cwd=tmp_path)
    assert "migrate" in helped.stdout, helped.stderr
    begun = run(celery, "bgtasks", "init", "exports", cwd=tmp_path)
    assert (begun.returncode, begun.stderr) == (0, "")
    for command, said in (("migrate",), "sqlite:///"), (("check", "--only", "file_types"), "sample"):
        done = run(celery, "bgtasks", *command, cwd=tmp_path / "exports")
        assert (done.returncode, said in done.stdout, done.stderr) == (0, True, "")
    lost = run(celery, "bgtasks", "check", cwd=tmp_path)
    assert (lost.returncode, "celery bgtasks init" in lost.stdout, lost.stderr) == (1, True, "")
    demo = run(celery, "bgtasks", "demo", cwd=tmp_path)
    assert demo.returncode != 0
    assert "pip install 'celery-bgtasks[dev]'" in demo.stderr
