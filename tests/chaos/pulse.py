"""Which children are at work: each leaves a trace while it does a step or a part, so that faults can aim at it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from celery.signals import task_postrun, task_prerun

from bgtasks.canvas import STEPS, WRITE_PART, task_name

#: The variable that names the folder of the traces.
FOLDER = "CHAOS_PULSE"

#: What counts as work.
TASKS = {*map(task_name, STEPS), WRITE_PART}


def at_work(folder: Path) -> set[int]:
    """The children that do a step or a part just now; and some that were killed while they did."""
    return {int(trace.name) for trace in folder.iterdir()}


def _trace() -> Path:
    return Path(os.environ[FOLDER]) / str(os.getpid())


def _begin(task: Any, **_: Any) -> None:
    if task.name in TASKS:
        _trace().touch()


def _end(task: Any, **_: Any) -> None:
    if task.name in TASKS:
        _trace().unlink(missing_ok=True)


if FOLDER in os.environ:
    task_prerun.connect(_begin, weak=False)
    task_postrun.connect(_end, weak=False)
