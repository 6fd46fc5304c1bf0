"""Who is raced: packages from PyPI in environments of their own, made when they are first needed."""

from __future__ import annotations

import functools
import hashlib
import shutil
import subprocess
import sys
import venv
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from tests.bench.servers import ROOT

FOLDER = ROOT / "var" / "bench"
PATIENCE = 300  # seconds for one environment


class PeerMissing(Exception):
    """It could not be installed."""


@dataclass(frozen=True)
class Peer:
    """One environment."""

    name: str
    requirements: tuple[str, ...]

    @property
    def folder(self) -> Path:
        """Where it is; another one, when other versions are wanted."""
        wanted = hashlib.sha256("\n".join(self.requirements).encode()).hexdigest()[:8]
        return FOLDER / f"{self.name}-{wanted}"

    @functools.cached_property
    def python(self) -> str:
        """Its interpreter, after it was installed. Raises: PeerMissing."""
        interpreter = self.folder / "bin" / "python"
        if not (self.folder / "ready").exists():
            self._install(interpreter)
        return str(interpreter)

    def _install(self, interpreter: Path) -> None:
        print(f"Installing {', '.join(self.requirements)} ...", flush=True)
        shutil.rmtree(self.folder, ignore_errors=True)
        venv.create(self.folder, with_pip=True)
        argv = [str(interpreter), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *self.requirements]
        try:
            subprocess.run(argv, check=True, timeout=PATIENCE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        except subprocess.SubprocessError as error:
            raise PeerMissing(f"{' '.join(self.requirements)} can't be installed") from error
        (self.folder / "ready").touch()


#: The last Django that dj-bgfiles 0.6 works with.
BGFILES = Peer("dj-bgfiles", ("dj-bgfiles==0.6.0", "django==3.2.25", "psycopg2-binary==2.9.13", "xlsxwriter==3.3.1"))
IMPORT_EXPORT = Peer(
    "django-import-export",
    ("django-import-export==4.4.3", "django==5.2.19", "openpyxl==3.1.5", "psycopg[binary]==3.3.9"),
)
#: Celery with nothing of ours: its command would load ours, where that is installed.
CELERY = Peer("celery", (f"celery[redis]=={version('celery')}", f"kombu=={version('kombu')}"))
OURS = sys.executable
