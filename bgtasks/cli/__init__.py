"""``celery bgtasks …``: the command line, as Celery sub-commands."""

from __future__ import annotations

from bgtasks.cli import check, init, people, people_forgotten, requests, requests_asking, stacks, upkeep
from bgtasks.cli.base import bgtasks

__all__ = ["bgtasks", "check", "init", "people", "people_forgotten", "requests", "requests_asking", "stacks", "upkeep"]
