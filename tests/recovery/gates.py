"""Gates: places in a file type's own code at which a worker's child waits for the test, or leaves a trace."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

#: The variable that names the folder of the gates.
FOLDER = "RECOVERY_GATES"


class Gate:
    """One gate, as a test and as a worker's child see it: three files."""

    def __init__(self, name: str, folder: Path | None = None) -> None:
        self._file = (folder or Path(os.environ[FOLDER])) / name

    # -- the test's side ------------------------------------------------------------------------

    @property
    def arrivals(self) -> list[int]:
        """The processes that have come this far, in order; one that came twice is there twice."""
        return self._pids("arrived")

    @property
    def departures(self) -> list[int]:
        """The processes that have left, however."""
        return self._pids("left")

    def open(self) -> None:
        """Let everybody pass, from now on."""
        self._path("open").touch()

    # -- the child's side -----------------------------------------------------------------------

    @contextlib.contextmanager
    def visited(self) -> Iterator[None]:
        """Leave a trace of coming and of leaving."""
        self._note("arrived")
        try:
            yield
        finally:
            self._note("left")

    def wait(self) -> None:
        """Stay until it is open."""
        with self.visited():
            while not self.is_open:
                time.sleep(0.02)

    @property
    def is_open(self) -> bool:
        """Whether everybody may pass."""
        return self._path("open").exists()

    def _path(self, what: str) -> Path:
        return self._file.with_name(f"{self._file.name}.{what}")

    def _note(self, what: str) -> None:
        with self._path(what).open("a") as file:
            file.write(f"{os.getpid()}\n")

    def _pids(self, what: str) -> list[int]:
        path = self._path(what)
        return [int(pid) for pid in path.read_text().split()] if path.exists() else []
