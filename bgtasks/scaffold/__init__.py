"""What ``celery bgtasks init`` writes: a new deployment, of files that its owner goes on with."""

from __future__ import annotations

import secrets
from importlib import resources
from pathlib import Path

from bgtasks.errors import BgtasksError

#: Where the key is, from the deployment's folder.
KEY = "var/secret_key"
#: What is written, by the template that it is made of.
FILES = {
    "celeryconfig.py": "celeryconfig.py.txt",
    "flowerconfig.py": "flowerconfig.py.txt",
    "tasks/__init__.py": "tasks/__init__.py.txt",
    "tasks/sample.py": "tasks/sample.py.txt",
    "beat_schedule/__init__.py": "beat_schedule/__init__.py.txt",
    "beat_schedule/reports.py": "beat_schedule/reports.py.txt",
    ".gitignore": "gitignore.txt",
    "README.md": "README.md.txt",
}


class InTheWay(BgtasksError):
    """There is something already where the deployment would be written."""

    error_code = "in_the_way"


def write(folder: Path) -> list[str]:
    """Write a deployment into a folder, which is made if need be; what it consists of.

    Nothing is overwritten, and where something is in the way, nothing is written.
    Raises: InTheWay; OSError, if the folder can't be written.
    """
    names = [*FILES, KEY]
    if blocked := _blocked(folder, names):
        raise InTheWay(f"Nothing was written to {folder}: there is {', '.join(blocked)} already.")
    templates = resources.files(__name__) / "templates"
    for name, template in FILES.items():
        _new(folder / name, (templates / template).read_text(encoding="utf-8"))
    _new(folder / KEY, f"{secrets.token_urlsafe(48)}\n", mode=0o600)
    return names


def _blocked(folder: Path, names: list[str]) -> list[str]:
    """What is there, or is a file where there must be a folder."""
    found = [name for name in names if (folder / name).exists() or (folder / name).is_symlink()]
    parents = {parent for name in names for parent in (folder / name).parents if parent.exists()}
    return found + sorted(str(parent) for parent in parents if not parent.is_dir())


def _new(path: Path, text: str, mode: int = 0o666) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=mode, exist_ok=False)  # with its rights from the beginning
    path.write_text(text, encoding="utf-8")
