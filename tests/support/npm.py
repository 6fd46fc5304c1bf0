"""Programs of Node.js, from npm: no wheel and no package of Debian's has them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent.parent.parent / "var" / "node"


def installed(package: str) -> Path:
    """The folder where Node.js finds a package (``name@version``), kept from one run to the next; else a skip."""
    if shutil.which("npm") is None or shutil.which("node") is None:
        pytest.skip("node and npm are not here")
    name = package.rpartition("@")[0]
    folder = FOLDER / name
    if not (folder / "node_modules" / name).exists():
        folder.mkdir(parents=True, exist_ok=True)
        install = ["npm", "install", "--prefix", str(folder), "--no-audit", "--no-fund", package]
        if subprocess.run(install, cwd=folder, capture_output=True, timeout=170, check=False).returncode:
            pytest.skip(f"{package} can't be had")
    return folder
