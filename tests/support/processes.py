"""The processes of a worker's pool, as Linux lists them."""

from __future__ import annotations

import contextlib
from pathlib import Path


def children_of(pid: int) -> list[int]:
    """The processes that a process has started and that have not ended, the oldest first."""
    lists = [_read(path) for path in Path(f"/proc/{pid}/task").glob("*/children")]
    return sorted(int(child) for children in lists for child in children.split())


def _read(path: Path) -> str:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # its thread has ended meanwhile
        return path.read_text()
    return ""
