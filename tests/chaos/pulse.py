"""Which children are at work: each leaves a trace while it does a step, so that faults can aim at it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from celery.signals import task_postrun, task_prerun

from bgtasks.canvas import STEPS, task_name

#: The variable that names the folder of the traces.
FOLDER = "CHAOS_PULSE"

_STEPS = {task_name(step) for step in STEPS}


def at_work(folder: Path) -> set[int]:
    """The children that do a step just now; and some that were killed while they did."""
    return {int(trace.name) for trace in folder.iterdir()}


def _trace() -> Path:
    return Path(os.environ[FOLDER]) / str(os.getpid())


def _begin(task: Any, **_: Any) -> None:
    if task.name in _STEPS:
        _trace().touch()


def _end(task: Any, **_: Any) -> None:
    if task.name in _STEPS:
        _trace().unlink(missing_ok=True)


if FOLDER in os.environ:
    task_prerun.connect(_begin, weak=False)
    task_postrun.connect(_end, weak=False)
