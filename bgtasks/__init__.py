"""Background files for Celery: ask for an export, get a mail with a signed link that expires."""

from __future__ import annotations

from bgtasks import registry, steps, sweeps, toolbox  # noqa: F401 - the tasks register themselves
from bgtasks.entry import request_file
from bgtasks.execution import step
from bgtasks.file_types import FileType
from bgtasks.install import install
from bgtasks.models import FileRequest

__all__ = ["FileRequest", "FileType", "__version__", "install", "registry", "request_file", "step", "toolbox"]

__version__ = "0.1.0"
