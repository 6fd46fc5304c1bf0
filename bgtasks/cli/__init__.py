"""``celery bgtasks …``: the command line, as Celery sub-commands."""

from __future__ import annotations

from bgtasks.cli import stacks, upkeep
from bgtasks.cli.base import bgtasks

__all__ = ["bgtasks", "stacks", "upkeep"]
